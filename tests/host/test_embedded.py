"""The embedded host: libvirt's QEMU driver in the command's own process, with real QEMU. Each command is a process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kvmctl.errors import HostUnreachable, Refused, UsageError
from kvmctl.host import embedded
from kvmctl.host.targets import Target
from tests import sectors
from tests.conftest import OwnProcess
from tests.lab.waiting import LIMIT, until
from tests.results import Result

guest = [
    pytest.mark.guest,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs QEMU"),
]


class Embedded:
    """An embedded host of the test's own. Call it to call kvmctl."""

    def __init__(self, directory: Path, run: OwnProcess) -> None:
        self.directory = directory
        self.root = directory / "embedded"
        self.run = run

    def __call__(self, command: str, *, exit: int = 0, timeout: float = 150) -> Result:
        return self.run(command, exit=exit, timeout=timeout)

    def create(self, name: str, kind: str, *, start: bool = True) -> None:
        self(f"create {sectors.spec(self.directory, name, kind)} {'--start' if start else ''}")
        if start:
            self.until_up(name)

    def until_up(self, name: str, *, times: int = 1) -> None:
        sectors.until_up(self.directory, name, times=times)

    def qemu(self, name: str) -> int:
        return int((self.root / f"run/qemu/{name}.pid").read_text())

    def states(self) -> dict[str, str]:
        return {vm["name"]: vm["state"] for vm in self("list -o json").json}

    def runners(self) -> list[int]:
        """Processes that hold this host for others."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if any("kvmctl.runner" in word for word in words) and any(str(self.root) in word for word in words):
                    found.append(int(entry.name))
        return found

    def until_left(self) -> None:
        """Come back when no runner is there any more."""
        until(lambda: not self.runners(), "no runner is left")

    def until_held(self) -> None:
        """Come back when a runner has the driver open."""
        until(self.is_held, "a runner holds it")

    def is_held(self) -> bool:
        with open(self.root / "run/qemu/driver.pid", "r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What libvirt has found out about QEMU; it takes seconds, and is the same in every directory."""
    return tmp_path_factory.mktemp("known") / "cache"


@pytest.fixture(scope="module")
def init() -> Iterator[None]:
    """Reap each QEMU when it ends. Where nobody does, in a container for example, libvirt waits seconds for it."""
    subreaper = 36  # PR_SET_CHILD_SUBREAPER: what our commands leave behind becomes our child
    ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0)
    over = threading.Event()

    def reap() -> None:
        while not over.wait(0.02):
            for children in Path("/proc/self/task").glob("*/children"):
                for pid in map(int, children.read_text().split()):
                    with suppress(OSError):
                        if "qemu" in Path(f"/proc/{pid}/comm").read_text():
                            os.waitpid(pid, os.WNOHANG)

    thread = threading.Thread(target=reap)
    thread.start()
    yield
    over.set()
    thread.join()
    ctypes.CDLL(None).prctl(subreaper, 0, 0, 0, 0)


@pytest.fixture
def host(run_process: OwnProcess, monkeypatch: pytest.MonkeyPatch, known: Path, init: None) -> Iterator[Embedded]:
    # Sockets below the directory need a short path.
    with tempfile.TemporaryDirectory(prefix="kvmctl-") as directory:
        monkeypatch.setenv("KVMCTL_STATE_DIR", directory)
        monkeypatch.setenv("KVMCTL_HOST", "embedded")
        made = Embedded(Path(directory), run_process)
        if known.exists():
            shutil.copytree(known, made.root / "cache")
        yield made
        if not known.exists() and list(made.root.glob("cache/qemu/capabilities/*")):
            shutil.copytree(made.root / "cache", known)
        for file in made.root.glob("run/qemu/*.pid"):
            if file.name != "driver.pid":
                with suppress(ProcessLookupError):
                    os.kill(int(file.read_text()), signal.SIGKILL)


def seconds(host: Embedded, command: str) -> float:
    started = time.monotonic()
    host(command)
    return time.monotonic() - started


