"""The metal machine: started, spoken to, and cleaned up after each test.

`Machine()` switches it on, `boot()` waits until it is up; `close()`, or the death of this process in any way, takes it
away with its directory. Commands go over one ssh connection that stays open, since to open one takes seconds. `shared`
is a directory that the machine sees as /shared, and the clone is its /opt/kvmctl, at every moment as they are outside.
One that stops answering is ended: `lost` tells, and `restart()` brings it back. Needs root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import libvirt

from tests.environment import PATH, ROOT
from tests.lab.hosts import child_of, remove_vms
from tests.metal import image, qemu
from tests.metal.watch import Watch
from tests.place import Place
from tests.results import Command, words

SHARED = PurePosixPath("/shared")
READY = "metal: ready"
BOOT_SECONDS = 180.0
BOOTS = 3
"""As often is it switched on, in all: a processor under emulation misses an interrupt now and then, and all waits."""
ENVIRONMENT = {"NO_COLOR": "1", "COLUMNS": "80", "LANG": "C.UTF-8", "TZ": "UTC"}


class MetalError(Exception):
    """The machine does not start; the message says why."""


def missing() -> str:
    """Why there can be no metal machine here, or nothing."""
    absent = [name for name in ("ssh", "nsenter", "virsh") if not shutil.which(name, path=PATH)]
    return image.missing() or (f"needs {', '.join(absent)}: 'make test' installs them" if absent else "")


class Machine(Place):
    """A KVM host with real KVM, two NUMA nodes, an IOMMU and devices to assign; or the one at the end of its cable."""

    name = "metal"
    program = ("kvmctl",)
    seconds = 240.0

    def __init__(self, first: Machine | None = None) -> None:
        self.image = image.provide()
        self.number = 2 if first else 1
        self.cable: socket.socket | None = None
        """What the second machine is plugged into."""
        if first is None:
            self._plug, self.cable = socket.socketpair()
        else:
            assert first.cable is not None
            self._plug = first.cable
        self.directory = Path(tempfile.mkdtemp(prefix="kvmctl-metal-")) / "machine"
        self.shared = self.directory / "shared"
        self._init: subprocess.Popen[bytes] | None = None
        self._ssh: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        try:
            self._switch_on()
        except BaseException:
            self.close()
            raise

    def boot(self) -> Machine:
        """Wait until commands can be run in it. One that hangs before is switched off and on again."""
        try:
            for left in reversed(range(BOOTS)):
                try:
                    self._await(self._says_ready, "its system")
                    self._connect()
                    self._watch = self._watched()
                    break
                except MetalError as problem:
                    if not left:
                        raise
                    print(f"The metal machine is switched on again: {problem}", file=sys.stderr)
                self._switch_off()
                self._switch_on()
        except BaseException:
            self.close()
            raise
        return self

    def restart(self) -> None:
        """Switch it off and on again, and wait until it is up."""
        self._switch_off()
        self._switch_on()
        self.boot()

    @property
    def lost(self) -> bool:
        """Whether it has stopped answering, and was ended for that."""
        return self._watch is not None and self._watch.lost

    # -- commands inside ----------------------------------------------------------------------------

    @property
    def outside_uri(self) -> str:
        """As a process outside reaches its libvirtd."""
        return f"qemu+tcp://127.0.0.1:{self.libvirt_port}/system"

    def enter(self, *options: str) -> list[str]:
        """The words before a command line that bring it into the machine."""
        return ["ssh", "-q", "-F", "none", "-S", str(self.directory / "ssh"), *options, "metal"]

    def start(
        self, command: Command, *, env: Mapping[str, str] | None = None, **attributes: Any
    ) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **attributes}
        variables = [f"{name}={shlex.quote(value)}" for name, value in {**ENVIRONMENT, **(env or {})}.items()]
        return subprocess.Popen([*self.enter(), " ".join([*variables, shlex.join(words(command))])], **pipes)

    # -- after a test -------------------------------------------------------------------------------

    def clean(self) -> None:
        """No VM, no hugepage, no virtual function, every CPU online, every device with its own driver."""
        connection = libvirt.open(self.outside_uri)
        try:
            remove_vms(connection)
        finally:
            connection.close()
        self.run("/usr/local/sbin/metal-clean")
        for path in self.shared.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    # -- start and end ------------------------------------------------------------------------------

    def _switch_on(self) -> None:
        self.directory.parent.mkdir(mode=0o700, exist_ok=True)
        self.shared.mkdir(parents=True)
        (self.directory / "nvme").touch()
        os.truncate(self.directory / "nvme", qemu.NVME_SIZE)
        init = [sys.executable, "-m", "tests.metal.init", str(self.image.place), str(self.directory), str(ROOT)]
        self._init = subprocess.Popen(
            [*image.SPACE, *init, *qemu.arguments(self.number, self._plug.fileno())],
            pass_fds=[self._plug.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C on the terminal is not for it
            env={**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT)},
        )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != b"ready\n":
            raise MetalError("what init.py says above tells why")
        self.pid = child_of(self._init.pid)
        self._await(self._has_ports, "QEMU")

    def _has_ports(self) -> bool:
        try:
            self.ssh_port, self.libvirt_port = qemu.ports(self.directory / "qmp")
        except (FileNotFoundError, ConnectionRefusedError):
            return False  # it does not listen yet
        return True

    def _says_ready(self) -> bool:
        return READY in self._log("console.log")

    def _connect(self) -> None:
        """Open the connection that `enter` uses."""
        options = {
            "User": "root",
            "HostName": "127.0.0.1",
            "HostKeyAlias": "metal",
            "IdentityFile": self.image.place / "key",
            "UserKnownHostsFile": self.image.place / "known_hosts",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "KexAlgorithms": "curve25519-sha256",  # others are slow where arithmetic is
        }
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        with (self.directory / "ssh.log").open("wb") as log:
            self._ssh = subprocess.Popen(
                [*self.enter("-M", "-N", "-p", str(self.ssh_port), *settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await((self.directory / "ssh").is_socket, "ssh to it")

    def _watched(self) -> Watch:
        """Looks from now on whether its system and its libvirt answer; both at once are not always lost."""
        assert self._init is not None
        assert self._init.stdin is not None
        return Watch([[*self.enter(), "true"], ["virsh", "-c", self.outside_uri, "version"]], self._init.stdin.close)

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + BOOT_SECONDS
        while not condition():
            ended = not child_of(self.pid) or (self._ssh is not None and self._ssh.poll() is not None)
            if ended or time.monotonic() > ends:
                logs = [f"{name}:\n{self._log(name)[-3000:]}" for name in ("qemu.log", "console.log", "ssh.log")]
                raise MetalError("\n".join([f"{what} {'has ended' if ended else 'is not ready in time'}", *logs]))
            time.sleep(0.05)

    def _log(self, name: str) -> str:
        path = self.directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _switch_off(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        if self._init is not None:
            with self._init:  # closes the pipes, which is what PID 1 ends at, and waits; it removes the directory
                pass
        if self._ssh is not None:
            self._ssh.kill()
            self._ssh.wait()
        self._init = self._ssh = self._watch = None

    def close(self) -> None:
        self._switch_off()
        if self.cable is not None:
            self._plug.close()
            self.cable.close()
        shutil.rmtree(self.directory.parent, ignore_errors=True)
