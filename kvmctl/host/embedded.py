"""libvirt's QEMU driver inside our own process: a host without a daemon, whose state is one directory.

The driver can be opened for one directory per process, by one process at a time, and stays open until the process
ends: libvirt has no way to close it. So the turn is taken here (`turns`) and never given back, and what takes long
works in a process of its own (`agent`). VMs go on when the process ends, and the next one takes them over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from kvmctl.errors import HostUnreachable, Refused, TimedOut, UsageError
from kvmctl.host import bounded, loop, messages
from kvmctl.host.library import libvirt
from kvmctl.host.turns import GLANCE, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

QUEUE_SECONDS = 60.0
"""How long to wait for another kvmctl to finish."""
OPEN_SECONDS = 60.0
SETTLE_SECONDS = 3.0
"""How long a QEMU gets to answer the driver that takes it over. One that hangs is shown in its last known state."""
LONGEST_ROOT = 107 - len("/lib/qemu/domain-9999-" + 20 * "x" + "/monitor.sock")
"""The path of a UNIX socket has room for 107 bytes, and the driver makes the monitor sockets below the directory."""

MARK = (
    "# Written by kvmctl, again whenever it wants something else here. To keep changes of your own, delete this line.\n"
)
SETTINGS = {
    "stdio_handler": '"file"',  # or the driver looks for virtlogd, a daemon
    "security_driver": '"none"',  # its profiles know libvirtd's directories, not ours
}
ROOT_SETTINGS = {
    "user": '"root"',
    "group": '"root"',
    "dynamic_ownership": "0",  # disks stay whose they are
    "namespaces": "[]",  # these two need what a container does not give
    "cgroup_controllers": "[]",
}

_turns: dict[str, int] = {}
_opening = threading.Lock()


def root_of(target: Target) -> str:
    """The directory of an embedded host."""
    from urllib.parse import parse_qs

    given = parse_qs(target.uri.partition("?")[2]).get("root", [""])[0]
    if not os.path.isabs(given):
        raise UsageError(
            "usage", f"{target.name}: the URI must name a directory", hint="qemu:///embed?root=/DIRECTORY, or embedded"
        )
    return os.path.normpath(given)


def open_driver(
    target: Target, *, timeout: float | None = None, work: Work | None = None, patient: bool = False
) -> libvirt.virConnect:
    """Open the driver when it is our turn; what it then says of its VMs is true."""
    root = root_of(target)
    prepare(root)
    if os.geteuid() == 0:
        _leave_way_for_daemon()
    with _opening:
        if root not in _turns:
            check = partial(bounded.check_cancelled, work)
            ends = time.monotonic() + (timeout or QUEUE_SECONDS)
            turn = Queue(root).take(timeout or QUEUE_SECONDS, patient=patient, check=check)
            _wait_for_driver(root, ends, check)
            _forget_unborn(root)
            _turns[root] = turn
        loop.start()
        conn = _open(target, work)
    # A driver that a hanging VM holds up is no reason to say nothing.
    with suppress(TimeoutError):
        bounded.call(lambda: _settle(conn, root), SETTLE_SECONDS + 1, work=work)
    return conn


def prepare(root: str) -> None:
    """Make the directory with the driver's settings, if it is not there; nobody else may look into it."""
    if len(os.fsencode(root)) > LONGEST_ROOT:
        raise Refused(
            "not-supported",
            f"the path {root} is too long for an embedded host, which makes sockets below it: "
            f"{LONGEST_ROOT} bytes at most",
            hint="name a shorter directory: KVMCTL_STATE_DIR=/var/tmp/kvmctl kvmctl …",
        )
    wanted = MARK + "".join(f"{key} = {value}\n" for key, value in _settings().items())
    path = os.path.join(root, "etc", "qemu.conf")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.chmod(root, 0o700)
        found = ""
        with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
            found = file.read()
        if found == wanted or (found and not found.startswith(MARK)):
            return
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(wanted)
        os.replace(temporary, path)
    except OSError as problem:
        raise HostUnreachable(
            "host-unreachable",
            f"cannot use {root} for the embedded host: {problem.strerror}: {problem.filename}",
            hint="name another directory: KVMCTL_STATE_DIR=/DIRECTORY kvmctl …",
        ) from problem


