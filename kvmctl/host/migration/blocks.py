"""Whether two hosts see the same block device, by the names that its maker gave it. Reads only.

Names that hold in the whole world (WWN, NVMe, the UUID of a multipath device) are evidence; the same /dev/sda is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from kvmctl.host import many
from kvmctl.host.library import libvirt
from kvmctl.host.messages import is_connection_loss
from kvmctl.plan.migration.ends import Sight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvmctl.host.connection import Host

STORAGE = libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE
WORLDWIDE = ("wwn-0x", "nvme-eui.", "nvme-uuid.", "nvme-nguid.", "scsi-3", "dm-uuid-mpath-", "dm-uuid-LVM-")
BY_ID = "/dev/disk/by-id/"
EVIDENCE = "both see the device {name}"
NO_EVIDENCE = "the device has no name that is the same everywhere"


def sights(source: Host, target: Host, paths: Iterable[str], there: Callable[[str], str]) -> dict[str, Sight]:
    """Each block device as both hosts see it."""
    wanted = sorted(paths)
    if not wanted:
        return {}
    ours, theirs = _devices(source), _devices(target)
    return {path: compared(path, there(path), ours, theirs) for path in wanted}


def compared(path: str, there: str, ours: list[frozenset[str]], theirs: list[frozenset[str]]) -> Sight:
    """One device, of lists of all names that each device has on its host. Pure."""
    names, others = _names(path, ours), _names(there, theirs)
    common = sorted(worldwide(names) & worldwide(others))
    if common:
        return Sight(there=there, sharing="shared", present=True, how=EVIDENCE.format(name=common[0]))
    if worldwide(names) and worldwide(others):
        return Sight(there=there, sharing="separate", present=True, how="they are different devices")
    return Sight(there=there, sharing="unknown", how=NO_EVIDENCE)


def _names(path: str, devices: list[frozenset[str]]) -> frozenset[str]:
    return next((names for names in devices if path in names), frozenset())


def worldwide(names: frozenset[str]) -> frozenset[str]:
    """Those that no other device has, without the place they are kept in."""
    found = (name.removeprefix(BY_ID) for name in names if name.startswith(BY_ID))
    return frozenset(name for name in found if name.startswith(WORLDWIDE))


def _devices(host: Host) -> list[frozenset[str]]:
    """All names of each block device of the host; none where it has no driver for them."""
    try:
        found = host.conn.listAllDevices(STORAGE)
        texts = many.ask(found, lambda device: device.XMLDesc(0))
    except libvirt.libvirtError as problem:
        if is_connection_loss(problem):
            raise
        return []
    trees = map(ElementTree.fromstring, texts)
    return [
        frozenset(name.text or "" for path in ("devnode", "capability/block") for name in tree.iterfind(path))
        for tree in trees
    ]
