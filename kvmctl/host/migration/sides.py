"""Both ends of a migration over connections of their own: looked at with a limit, and acted on.

A host that does not answer is `unknown` and never guessed at; it is called anew each time it is looked at. Decides
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from kvmctl.errors import HostUnreachable, KvmctlError
from kvmctl.host import bounded, states
from kvmctl.host.connection import Host, connect, translated
from kvmctl.host.library import libvirt
from kvmctl.host.migration.making import undo
from kvmctl.host.migration.stats import sample_of
from kvmctl.host.migration.stopping import stop_in_time
from kvmctl.host.targets import Target
from kvmctl.plan.migration.settle import End, State

if TYPE_CHECKING:
    from kvmctl.plan.migration.journal import Journal
    from kvmctl.plan.migration.sample import Sample
    from kvmctl.plan.migration.settle import Side

Result = TypeVar("Result")

LOOK_SECONDS = 5.0
"""A host that takes longer to say what it runs is not there."""
ACT_SECONDS = 35.0
"""libvirt waits 30 seconds for something else that is done to the same VM."""
KEPT = ("NVRAM", "TPM")
"""Files that the guest's copy on the other host may use too, in the order in which libvirt learned to leave them."""
OUT = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT

_STATES: dict[int, State] = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
}
_BY_REASON: dict[tuple[int, int], State] = {
    (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): "postcopy",
    (libvirt.VIR_DOMAIN_RUNNING, getattr(libvirt, "VIR_DOMAIN_RUNNING_POSTCOPY_FAILED", 11)): "postcopy-failed",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): "paused",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): "migrating",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): "migrating",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): "postcopy",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): "postcopy-failed",
}


_WORDS: dict[State, str] = {
    "running": states.RUNNING,
    "paused": states.PAUSED,
    "stuck": states.PAUSED,
    "off": states.STOPPED,
    "absent": states.STOPPED,
}


def word_of(state: State) -> str:
    """How answers call the state of an end."""
    return _WORDS.get(state, states.MIGRATING)


class Sides:
    """`with Sides(journal) as sides: sides.look("source")`. A process that got no answer leaves a thread behind."""

    def __init__(self, journal: Journal) -> None:
        self.uuid = journal.uuid
        self.name = journal.name
        self.targets: dict[Side, Target] = {
            "source": Target(journal.source_name, journal.source_uri),
            "target": Target(journal.target_name, journal.target_uri),
        }
        self._stats: dict[str, Any] = {}
        """What the source's job said last."""
        self._hosts: dict[Side, tuple[Host, ExitStack]] = {}

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *_: object) -> None:
        for side in list(self._hosts):
            self._leave(side)

    def look(self, side: Side, seconds: float = LOOK_SECONDS) -> End:
        """What this host says of the VM, in time."""
        try:
            return self._bounded(side, seconds, lambda host: self._end(host, side))
        except (KvmctlError, TimeoutError, libvirt.libvirtError):
            return End(state="unknown")

    def sample(self) -> Sample | None:
        """How far the source was with moving the VM when it was last looked at."""
        return sample_of(self._stats, "preparing") if self._stats else None

    def act(self, side: Side, deed: Callable[[Host], object]) -> None:
        """Do something on a host. Raises KvmctlError."""
        try:
            self._bounded(side, ACT_SECONDS, deed)
        except TimeoutError:
            name = self.targets[side].name
            raise HostUnreachable("host-unreachable", f"{name}: no answer within {ACT_SECONDS:g} s") from None

    def resume(self, side: Side) -> None:
        self.act(side, lambda host: self._domain(host).resume())

    def destroy(self, side: Side) -> None:
        self.act(side, lambda host: self._domain(host).destroy())

    def abort(self, side: Side) -> None:
        """Stop a move. One that is nearly over gets a moment to be over."""
        self.act(side, lambda host: stop_in_time(self._domain(host)))

    def unlimit(self, side: Side, speed: int) -> None:
        """Give the VM back the limit for moves that it had, in MiB a second: libvirt keeps what was set under way."""
        self.act(side, lambda host: self._domain(host).migrateSetMaxSpeed(speed))

    def define(self, side: Side) -> None:
        """Keep a VM that would be gone when it stops."""
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        self.act(side, lambda host: host.conn.defineXML(self._domain(host).XMLDesc(flags)))

    def autostart(self, side: Side) -> None:
        self.act(side, lambda host: self._domain(host).setAutostart(1))

    def undefine(self, side: Side) -> None:
        """Take a definition away, and leave the files that belong to it."""

        def deed(host: Host) -> None:
            known = [getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_KEEP_{name}", 0) for name in KEPT]
            for count in range(len(known), 0, -1):
                try:
                    self._domain(host).undefineFlags(sum(known[:count]))
                except libvirt.libvirtError as problem:
                    if problem.get_error_code() != libvirt.VIR_ERR_INVALID_ARG or count == 1:
                        raise
                else:
                    return

        self.act(side, deed)

    def clean(self, made: Sequence[str]) -> None:
        """Take away the volumes that were made at the target; one that another VM uses by now stays."""
        self.act("target", lambda host: undo(host, made, self.uuid))

    # -- below ------------------------------------------------------------------------------------------------------

    def _domain(self, host: Host) -> libvirt.virDomain:
        return host.conn.lookupByUUIDString(self.uuid)

    def _end(self, host: Host, side: Side) -> End:
        try:
            domain = self._domain(host)
            state, reason = domain.state()
            persistent = bool(domain.isPersistent())
            return End(
                state=_BY_REASON.get((state, reason)) or _STATES.get(state, "stuck"),
                # libvirt answers this for what leaves a host only, and may let one wait for what arrives.
                job=side == "source" and state != libvirt.VIR_DOMAIN_SHUTOFF and self._job(domain),
                persistent=persistent,
                autostart=persistent and bool(domain.autostart()),
            )
        except libvirt.libvirtError as problem:
            if problem.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return End(state="absent")
            raise

    def _job(self, domain: libvirt.virDomain) -> bool:
        """Whether a job moves the VM away just now."""
        try:
            stats: dict[str, Any] = domain.jobStats()
        except libvirt.libvirtError as problem:
            if problem.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
                return False  # it has just stopped
            raise
        if not stats.get("type") or stats.get("operation", OUT) != OUT:
            return False
        self._stats = stats
        return True

    def _bounded(self, side: Side, seconds: float, function: Callable[[Host], Result]) -> Result:
        def call() -> Result:
            host = self._host(side)
            with translated(vm=self.name, host=host.name):
                return function(host)

        try:
            return bounded.call(call, seconds)
        except (KvmctlError, TimeoutError):
            self._leave(side)  # whatever it was, the next call is on a new connection
            raise

    def _host(self, side: Side) -> Host:
        if side not in self._hosts:
            stack = ExitStack()
            self._hosts[side] = (stack.enter_context(connect(self.targets[side], timeout=LOOK_SECONDS)), stack)
        return self._hosts[side][0]

    def _leave(self, side: Side) -> None:
        with suppress(KeyError, KvmctlError, TimeoutError):
            bounded.call(self._hosts.pop(side)[1].close, 1.0)
