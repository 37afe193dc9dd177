"""A serial line on the embedded host: found by what the driver wrote down, opened only if it is that VM's, locked."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmctl.errors import NotFound, Refused
from kvmctl.host import console_terminal
from kvmctl.host.console_terminal import open_terminal
from kvmctl.host.targets import Target
from tests.environment import ROOT

UUID = "b7805a79-d8c0-4a8d-967f-486ef5f7c20d"
DOMAIN = "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><devices>{device}</devices></domain>"
STATUS = "<!-- written by libvirt -->\n<domstatus state='running' pid='{pid}'>{domain}</domstatus>"
CONSOLE = "<console type='pty' tty='{path}'><source path='{path}'/></console>"


class Watch:
    """Stands for the process that watches the host; knows nothing."""

    def __init__(self, target: Target, timeout: float) -> None:
        self.changed = threading.Condition()
        self.seen: dict[str, object] = {}

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Qemu:
    """This process plays QEMU: it holds the terminal's other side."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.target = Target("embedded", f"qemu:///embed?root={root}")
        self.master, slave = pty.openpty()
        self.path = os.ttyname(slave)
        os.close(slave)
        for name in ("run/qemu", "etc/qemu"):
            (root / name).mkdir(parents=True)

    def writes_down(self, *, name: str = "web1", path: str | None = None, pid: int | None = None) -> None:
        domain = DOMAIN.format(name=name, uuid=UUID, device=CONSOLE.format(path=path or self.path))
        file = self.root / "run/qemu" / f"{name}.xml"
        file.write_text(STATUS.format(pid=os.getpid() if pid is None else pid, domain=domain))


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Qemu]:
    monkeypatch.setattr(console_terminal, "RelayWatch", Watch)
    monkeypatch.setattr(console_terminal, "WHY_SECONDS", 0.1)
    made = Qemu(tmp_path / "root")
    yield made
    os.close(made.master)


@pytest.mark.parametrize("name", ["web1", UUID, UUID.upper()])
def test_the_line_is_opened(qemu: Qemu, name: str) -> None:
    qemu.writes_down()
    with open_terminal(qemu.target, name, force=False) as line:
        assert line.vm == "web1"
        os.write(qemu.master, b"login: ")
        select.select([line.descriptor], [], [], 100)
        assert os.read(line.descriptor, 100) == b"login: "
        os.write(line.descriptor, b"\x03\n")
        assert os.read(qemu.master, 100) == b"\x03\n", "as it is, and no signal"
        assert line.after_closing() == "ended"


def test_a_terminal_that_is_somebody_else_s_by_now_is_not_touched(qemu: Qemu) -> None:
    other, slave = pty.openpty()
    try:
        qemu.writes_down(path=os.ttyname(slave), pid=1)
        with pytest.raises(Refused) as refused, open_terminal(qemu.target, "web1", force=True):
            pass
        assert refused.value.code == "vm-not-running"
    finally:
        os.close(other)
        os.close(slave)


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_a_qemu_that_is_gone(qemu: Qemu, pid: int) -> None:
    qemu.writes_down(pid=pid)
    with pytest.raises(Refused) as refused, open_terminal(qemu.target, "web1", force=False):
        pass
    assert refused.value.code == "vm-not-running"


def test_a_vm_that_is_only_defined(qemu: Qemu) -> None:
    (qemu.root / "etc/qemu/web2.xml").write_text(DOMAIN.format(name="web2", uuid=UUID, device=""))
    for name in ("web2", UUID):
        with pytest.raises(Refused) as refused, open_terminal(qemu.target, name, force=False):
            pass
        assert (refused.value.code, refused.value.vm) == ("vm-not-running", "web2")


@pytest.mark.parametrize("name", ["wep1", "../run/qemu/web1", "", "a\0b", "00000000-0000-0000-0000-000000000000"])
def test_no_such_vm(qemu: Qemu, name: str) -> None:
    qemu.writes_down()
    with pytest.raises(NotFound) as missing, open_terminal(qemu.target, name, force=False):
        pass
    assert missing.value.code == "vm-not-found"
    if name == "wep1":
        assert missing.value.hint == "did you mean 'web1'?"


def test_a_vm_without_a_terminal(qemu: Qemu) -> None:
    domain = DOMAIN.format(name="web1", uuid=UUID, device="<serial type='file'><source path='/log'/></serial>")
    (qemu.root / "run/qemu/web1.xml").write_text(STATUS.format(pid=os.getpid(), domain=domain))
    with pytest.raises(NotFound) as missing, open_terminal(qemu.target, "web1", force=False):
        pass
    assert missing.value.code == "no-console"


HOLDER = """
import signal, sys, time
from pathlib import Path
from kvmctl.host.console_terminal import _ours_alone
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
with _ours_alone(Path(sys.argv[1]), int(sys.argv[2]), "web1", force=False):
    print("held", flush=True)
    while not (heard and sys.argv[3] == "polite"):
        time.sleep(0.02)
"""


def holder(qemu: Qemu, manner: str) -> subprocess.Popen[str]:
    """Another kvmctl that has the console."""
    number = qemu.path.rpartition("/")[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(qemu.root / "consoles.lock"), number, manner],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_client_at_a_time(qemu: Qemu) -> None:
    qemu.writes_down()
    other = holder(qemu, "polite")
    with pytest.raises(Refused) as refused, open_terminal(qemu.target, "web1", force=False):
        pass
    assert refused.value.code == "console-busy"
    with open_terminal(qemu.target, "web1", force=True):
        assert other.wait(10) == 0
    other.communicate()


def test_a_client_that_does_not_let_go(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_terminal, "LETTING_GO_SECONDS", 0.3)
    qemu.writes_down()
    other = holder(qemu, "stubborn")
    with pytest.raises(Refused) as refused, open_terminal(qemu.target, "web1", force=True):
        pass
    assert f"process {other.pid} has its console" in refused.value.message
    other.send_signal(signal.SIGKILL)
    other.communicate()
    with open_terminal(qemu.target, "web1", force=False):
        pass


def test_consoles_of_two_vms_do_not_meet(qemu: Qemu) -> None:
    qemu.writes_down()
    other = holder(qemu, "stubborn")
    master, slave = pty.openpty()
    try:
        qemu.writes_down(name="web2", path=os.ttyname(slave))
        with open_terminal(qemu.target, "web2", force=False) as line:
            assert line.vm == "web2"
    finally:
        os.close(master)
        os.close(slave)
        other.kill()
        other.communicate()