def _leave_way_for_daemon(folder: str = "/run/libvirt") -> None:
    """The driver would make this directory for root alone, and who uses a daemon that comes later could not enter."""
    with suppress(OSError):
        os.mkdir(folder)
        os.chmod(folder, 0o755)


def _wait_for_driver(root: str, ends: float, check: Callable[[], object]) -> None:
    """Wait until no process has the driver open.

    Our own turn says so of kvmctl, nearly: a process that ends gives back its locks one by one. And another program
    may use the directory. The driver itself cannot try again in the same process once it was refused.
    """
    path = os.path.join(root, "run", "qemu", "driver.pid")
    while True:
        try:
            with open(path, "r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except FileNotFoundError:
            return
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                return
        check()
        if time.monotonic() >= ends:
            raise TimedOut("host-busy", f"another program than kvmctl uses {root}", hint="wait until it has ended")
        time.sleep(GLANCE)


def _forget_unborn(root: str) -> None:
    """Take away the status of VMs whose QEMU never came to life, because a kvmctl was killed while it started them.

    The driver would look for their monitors for 30 seconds, hold everybody up that long who wants to start them, and
    would not be a bit wiser when our process ends before.
    """
    folder = os.path.join(root, "run", "qemu")
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if not name.endswith(".xml"):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            beginning = file.read(1000)
        status = beginning.partition("<domstatus")[2].partition(">")[0]
        if " pid='0'" in status and not _lives(_qemu_of(root, name.removesuffix(".xml"))):
            os.unlink(path)


def _settings() -> dict[str, str]:
    return {**SETTINGS, **(ROOT_SETTINGS if os.geteuid() == 0 else {})}


def _open(target: Target, work: Work | None) -> libvirt.virConnect:
    try:
        return bounded.call(lambda: libvirt.open(target.uri), OPEN_SECONDS, work=work)
    except TimeoutError:
        raise HostUnreachable("host-unreachable", f"{target.name}: no answer within {OPEN_SECONDS:g} s") from None
    except libvirt.libvirtError as problem:
        text = problem.get_error_message() or ""
        if "already open with path" in text:
            raise Refused("not-supported", "one command can work on one embedded host only") from problem
        raise messages.translate_connect(problem, host=target.name, uri=target.uri) from problem


def _settle(conn: libvirt.virConnect, root: str) -> None:
    """Wait until the driver has reached every QEMU again, or found it gone, or has had SETTLE_SECONDS.

    The driver answers at once with what it wrote down when it last ran. It reaches for each QEMU in a thread, which
    holds the VM's job until it knows better. A guest that powered itself off meanwhile is then in state SHUTDOWN
    until its QEMU has been ended. Asking who holds the job needs no answer from QEMU, so this cannot hang on one.
    """
    ends = time.monotonic() + SETTLE_SECONDS
    unsure = conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    while unsure and time.monotonic() < ends:
        unsure = [domain for domain in unsure if not _is_settled(domain) and not _is_stopped(root, domain.name())]
        if unsure:
            time.sleep(0.002)


def _is_settled(domain: libvirt.virDomain) -> bool:
    try:
        busy = domain.controlInfo()[0] != libvirt.VIR_DOMAIN_CONTROL_OK
        return not busy and domain.state()[0] != libvirt.VIR_DOMAIN_SHUTDOWN
    except libvirt.libvirtError:
        return True  # it does not run any more


def _is_stopped(root: str, name: str) -> bool:
    """True if the QEMU process is held by SIGSTOP or a debugger, and so will not answer."""
    return _process_state(_qemu_of(root, name)) in ("T", "t")


def _lives(pid: int) -> bool:
    return _process_state(pid) not in ("", "Z", "X")


def _qemu_of(root: str, name: str) -> int:
    """The process of a VM as the driver noted it down, or 0."""
    with (
        suppress(OSError, ValueError),
        open(os.path.join(root, "run", "qemu", f"{name}.pid"), encoding="ascii") as file,
    ):
        return int(file.read())
    return 0


def _process_state(pid: int) -> str:
    """The letter that the kernel has for the state of a process; empty if there is none."""
    with suppress(OSError, IndexError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]
    return ""
