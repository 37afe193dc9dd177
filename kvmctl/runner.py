"""A process that holds the embedded host for a command that takes long, and ends when another kvmctl wants its turn.

`host/relay.py` starts it and talks to it, one JSON object per line: deeds to do come in, what is seen and done goes
out. It says nothing to people. It ends with the command that started it, however that ends.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import Any

from kvmctl.errors import KvmctlError
from kvmctl.host import embedded
from kvmctl.host.connection import Host
from kvmctl.host.targets import Target
from kvmctl.host.turns import Queue
from kvmctl.host.watch import LiveWatch, Seen
from kvmctl.parallel import Work

GLANCE = 0.1
"""How often to look whether another kvmctl waits, in seconds."""
SHARE_SECONDS = 1.0
"""Others who only watch, as we do, get their turn after so long; all others at once."""
LAST_SECONDS = 30.0
"""How long a deed may still take when the command that asked for it has ended."""
REPEATABLE = ("ask_to_stop", "check_can_restart")
"""Deeds that may be broken off, since the next runner does them again. A QEMU that hangs never answers them."""

Deed = dict[str, Any]


def main() -> None:
    """Work until nobody needs us, or somebody else needs the host more."""
    name, uri, limit = sys.argv[1:]
    runner = Runner(Target(name, uri), float(limit))
    try:
        runner.serve()
    except KvmctlError as problem:
        _say({"failure": problem.as_dict()})
    except BrokenPipeError:
        pass
    # Not an orderly exit: it would catch libvirt's threads at work.
    os._exit(0)


class Runner:
    """Does what comes in, and tells what it sees."""

    def __init__(self, target: Target, limit: float) -> None:
        self.target = target
        self.work = Work(limit, threading.Event())
        self.deeds: queue.SimpleQueue[Deed | None] = queue.SimpleQueue()
        self.unfinished: list[threading.Thread] = []
        # What an earlier runner did not come to. It is done before anybody else gets a turn.
        for deed in json.loads(sys.stdin.readline() or '{"deeds": []}')["deeds"]:
            self.deeds.put(deed)
        threading.Thread(target=self._listen, daemon=True).start()

    def serve(self) -> None:
        """Hold the host until the last deed is done and somebody wants it, or nobody is there to tell."""
        conn = embedded.open_driver(self.target, timeout=self.work.limit, work=self.work, patient=True)
        began = time.monotonic()
        watch = LiveWatch(Host(self.target, conn, events=True))
        watch.on_change(_report)
        while True:
            try:
                deed = self.deeds.get(timeout=GLANCE)
            except queue.Empty:
                if self._should_end(time.monotonic() - began):
                    _say({"over": True})
                    return
                continue
            if deed is None:
                break
            thread = threading.Thread(target=self._do, args=(watch, deed), daemon=True)
            if deed["deed"] not in REPEATABLE:
                self.unfinished.append(thread)
            thread.start()
        for thread in self.unfinished:
            thread.join(LAST_SECONDS)

    def _should_end(self, held: float) -> bool:
        if any(thread.is_alive() for thread in self.unfinished):
            return False
        turns = Queue(embedded.root_of(self.target))
        return turns.is_wanted() or (held > SHARE_SECONDS and turns.is_wanted(by_watchers=True))

    def _do(self, watch: LiveWatch, deed: Deed) -> None:
        outcome: dict[str, Any]
        try:
            outcome = {"value": watch.do(deed["deed"], watch.seen[deed["uuid"]], self.work, **deed["options"])}
        except KvmctlError as problem:
            outcome = {"error": problem.as_dict()}
        _say({"answer": deed["number"], **outcome})

    def _listen(self) -> None:
        """Hear what is to be done, until the command that started us has ended."""
        for line in sys.stdin:
            self.deeds.put(json.loads(line))
        self.work.cancelled.set()
        self.deeds.put(None)


def _report(vms: list[Seen]) -> None:
    _say({"seen": [vm.as_dict() for vm in vms]})


_one_at_a_time = threading.Lock()


def _say(message: dict[str, Any]) -> None:
    with _one_at_a_time:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
