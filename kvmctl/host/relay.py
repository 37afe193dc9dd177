"""Watching the embedded host without keeping it: another process holds it, and lets others in whenever they want.

The driver cannot be closed in the process that opened it. So a process of its own, `kvmctl/runner.py`, opens it, says
what it sees and does what it is asked, one JSON object per line. When another kvmctl wants its turn the runner ends,
and the next one is started, which waits until the host is free. Nothing is missed, for each begins by saying all it
sees. A runner lives no longer than the pipe it reads.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kvmctl.errors import HostUnreachable, KvmctlError, all_classes
from kvmctl.host import states
from kvmctl.host.watch import GLANCE, Seen, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work

QUEUE_SECONDS = 60.0
"""How long the first runner waits for its turn; those after it wait as long as the command."""
FOR_EVER = 1e9
PROGRAM = f"import sys; sys.path[:] = {sys.path!r}; from kvmctl.runner import main; main()"
"""Modules are found where we found ours."""
Message = dict[str, Any]


class RelayWatch(Watch):
    """A watch that others tell what they see."""

    def __init__(self, target: Target, timeout: float | None) -> None:
        super().__init__(target.name)
        self._target = target
        self._limit = timeout or QUEUE_SECONDS
        self._numbers = itertools.count(1)
        self._unanswered: dict[int, Message] = {}
        self._answers: dict[int, Message] = {}
        self._runner: subprocess.Popen[str] | None = None
        self._stopping = False
        self._ready = False

    def start(self) -> None:
        """Have the first runner started; its first report is there when this returns."""
        threading.Thread(target=self._relay, name="relay", daemon=True).start()
        with self.changed:
            while not self._ready:
                if self.failure is not None:
                    raise self.failure
                self.changed.wait(GLANCE)

    def stop(self) -> None:
        """Let the runner end."""
        with self.changed:
            self._stopping = True
            runner = self._runner
        if runner is not None:
            _hang_up(runner)

    def do(self, deed: str, vm: Seen, work: Work, **options: Any) -> Any:
        with self.changed:
            number = next(self._numbers)
            self._unanswered[number] = {"number": number, "deed": deed, "uuid": vm.uuid, "options": options}
            self._send(self._unanswered[number])
            while number not in self._answers:
                self._check(work, vm.name)
                self.changed.wait(GLANCE)
            answer = self._answers.pop(number)
        if "error" in answer:
            raise error_of(answer["error"])
        return answer["value"]

    def _relay(self) -> None:
        """Start one runner after the other, until the last one says that there can be no more."""
        limit = self._limit
        try:
            while not self._stopping:
                gave_way, first = False, True
                for message in self._messages(limit):
                    gave_way = message.get("over", False)
                    self._take(message, first=first)
                    first = False
                if not gave_way and not self._stopping:
                    self.fail(HostUnreachable("host-unreachable", f"{self.host}: the process that held it was ended"))
                    return
                limit = FOR_EVER
        except (OSError, ValueError) as problem:
            self.fail(HostUnreachable("host-unreachable", f"{self.host}: {problem}"))

    def _messages(self, limit: float) -> Iterator[Message]:
        """What one runner says, to its end."""
        runner = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, self._target.name, self._target.uri, str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for us: the runner ends when we hang up, and never in the middle of a deed.
            start_new_session=True,
        )
        with runner:
            with self.changed:
                self._runner = runner
                # What an earlier runner did not come to, the first line says again.
                _write(runner, {"deeds": list(self._unanswered.values())})
                if self._stopping:
                    _hang_up(runner)
            assert runner.stdout is not None
            yield from map(json.loads, runner.stdout)
            with self.changed:
                self._runner = None

    def _take(self, message: Message, *, first: bool) -> None:
        if "failure" in message:
            self.fail(error_of(message["failure"]))
        with self.changed:
            if "seen" in message:
                if first:
                    # What is not among all that there is was deleted while nobody watched.
                    for vm in self.seen.values():
                        vm.state, vm.reason, vm.gone = states.STOPPED, "", True
                self.seen.update((vm["uuid"], Seen(**vm)) for vm in message["seen"])
                self._ready = True
            elif "answer" in message:
                self._unanswered.pop(message["answer"], None)
                self._answers[message["answer"]] = message
            self.changed.notify_all()

    def _send(self, message: Message) -> None:
        """Tell the runner, if there is one just now; the next one is told anyway."""
        if self._runner is not None:
            _write(self._runner, message)


def error_of(shape: Message) -> KvmctlError:
    """The error that a runner told as `as_dict` shows it."""
    kind = next((cls for cls in all_classes() if shape["code"] in cls.codes), KvmctlError)
    return kind(shape["code"], shape["message"], hint=shape["hint"], vm=shape.get("vm", ""))


def _write(runner: subprocess.Popen[str], message: Message) -> None:
    assert runner.stdin is not None
    # If it has just ended, the next one will be told.
    with suppress(BrokenPipeError, ValueError):
        runner.stdin.write(json.dumps(message) + "\n")
        runner.stdin.flush()


def _hang_up(runner: subprocess.Popen[str]) -> None:
    assert runner.stdin is not None
    with suppress(BrokenPipeError):
        runner.stdin.close()
