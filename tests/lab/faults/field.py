"""Two hosts on which a migration is broken: the guest, the wires its calls go by, and what can be done to all of it.

A Field is used for one trial after another; many of them at once share nothing. The command runs on the source host and
reaches both libvirtds by wires, and so does the source's libvirtd that of the target.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import libvirt

from tests.lab.faults import counter
from tests.lab.faults.guest import UUID, XML
from tests.lab.faults.wire import Line, When, Wire
from tests.lab.hosts import Host, Lab, inner
from tests.lab.waiting import until

Side = Literal["source", "target"]
SIDES: tuple[Side, ...] = ("source", "target")
PORT = 16509
STATES = {libvirt.VIR_DOMAIN_RUNNING: "running", libvirt.VIR_DOMAIN_SHUTOFF: "off"}
libvirt.registerErrorHandler(lambda context, error: None, None)  # which prints what is raised as well

COMMAND_SECONDS = 240.0
"""No command takes longer, whatever breaks; every wait in it ends far before."""


class Field:
    def __init__(self) -> None:
        self.lab = Lab()
        self.hosts: dict[Side, Host] = dict(zip(SIDES, self.lab.hosts))
        self.shared = self.lab.directory / "shared"
        self.shared.mkdir()
        here = self.hosts["source"]
        self.wires: dict[Side, Wire] = {}
        config = "hosts:\n"
        for number, side in enumerate(SIDES, start=1):
            here.run(f"ip addr add 10.77.1.{number}/32 dev lo")
            self.wires[side] = Wire(
                here.pid, (f"10.77.1.{number}", PORT), (self.hosts[side].address, PORT), armed=self.moves
            )
            config += f"  {side}: {{uri: 'qemu+tcp://10.77.1.{number}/system'}}\n"
        (here.home / ".config/kvmctl/config.yaml").write_text(config)
        self.process: subprocess.Popen[bytes] | None = None
        self._late: list[threading.Thread] = []
        self._over = threading.Event()
        self.happened_at: float | None = None
        """When the fault was there, on the monotonic clock: a trial without it says nothing."""
        self._undo: list[Callable[[], object]] = []

    # -- the guest --------------------------------------------------------------------------------------------------

    def start_guest(self, *, locks: bool, fill: int, busy: int, disk: int) -> None:
        """Persistent, running and counting at the source. A disk of so many MiB is the source's own; 0: shared."""
        self._over.clear()
        self.happened_at = None
        if disk:
            self.disks = {side: host.images / "vm.img" for side, host in self.hosts.items()}
            seen = Path("/var/lib/libvirt/images/vm.img")
        else:
            seen = self.shared / "vm.img"
            self.disks = dict.fromkeys(SIDES, seen)
        counter.image(self.disks["source"], fill=fill, busy=busy, size=max(1, disk))
        with self.connection("source") as source:
            source.defineXML(XML.format(uuid=UUID, image=seen, shareable="" if locks else "<shareable/>"))
            source.lookupByUUIDString(UUID).create()
        until(lambda: self.count("source").count > 2, "the guest counts")

    def count(self, side: Side) -> counter.Count:
        """What stands on the guest's disk at this side."""
        return counter.read(self.disks[side])

    def left(self, where: Side) -> list[str]:
        """What a move has left behind that is at this side: files, pools, QEMUs, a journal."""
        own = {self.disks[where], self.disks["source"]}  # a copy does not take the original away
        found = [path for host in self.hosts.values() for path in host.images.iterdir()]
        found += self.shared.iterdir()
        told = [f"file {path}" for path in found if path not in own]
        for side in SIDES:
            with self.connection(side) as connection:
                pools = connection.listAllStoragePools()
                told += [f"pool {pool.name()} at the {side}" for pool in pools if pool.name() != "default"]
            if side != where and self.hosts[side].qemus():
                told.append(f"a QEMU at the {side}")
        journals = self.hosts["source"].directory / "run/kvmctl/migrations"
        return told + [f"journal {path.name}" for path in journals.glob("*.json")]

    def state(self, side: Side) -> str:
        """running, off, absent, or what else libvirt says."""
        with self.connection(side) as connection:
            try:
                state, reason = connection.lookupByUUIDString(UUID).state()
            except libvirt.libvirtError as problem:
                if problem.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return "absent"
                raise
        return STATES.get(state, f"state {state}, reason {reason}")

    def persistent(self, side: Side) -> bool:
        with self.connection(side) as connection:
            return bool(connection.lookupByUUIDString(UUID).isPersistent())

    @contextlib.contextmanager
    def connection(self, side: Side) -> Iterator[libvirt.virConnect]:
        """To a libvirtd itself, past the wires."""
        connection = libvirt.open(self.hosts[side].outside_uri)
        try:
            yield connection
        finally:
            connection.close()

    def moves(self) -> bool:
        """Whether libvirt was asked to move the VM: what is called before only looks."""
        try:
            written = (self.hosts["source"].directory / f"run/kvmctl/migrations/{UUID}.json").read_text()
        except OSError:
            return False
        return str(json.loads(written)["step"]) in ("moving", "postcopy", "arrived")

    # -- the command ------------------------------------------------------------------------------------------------

    def start(self, *words: str) -> None:
        """kvmctl at the source."""
        self.process = self.hosts["source"].start_kvmctl(["-H", "source", *words])
        self.client = inner(self.process)

    def end(self) -> tuple[int, str, str]:
        """Exit code of the command, its answer, and what it said."""
        assert self.process is not None
        try:
            stdout, stderr = self.process.communicate(timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            self.hosts["source"].kill(self.process)
            stdout, stderr = self.process.communicate()
            stderr += b"\nthe command did not end"
        return self.process.returncode, stdout.decode(), stderr.decode()

    # -- what can happen --------------------------------------------------------------------------------------------

    def kill_client(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.client, number)

    def kill_qemu(self, side: Side) -> None:
        for pid in self.hosts[side].qemus().values():
            os.kill(pid, signal.SIGKILL)

    def kill_daemon(self, side: Side, *, again_after: float = 1.0) -> None:
        """End a libvirtd without a word, and start it again a little later."""
        self.hosts[side].stop_libvirtd(signal.SIGKILL)
        self.later(again_after, self.hosts[side].start_libvirtd)

    def link(self, state: Literal["up", "down"]) -> None:
        """The cable, pulled at the far end: what is sent from here gets lost without a word."""
        self.hosts["target"].run(f"ip link set cable {state}")

    def pull_cable(self, seconds: float) -> None:
        self.link("down")
        self.later(seconds, lambda: self.link("up"), wait=False)

    def slow(self, mebibytes: int) -> None:
        """A link of so many MiB a second."""
        self.hosts["source"].run(
            f"tc qdisc replace dev cable root tbf rate {mebibytes * 8388608}bit burst 64kb latency 200ms"
        )

    def fill_up(self, directory: str, *, size: str, free: int) -> Callable[[], None]:
        """A file system of its own at the target's directory, so large; what is given then leaves it so many bytes."""
        target = self.hosts["target"]
        target.run(f"mount -t tmpfs -o size={size} tmpfs {directory}")
        self._undo.append(lambda: target.run(f"umount --lazy {directory}"))

        def fill() -> None:
            # Seen from outside, the file system is not there.
            script = f"room=$(($(stat -f -c '%a * %S' .) - {free})); head -c $room /dev/zero >.full || true"
            target.run(["sh", "-c", f"cd {directory} && {script}"])

        return fill

    def limit_memory(self, kibibytes: int) -> None:
        """A QEMU that a VM arrives in gets no more memory than this at the target."""
        target, real, program = self.hosts["target"], self.lab.directory / "qemu", "/usr/bin/qemu-system-x86_64"
        wrapper = self.lab.directory / "limited"
        real.touch()
        wrapper.write_text(
            f'#!/bin/sh\ncase "$*" in *-incoming*) ulimit -v {kibibytes};; esac\nexec {real} "$@"\n', encoding="utf-8"
        )
        wrapper.chmod(0o755)
        target.run(f"mount --bind {program} {real}")
        target.run(f"mount --bind {wrapper} {program}")
        self._undo.append(lambda: target.run(f"umount --lazy {program} {real}"))

    def later(self, seconds: float, deed: Callable[[], object], *, wait: bool = True) -> None:
        """Do it in a while; unless told not to `wait`, even if the trial is over before."""

        def work() -> None:
            if wait:
                time.sleep(seconds)
            else:
                self._over.wait(seconds)
            deed()

        thread = threading.Thread(target=work, daemon=True)
        self._late.append(thread)
        thread.start()

    def happened(self) -> None:
        """The fault is there now."""
        self.happened_at = time.monotonic()

    def trap(self, side: Side, call: int, when: When, deed: Callable[[Line], object]) -> None:
        """Do it when the VM's move comes to this call."""

        def spring(line: Line) -> None:
            self.happened()
            deed(line)

        self.wires[side].trap(call, when, spring)

    def when(
        self, condition: Callable[[libvirt.virDomain], object], deed: Callable[[], object], *, side: Side = "source"
    ) -> None:
        """Do it as soon as the VM at this side is like this."""

        def work() -> None:
            with self.connection(side) as connection:
                while not self._over.wait(0.03):
                    # At the target it is not there from the start, and at the source not to the end.
                    with contextlib.suppress(libvirt.libvirtError):
                        if condition(connection.lookupByUUIDString(UUID)):
                            break
                else:
                    return
            self.happened()
            deed()

        self._late.append(threading.Thread(target=work, daemon=True))
        self._late[-1].start()

    # -- the end ----------------------------------------------------------------------------------------------------

    def settle_down(self) -> None:
        """Everything that was to come later has come, and both daemons answer."""
        self._over.set()
        while self._late:
            self._late.pop().join(60)
        for host in self.hosts.values():
            host.answers()

    def clean(self) -> None:
        """As new, whatever the trial did."""
        self._over.set()
        if self.process is not None and self.process.poll() is None:
            self.hosts["source"].kill(self.process)
            self.process.communicate()
        self.settle_down()
        while self._undo:
            self._undo.pop()()
        self.hosts["source"].run("tc qdisc del dev cable root", check=False)
        self.link("up")
        for side in SIDES:
            self.wires[side].clear()
            self.hosts[side].clean()
        until(lambda: not any(host.qemus() for host in self.hosts.values()), "every QEMU has ended")
        for path in self.shared.iterdir():
            path.unlink()

    def close(self) -> None:
        for wire in self.wires.values():
            wire.close()
        self.lab.close()


def last_object(answer: str) -> dict[str, Any]:
    """The result or the error that stands last in an answer; empty if there is none."""
    lines = answer.splitlines()
    for start in range(len(lines) - 1, -1, -1):
        with contextlib.suppress(ValueError):
            found: dict[str, Any] = json.loads("\n".join(lines[start:]))
            return found
    return {}
