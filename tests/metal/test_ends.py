"""Whoever starts the metal machine, or the making of its image, may be killed: nothing of it stays.

And the machine itself may stop, before it is up or at any time after.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import libvirt
import pytest

from tests.environment import CACHE, ROOT
from tests.lab.waiting import until
from tests.metal import machine, qemu, watch
from tests.metal.machine import Machine, MetalError, missing

MACHINE = """\
from tests.metal.machine import Machine
machine = Machine()
print(machine.directory.parent, machine.pid, flush=True)
"""
IMAGE = """\
from pathlib import Path
from tests.metal import image
image.provide(Path("{cache}"))
"""

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"the metal tier {missing()}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_of_a_machine(number: signal.Signals) -> None:
    with started(f"{MACHINE}input()") as process:
        assert process.stdout is not None
        directory, pid = process.stdout.readline().split()
        process.send_signal(number)
    assert process.returncode == -number
    until(lambda: not Path(directory).exists() and not Path(f"/proc/{pid}").exists(), "the end", seconds=60)
    assert "/metal-" not in Path("/proc/mounts").read_text()


def test_of_one_that_does_not_boot(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "BOOTS", 2)
    hung = Machine()
    first = hung.pid
    monkeypatch.setattr(machine, "BOOT_SECONDS", 15.0)
    monkeypatch.setattr(hung, "_says_ready", lambda: False)
    with pytest.raises(MetalError, match="its system is not ready in time"):
        hung.boot()
    assert capfd.readouterr().err.count("is switched on again") == 1
    assert hung.pid != first
    assert not Path(f"/proc/{hung.pid}").exists()
    assert not hung.directory.parent.exists()


tries: list[int] = []


def test_of_one_that_stops_answering(metal: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, the test fails with that, and is run again on a new one."""
    tries.append(metal.pid)
    if len(tries) == 1:
        monkeypatch.setattr(watch, "ANSWER_SECONDS", 5.0)
        qemu.say(metal.directory / "qmp", "stop", {})
    assert libvirt.open(metal.outside_uri).getHostname() == "metal"  # waits for an answer as long as there may be one
    assert len(set(tries)) == 2


def test_of_an_image_that_is_being_made(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def making(name: str = "done/root/var") -> list[Path]:
        return list(cache.glob(f"making-metal-*/{name}"))

    with started(IMAGE.format(cache=cache)) as process:
        until(making, "the system is being made", seconds=120)
        process.kill()
    until(lambda: not making(".") and not naming(str(cache)), "the end", seconds=60)
    assert str(cache) not in Path("/proc/mounts").read_text()
    assert [path.name for path in cache.iterdir()] == ["metal.lock"]


def naming(text: str) -> list[Path]:
    """The processes that have this on their command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found += [file] if text.encode() in file.read_bytes() else []
    return found


def started(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(CACHE.parent)},  # else it would make an image of its own
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
