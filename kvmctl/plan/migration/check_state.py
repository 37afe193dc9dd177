"""What goes on with the VM at the source: jobs, snapshots, faults, and what libvirt itself says of a move. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.migration.verdicts import blocker
from kvmctl.spec.metadata import CREATING, VM

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding


TPM_STATE = "/var/lib/libvirt/swtpm/{uuid}/{version}"
"""Where libvirt keeps what an emulated TPM remembers, with the file's name for each version of the TPM."""


def remembered(xml: Element, uuid: str) -> Iterator[tuple[str, str]]:
    """Files in which firmware and TPM of a VM keep what they must not forget: what keeps it, and the path."""
    for nvram in xml.iterfind("os/nvram"):
        source = nvram.find("source")
        path = (nvram.text or "").strip() or ("" if source is None else source.get("file", ""))
        if path:
            yield "firmware", path
    if xml.find("devices/tpm/backend[@type='emulator']") is not None:
        for version in ("tpm2/tpm2-00.permall", "tpm1.2/tpm-00.permall"):
            yield "TPM", TPM_STATE.format(uuid=uuid, version=version)


def forgotten(ends: Ends) -> Iterator[Finding]:
    """QEMU carries these files over with a guest that runs; of one that is off only the definition goes."""
    if ends.guest.running:
        return
    for keeper, path in remembered(ends.xml, ends.guest.uuid):
        sight = ends.sights.get(path)
        if sight is not None and sight.size_here is not None and sight.sharing != "shared":
            what = f"what its {keeper} remembers is in {path} on {ends.source.name}, and would stay there"
            hint = f"kvmctl start --paused {ends.guest.name}, and migrate it then: it is carried over, and nothing runs"
            yield blocker("state-left-behind", what, hint, subject=path)


def state(ends: Ends) -> Iterator[Finding]:
    guest = ends.guest
    if guest.xml.find(f"metadata/{VM}/{CREATING}") is not None:
        what = "it is only half-created"
        yield blocker("half-created", what, "run kvmctl create again to finish it, or kvmctl delete")
    if guest.job:
        hint = f"wait for it, or end it: virsh -c URI domjobabort {guest.name}"
        if "migrat" in guest.job:
            hint = "kvmctl migrate --status shows it, --cancel calls it off"
        yield blocker("job-running", f"something works on it already: {guest.job}", hint)
    for disk in guest.disks:
        if disk.copying:
            what = f"a block job copies {disk.target}"
            yield blocker("block-job", what, f"virsh blockjob {guest.name} {disk.target} --abort", subject=disk.target)
    if guest.failed:
        yield blocker(
            "guest-failed", f"it is paused by a fault: {guest.failed}", f"mend that, then kvmctl resume {guest.name}"
        )
    if guest.saved:
        what = "its memory is saved in a file of the source, which would be lost"
        yield blocker("memory-saved", what, f"kvmctl start {guest.name} brings it back; migrate it running")
    if guest.snapshots:
        what = f"it has {_count(guest.snapshots, 'snapshot')}, which only {ends.source.name} knows of"
        hint = f"virsh snapshot-delete {guest.name} --metadata NAME forgets one and keeps its data"
        yield blocker("snapshots", what, hint)
    if guest.checkpoints:
        what = f"it has {_count(guest.checkpoints, 'checkpoint')} for backups, which only {ends.source.name} knows of"
        yield blocker("checkpoints", what, f"virsh checkpoint-delete {guest.name} NAME for each")


def refusal(ends: Ends) -> Iterator[Finding]:
    """Told where nothing else explains it: libvirt knows of obstacles that we do not."""
    let_go = any(there for address, there in ends.likes.items() if address not in ends.carried)
    if ends.guest.refusal and not let_go:
        what = f"the libvirt of {ends.source.name} refuses: {ends.guest.refusal}"
        yield blocker("libvirt-refuses", what, "what it names has to be changed or detached first")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