class TestWithGuests:
    pytestmark = guest

    def test_a_vm_outlives_the_commands(self, host: Embedded) -> None:
        host.create("web1", "obedient", start=False)
        assert host("start web1 --paused -o json").json["state"] == "paused"
        assert host.states() == {"web1": "paused"}
        assert host("start web1 -o json", exit=5).json["error"]["code"] == "vm-running"
        assert host("resume web1 -o json").json["state"] == "running"
        assert host("start web1 -o json").json["changed"] is False
        pid = host.qemu("web1")
        host.until_up("web1")
        assert host("reset web1 -o json").json["state"] == "running"
        assert host.qemu("web1") == pid
        host.until_up("web1", times=2)
        restarted = host("restart web1 -o json").json
        assert (restarted["state"], restarted["forced"]) == ("running", False)
        assert host.qemu("web1") != pid
        host.until_up("web1")  # the log began anew
        stopped = host("stop web1 -o json").json
        assert (stopped["state"], stopped["changed"], stopped["forced"]) == ("stopped", True, False)
        assert host.states() == {"web1": "stopped"}
        host.until_left()

    def test_a_guest_that_does_not_hear(self, host: Embedded) -> None:
        host.create("deaf", "deaf")
        error = host("stop deaf --timeout 1 -o json", exit=8).json["error"]
        assert (error["code"], error["vm"]) == ("timed-out", "deaf")
        assert error["message"] == "was asked to shut down, and is still running after 1 s"
        assert host.states() == {"deaf": "running"}
        done = host("stop --force --timeout 1 deaf -o json")
        assert done.json["forced"] is True
        assert done.json["seconds"] > 0.5  # the limit of 1 s counts from before the connection
        assert done.stderr.startswith("deaf: plug pulled after ")

    def test_a_guest_that_powers_off_while_nobody_watches(self, host: Embedded) -> None:
        host.create("brief", "brief")
        until(lambda: b"D" in sectors.log(host.directory, "brief").read_bytes(), "it powers off")
        time.sleep(0.5)
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(host.qemu("brief"), 0)  # the process is there until libvirt ends it
        assert host("list -o json").json[0]["state"] == "stopped", "the first answer is true already"
        assert host("start brief -o json").json["changed"] is True
        assert host("wait brief --for stopped --timeout 100 -o json").json["state"] == "stopped"

    def test_a_qemu_that_is_killed_while_nobody_watches(self, host: Embedded) -> None:
        host.create("web1", "deaf")
        os.kill(host.qemu("web1"), signal.SIGKILL)
        assert host.states() == {"web1": "stopped"}
        assert host("start web1 -o json").json["changed"] is True

    def test_a_qemu_that_hangs_delays_nobody(self, host: Embedded) -> None:
        host.create("hung", "deaf")
        host.create("web1", "obedient")
        before = min(seconds(host, "list") for _ in range(3))
        os.kill(host.qemu("hung"), signal.SIGSTOP)
        try:
            after = [seconds(host, "list") for _ in range(12)]
            assert max(after) < 5 * before + 20  # libvirt itself waits for 30
            assert host.states() == {"hung": "running", "web1": "running"}
            host("stop web1")
            error = host("stop hung --timeout 1 -o json", exit=8).json["error"]
            assert error["message"] == "its QEMU does not answer, and it is still running after 1 s"
        finally:
            os.kill(host.qemu("hung"), signal.SIGCONT)
        assert host("pause hung -o json").json["state"] == "paused"

    def test_many_commands_at_once_and_none_fails(self, host: Embedded) -> None:
        host.create("web1", "deaf", start=False)
        host.create("web2", "deaf", start=False)
        commands = ["start web1", "list", "start web2", "list", "list", "list -o json"]
        processes = [(command, host.run.start(command)) for command in commands]
        for command, process in processes:
            _, stderr = process.communicate(timeout=LIMIT)
            assert process.returncode == 0, (command, stderr)
        assert host.states() == {"web1": "running", "web2": "running"}

    def test_who_waits_keeps_nobody_out(self, host: Embedded) -> None:
        host.create("web1", "obedient")
        host.create("web2", "deaf")
        waiting = [host.run.start(f"wait {name} --for stopped --timeout 1000 -o json") for name in ("web1", "web2")]
        for _ in range(3):
            host.until_held()
            host("list")
        assert host("stop web1 -o json").json["forced"] is False
        host("stop --force --timeout 1 web2")
        for process in waiting:
            stdout, stderr = process.communicate(timeout=LIMIT)
            assert process.returncode == 0, stderr
            assert b'"state": "stopped"' in stdout
        host.until_left()

    def test_the_time_of_a_guest_is_not_used_up_by_others(self, host: Embedded) -> None:
        host.create("web1", "deaf")
        with open(host.root / "turn.lock", "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            process = host.run.start("stop --force --timeout 0.5 web1")
            time.sleep(1.5)
        _, stderr = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, stderr

    def test_what_is_deleted_while_one_waits(self, host: Embedded) -> None:
        host.create("web1", "deaf", start=False)
        process = host.run.start("wait web1 --for running --timeout 1000 -o json")
        host.until_held()
        host("delete web1")
        stdout, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 3
        assert b"was deleted meanwhile" in stdout

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_a_wait_that_is_ended_leaves_nothing(self, host: Embedded, number: int) -> None:
        host.create("web1", "deaf")
        log = host.directory / "asked.log"
        spied = {"LIBVIRT_LOG_FILTERS": "1:qemu.qemu_monitor", "LIBVIRT_LOG_OUTPUTS": f"1:file:{log}"}
        process = host.run.start("stop web1 --timeout 1000", env=spied)
        until(lambda: log.exists() and "system_powerdown" in log.read_text(errors="replace"), "the guest is asked")
        host.until_held()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=LIMIT)
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130
            assert stderr.decode().startswith("error: web1: was asked to shut down; nobody waits")
        host.until_left()
        assert host.states() == {"web1": "running"}

    def test_a_runner_that_is_killed(self, host: Embedded) -> None:
        host.create("web1", "deaf")
        process = host.run.start("wait web1 --for stopped --timeout 1000 -o json")
        host.until_held()
        [runner] = host.runners()
        os.kill(runner, signal.SIGKILL)
        stdout, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 7
        assert b"host-unreachable" in stdout

    @pytest.mark.parametrize("delay", [0.15, 0.25, 0.35])
    def test_killed_in_the_middle(self, host: Embedded, delay: float) -> None:
        host.create("web1", "deaf", start=False)
        process = host.run.start("start web1")
        time.sleep(delay)
        process.kill()
        process.communicate()
        state = host.states()["web1"]
        assert state in ("running", "stopped")
        assert host("start web1 -o json").json["changed"] is (state == "stopped")
        assert host("stop --force --timeout 1 web1 -o json").json["state"] == "stopped"

    def test_a_restart_needs_a_stop_first(self, host: Embedded) -> None:
        host.create("web1", "deaf")
        pid = host.qemu("web1")
        assert host("restart web1 --timeout 1 -o json", exit=8).json["error"]["code"] == "timed-out"
        assert host.qemu("web1") == pid
        assert host("restart web1 --timeout 1 --force -o json").json["forced"] is True
        assert host.qemu("web1") != pid

    def test_nothing_starts_vms_with_it(self, host: Embedded) -> None:
        host.create("web1", "deaf", start=False)
        assert host("autostart web1 -o json", exit=5).json["error"]["code"] == "not-supported"
        assert host("autostart web1 --off -o json").json["autostart"] is False


