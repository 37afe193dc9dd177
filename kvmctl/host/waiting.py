"""Verbs that wait for a guest: stop, restart, and waiting itself. By event, with an end, and true about what happened.

Work on a `Watch`, so it is the same over a connection and on the embedded host.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kvmctl.errors import HostUnreachable, Interrupted, KvmctlError, Refused, TimedOut
from kvmctl.host import bounded, states
from kvmctl.host.watch import require_known
from kvmctl.parallel import Work

if TYPE_CHECKING:
    from kvmctl.host.watch import Seen, Watch

DEAF = (states.PAUSED, states.CRASHED)
"""A guest in one of these does not hear that it should shut down."""
ASK_AGAIN_SECONDS = 10.0
"""A guest that is just booting misses its power button, and hears it the next time."""


def stop(watch: Watch, name: str, work: Work, *, force: bool = False) -> dict[str, Any]:
    """Ask the guest to shut down and wait until it has; with `force` pull the plug when the time is over."""
    began = time.monotonic()
    vm = watch.find(name)
    if vm.state in states.OFF:
        return {**_answer(watch, vm), "changed": False, "forced": False, "seconds": 0.0}
    forced = not _shut_down(watch, vm, work, force=force)
    if forced:
        watch.do("pull_plug", vm, work)
    return {
        **_answer(watch, vm, states.STOPPED),
        "changed": True,
        "forced": forced,
        "seconds": round(time.monotonic() - began, 3),
    }


def restart(watch: Watch, name: str, work: Work, *, force: bool = False) -> dict[str, Any]:
    """Stop a VM as `stop` does, and start it again; one that is stopped is started."""
    vm = watch.find(name)
    was_running = vm.state not in states.OFF
    if was_running:
        watch.do("check_can_restart", vm, work)
    stopped = stop(watch, name, work, force=force)
    if work.cancelled.is_set():
        raise Interrupted("interrupted", "interrupted: it is stopped, and was not started again", vm=vm.name)
    watch.do("start", vm, work, again=was_running)
    return {**stopped, "state": states.RUNNING, "changed": True, "was_running": was_running}


def wait_for(watch: Watch, name: str, state: str, work: Work) -> dict[str, Any]:
    """Wait until a VM is running, or stopped; at once if it is so already."""
    began = time.monotonic()
    vm = watch.find(name)

    def as_wished(now: Seen) -> bool:
        if state != states.STOPPED:
            require_known(now)
        return now.state in states.OFF if state == states.STOPPED else now.state == state

    reached = watch.until(vm, as_wished, work)
    if reached is None:
        raise TimedOut("timed-out", f"is {_told(watch.now(vm))} after {work.limit:g} s, not {state}", vm=vm.name)
    return {**_answer(watch, reached), "seconds": round(time.monotonic() - began, 3)}


def _shut_down(watch: Watch, vm: Seen, work: Work, *, force: bool) -> bool:
    """True once the guest has shut down, False if the plug is to be pulled."""
    if vm.state in DEAF:
        if force:
            return False
        hint = f"kvmctl stop --force {vm.name} pulls the plug"
        if vm.state == states.PAUSED:
            hint = f"kvmctl resume {vm.name} first; {hint}"
        raise Refused("vm-not-running", f"is {_told(vm)}: its guest cannot hear us", hint=hint, vm=vm.name)
    asked = False
    try:
        while work.remaining():
            asked = _ask(watch, vm, work, force=force) or asked
            turn = Work(min(ASK_AGAIN_SECONDS, work.remaining()), work.cancelled)
            if watch.until(vm, lambda now: now.state in states.OFF, turn) is not None:
                return True
    except Interrupted:
        raise Interrupted("interrupted", "was asked to shut down; nobody waits for it any longer", vm=vm.name) from None
    if force:
        return False
    what = "was asked to shut down, and" if asked else "its QEMU does not answer, and it"
    raise TimedOut(
        "timed-out",
        f"{what} is still {_told(watch.now(vm))} after {work.limit:g} s",
        hint=f"kvmctl stop --force {vm.name} pulls the plug after the time limit",
        vm=vm.name,
    )


def _ask(watch: Watch, vm: Seen, work: Work, *, force: bool) -> bool:
    """Ask the guest to shut down; False if nobody has heard us in time, since a QEMU that hangs does not answer."""
    try:
        bounded.call(lambda: watch.do("ask_to_stop", vm, work), work.remaining(), work=work)
    except (TimeoutError, TimedOut):
        return False
    except (Interrupted, HostUnreachable):
        raise
    except KvmctlError:
        if not force:
            raise
        return False
    return True


def _answer(watch: Watch, vm: Seen, state: str = "") -> dict[str, Any]:
    return {"name": vm.name, "uuid": vm.uuid, "state": state or vm.state, "host": watch.host}


def _told(vm: Seen) -> str:
    """The state, and the reason where it says more than how the VM came to run."""
    more = vm.reason and (vm.state != states.RUNNING or vm.reason == states.SHUTTING_DOWN)
    return f"{vm.state} ({vm.reason})" if more else vm.state
