"""Whether a host could open encrypted disks with the secrets it has. No passphrase is ever read, here or elsewhere.

libvirt tells nobody whether a secret has a value without handing it out. But it fetches the passphrase before it looks
at what volume is wanted; so it is asked for one that cannot be: a raw one on top of an image. Nothing is made.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kvmctl.errors import KvmctlError
from kvmctl.host.library import libvirt
from kvmctl.host.messages import is_connection_loss
from kvmctl.host.pools import PASSING, reached
from kvmctl.host.storage import volume_xml
from kvmctl.plan.volumes import NewVolume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.ends import SecretFault
    from kvmctl.plan.volumes import Encryption

OTHER_USE = "not expected 'volume'"
"""What libvirt says of a secret that is for something else."""


def faults(host: Host, wanted: Mapping[Encryption, str]) -> dict[str, SecretFault]:
    """Secrets that are there and of no use, with what they lack. `wanted` has a directory of the host for each."""
    found: dict[str, SecretFault] = {}
    for encryption, directory in wanted.items():
        try:
            with reached(host, directory) as pool:
                fault = None if pool is None else _fault(pool, encryption)
        except KvmctlError as problem:
            if problem.exit_code == 7:  # the host is gone
                raise
            continue
        if fault:
            found[encryption.secret] = fault
    return found


def _fault(pool: libvirt.virStoragePool, encryption: Encryption) -> SecretFault | None:
    impossible = NewVolume(
        path="",
        size=1 << 20,
        format="raw",
        backing="/dev/null",
        backing_format="raw",
        pool=None,
        name=f"{PASSING}secret",
        encryption=encryption,
    )
    try:
        made = pool.createXML(volume_xml("dir", impossible, impossible.size), 0)
    except libvirt.libvirtError as problem:
        if is_connection_loss(problem):
            raise
        if problem.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return "unset"
        return "other-use" if OTHER_USE in (problem.get_error_message() or "") else None
    with suppress(libvirt.libvirtError):
        made.delete(0)
    return None