def test_an_empty_one(host: Embedded) -> None:
    assert host("list -o json").json == []
    assert host("list").stderr == "", "libvirt says nothing on the screen"
    assert host.root.stat().st_mode & 0o777 == 0o700
    assert host("start nosuch", exit=3).stderr.startswith("error: nosuch: embedded has no VM of that name")
    assert host("wait nosuch --for stopped", exit=3).stderr.startswith("error: nosuch: ")


def test_another_kvmctl_does_not_finish(host: Embedded) -> None:
    host("list")
    with open(host.root / "turn.lock", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        error = host("list --timeout 1 -o json", exit=8).json["error"]
        assert error["code"] == "host-busy"
        assert host("wait web1 --for stopped --timeout 1 -o json", exit=8).json["error"]["code"] == "host-busy"
        process = host.run.start("list")
        until(lambda: b"libvirt.so" in Path(f"/proc/{process.pid}/maps").read_bytes(), "libvirt is loaded")
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
        assert process.returncode == 130


def test_another_program_holds_it(host: Embedded) -> None:
    host("list")
    with open(host.root / "run/qemu/driver.pid", "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        error = host("list --timeout 1 -o json", exit=8).json["error"]
    assert error["code"] == "host-busy"
    assert "another program" in error["message"]


ASK_FOR_NETWORK = """\
import os
from kvmctl.errors import Refused
from kvmctl.host.connection import connect, translated
from kvmctl.host.targets import select
with connect(select(())[0]) as host:
    try:
        with translated():
            host.conn.networkLookupByName("default")
    except Refused as error:
        print(error.code, "|", error.hint, flush=True)
    os._exit(0)
"""


def test_what_it_does_not_have(host: Embedded) -> None:
    """Networks and pools are a daemon's. The error says so, whatever asks for them."""
    command = [host.run.python, "-c", ASK_FOR_NETWORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.stdout.startswith("not-supported | "), done.stderr


def target(root: str) -> Target:
    return Target("embedded", f"qemu:///embed?root={root}")


def test_a_path_that_is_too_long_for_sockets(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        embedded.prepare("/" + "x" * embedded.LONGEST_ROOT)
    assert caught.value.code == "not-supported"
    assert "KVMCTL_STATE_DIR" in caught.value.hint
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize("uri", ["qemu:///embed", "qemu:///embed?root=relative", "qemu:///embed?root="])
def test_a_uri_without_a_directory(uri: str) -> None:
    with pytest.raises(UsageError):
        embedded.root_of(Target(uri, uri))


def test_the_directory_of_a_uri() -> None:
    assert embedded.root_of(target("/srv/a%20b%25/")) == "/srv/a b%"


def test_a_daemon_that_comes_later_can_be_reached(tmp_path: Path) -> None:
    folder = tmp_path / "libvirt"
    before = os.umask(0o077)
    try:
        embedded._leave_way_for_daemon(str(folder))
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    folder.chmod(0o711)
    embedded._leave_way_for_daemon(str(folder))
    assert folder.stat().st_mode & 0o777 == 0o711, "it is somebody else's"


class TestSettings:
    """What the driver is told in its qemu.conf."""

    @pytest.fixture
    def root(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="kvmctl-") as directory:
            yield Path(directory)

    def text(self, root: Path) -> str:
        embedded.prepare(str(root))
        return (root / "etc/qemu.conf").read_text()

    def test_of_root_and_of_others(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert 'stdio_handler = "file"' in self.text(root)
        assert "user" not in self.text(root).replace("user-mode", "")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert 'user = "root"' in self.text(root), "what kvmctl wrote itself it writes anew"

    def test_the_users_own_stay(self, root: Path) -> None:
        changed = self.text(root).partition("\n")[2] + "max_core = 0\n"
        (root / "etc/qemu.conf").write_text(changed)
        assert self.text(root) == changed

    def test_a_directory_that_cannot_be_used(self, root: Path) -> None:
        (root / "file").write_text("")
        with pytest.raises(HostUnreachable) as caught:
            embedded.prepare(str(root / "file"))
        assert "KVMCTL_STATE_DIR" in caught.value.hint


@pytest.mark.parametrize(("status", "pid", "kept"), [("0", "", False), ("0", "alive", True), ("77", "", True)])
def test_a_vm_whose_qemu_was_never_born(tmp_path: Path, status: str, pid: str, kept: bool) -> None:
    """What a kvmctl leaves that is killed after it wrote the VM's status down, and before QEMU ran."""
    folder = tmp_path / "run/qemu"
    folder.mkdir(parents=True)
    noted = folder / "web1.xml"
    noted.write_text(
        f"<!-- WARNING -->\n<domstatus state='paused' reason='starting up' pid='{status}'>\n</domstatus>\n"
    )
    (folder / "web1.pid").write_text(str(os.getpid()) if pid else "4194305")
    embedded._forget_unborn(str(tmp_path))
    assert noted.exists() is kept
