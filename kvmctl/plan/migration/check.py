"""All that can stand in the way of a move, looked at at once: facts in, findings out, in the order of the questions.

Whatever is fine is one finding `ok` for each area; what is not has a finding of its own. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kvmctl.plan.migration import (
    check_cpu,
    check_devices,
    check_hosts,
    check_memory,
    check_network,
    check_postcopy,
    check_software,
    check_state,
    check_storage,
    check_tls,
)
from kvmctl.plan.migration.ends import Ends
from kvmctl.plan.migration.finding import Finding
from kvmctl.plan.migration.looked import Looked
from kvmctl.plan.migration.verdicts import ok

Check = Callable[[Ends], Iterator[Finding]]

AREAS: tuple[tuple[str, str, tuple[Check, ...]], ...] = (
    ("hosts", "{source} reaches {target}, and nothing there is in the way", (check_hosts.way, check_hosts.taken)),
    ("certificates", "", (check_tls.certificates,)),
    (
        "state",
        "nothing else is going on with the VM, and it has no snapshots",
        (check_state.state, check_state.forgotten),
    ),
    ("software", "{target} has the QEMU, machine and firmware it needs", (check_software.software,)),
    ("cpu", "{target} can give it the CPU it has", (check_cpu.cpu,)),
    ("devices", "no device of {source} is part of it", (check_devices.devices,)),
    ("networks", "{target} has its networks", (check_network.networks,)),
    ("storage", "{target} has its storage", (check_storage.storage,)),
    ("memory", "{target} has room for its memory and its vCPUs", (check_memory.memory,)),
)
"""Code and words of what is told where an area is fine, and who looks at it. Without words it tells of that itself."""

TO_BE_TOLD = ("note", "warning", "blocker")


def findings(ends: Ends) -> tuple[Finding, ...]:
    """Everything that was found, area by area."""
    return tuple(_findings(ends))


def _findings(ends: Ends) -> Iterator[Finding]:
    names = {"source": ends.source.name, "target": ends.target.name}
    explained = False
    for code, fine, checks in AREAS:
        found = [finding for check in checks for finding in check(ends)]
        if fine and not any(finding.verdict in ("warning", "blocker") for finding in found):
            found.insert(0, ok(code, fine.format(**names)))
        explained = explained or any(finding.verdict == "blocker" for finding in found)
        yield from found
    yield from check_postcopy.postcopy(ends)
    if not explained:
        yield from check_state.refusal(ends)


def looked(ends: Ends) -> Looked:
    """The findings, and what later steps go by."""
    guest, way = ends.guest, ends.way
    peer = way.peer_uri if ends.wish.peer_to_peer is not False else None
    old = min(ends.source.libvirt, ends.target.libvirt)
    return Looked(
        findings=findings(ends),
        running=guest.running,
        persistent=guest.persistent,
        autostart=guest.autostart,
        memory=guest.memory,
        peer_uri=peer,
        migrate_uri=check_hosts.migrate_uri(ends),
        disks=check_storage.sharing(ends),
        copied=check_storage.to_copy(ends),
        lockable=check_storage.lockable(ends),
        unsafe=check_storage.proven(ends),
        no_postcopy="; ".join(check_postcopy.reasons(ends)),
        no_multifd="" if old >= MULTIFD else "libvirt knows it from 5.2 on",
        likes=ends.likes,
        carried=ends.carried,
        cores=max(1, min(ends.source.cpus, ends.target.cpus)),
    )


MULTIFD = 5_002_000
"""The first libvirt with parallel migration, as it writes versions."""
