"""Post-copy that was interrupted, taken up again: libvirt lets go of the broken move, and is asked to go on with it.

Only for a move of which both ends answer. Whether it arrives is seen at the ends, like everything else.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from kvmctl.errors import KvmctlError
from kvmctl.host import bounded
from kvmctl.host.connection import connect, translated
from kvmctl.host.library import libvirt

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.host.migration.journal import Journal
    from kvmctl.host.migration.sides import Sides

START_SECONDS = 5.0
"""A call that has not failed by then is moving memory."""
PASSED_ON = (
    *(libvirt.VIR_MIGRATE_LIVE, libvirt.VIR_MIGRATE_PEER2PEER, libvirt.VIR_MIGRATE_PERSIST_DEST),
    *(libvirt.VIR_MIGRATE_UNDEFINE_SOURCE, libvirt.VIR_MIGRATE_PAUSED, libvirt.VIR_MIGRATE_TLS),
    *(libvirt.VIR_MIGRATE_POSTCOPY, libvirt.VIR_MIGRATE_UNSAFE),
)
"""Flags of the first call that matter for its continuation."""


def take_up(sides: Sides, journal: Journal) -> None:
    """Have post-copy go on, in a thread that ends with it. Raises KvmctlError if libvirt refuses."""
    # A source that has not noticed the loss says that the migration still runs; told to pause it, it lets go.
    with suppress(KvmctlError):
        sides.act("source", lambda host: _domain(host, journal).abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY))
    problems: list[BaseException] = []
    over = threading.Event()

    def call() -> None:
        try:
            with ExitStack() as stack:
                source = stack.enter_context(connect(sides.targets["source"], events=True))
                target = stack.enter_context(connect(sides.targets["target"], events=True))
                with translated(vm=journal.name, doing="take post-copy up again", host=source.name):
                    _go_on(source, target, journal)
        except BaseException as problem:  # noqa: BLE001 - carried to the thread that waits
            problems.append(problem)
        over.set()

    threading.Thread(target=call, name=f"post-copy of {journal.name}", daemon=True).start()
    if not over.wait(START_SECONDS):
        bounded.left_behind.set()  # nobody waits for the thread: that it is over is seen at the ends
    for problem in problems:
        raise problem


def _go_on(source: Host, target: Host, journal: Journal) -> None:
    parameters: dict[str, Any] = {}
    if journal.migrate_uri:
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = journal.migrate_uri
    flags = sum(journal.flags & flag for flag in PASSED_ON) | libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    domain = _domain(source, journal)
    if journal.peer_uri is not None:
        domain.migrateToURI3(journal.peer_uri, parameters, flags | libvirt.VIR_MIGRATE_PEER2PEER)
    else:
        domain.migrate3(target.conn, parameters, flags)


def _domain(host: Host, journal: Journal) -> libvirt.virDomain:
    return host.conn.lookupByUUIDString(journal.uuid)
