"""`kvmctl migrate`: what its options mean, and what it says while a move goes on and when it is over.

The moves here are played, since libvirt's test driver cannot be moved from one process to another; real ones are in
tests/lab.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

import pytest

from kvmctl.app import App, Settings
from kvmctl.cli import root
from kvmctl.commands._moves import BEAT, Teller, details, lasting, phase_of
from kvmctl.completion import answer
from kvmctl.errors import Conflict, HostUnreachable, Impossible, Interrupted, KvmctlError, NotFound, TimedOut
from kvmctl.host.migration import migrate
from kvmctl.output import Output
from kvmctl.plan.migration.sample import Sample
from kvmctl.plan.migration.told import Told
from kvmctl.plan.migration.wish import Wish
from tests.commands.conftest import HOST, Vms
from tests.conftest import InProcess
from tests.person import Person

THERE = "qemu+ssh://root@host2/system"
SAMPLE = Sample(
    phase="precopy",
    elapsed_ms=2000,
    total=512 << 20,
    remaining=128 << 20,
    rate=114 << 20,
    dirty_rate=350 << 20,
    iteration=2,
    downtime_ms=24,
)
FORECAST = {"converges": True, "total_ms": 8100, "downtime_ms": 30, "bytes": 800 << 20, "means": ["post-copy"]}
RESULT = {
    "uuid": "4dea22b3-1d52-d8f3-2516-782e98ab3fa0",
    "state": "running",
    "total_ms": 7460,
    "downtime_ms": 24,
    "bytes": 760 << 20,
    "iterations": 3,
    "means": ["post-copy is permitted: it costs nothing until it is needed"],
    "decisions": ["writes faster than the link: post-copy after this pass"],
    "notes": [],
    "forecast": FORECAST,
}
FINDINGS = [
    {"code": "disk-shared", "verdict": "ok", "subject": "vda", "what": "is the same file on both hosts", "hint": ""},
    {
        "code": "network-missing",
        "verdict": "blocker",
        "subject": "lan",
        "what": "host2 has no network of that name, and the VM has a card on it with the address 52:54:00:12:34:56",
        "hint": "kvmctl migrate web1 host2 --map network:lan=OTHER",
    },
    {"code": "plain-text", "verdict": "warning", "subject": "", "what": "memory is sent as it is", "hint": "--tls"},
]

Play = Callable[..., dict[str, Any]]


class Engine:
    """What `kvmctl.host.migration` would do: by default every move succeeds, telling a little of everything."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, Wish]] = []
        self.plays: dict[str, Play] = {}
        self.findings = FINDINGS
        self.at_once = 0
        self.most_at_once = 0

    @property
    def wish(self) -> Wish:
        return self.asked[-1][3]

    def migrate(self, source: Any, target: Any, name: str, wish: Wish, *, hear: Any, work: Any, timeout: Any) -> Any:
        self.asked.append((source.name, target.name, name, wish))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            play: Play = self.plays.get(name, self.move)
            return play(source, target, name, hear=hear, work=work)
        finally:
            self.at_once -= 1

    def move(self, source: Any, target: Any, name: str, *, hear: Any, work: Any) -> dict[str, Any]:
        hear(Told(kind="step", vm=name, what="measuring"))
        hear(Told(kind="progress", vm=name, sample=SAMPLE, ends_in_ms=5200))
        hear(Told(kind="decision", vm=name, what=RESULT["decisions"][0], sample=SAMPLE))  # type: ignore[index]
        return {"name": name, "host": target.name, "source": source.name, **RESULT}

    def check(self, source: Any, target: Any, name: str, wish: Wish, *, work: Any, timeout: Any) -> dict[str, Any]:
        self.asked.append((source.name, target.name, name, wish))
        if name == "nosuch":
            raise NotFound("vm-not-found", f"{source.name} has no VM of that name", vm=name)
        verdicts = {finding["verdict"] for finding in self.findings}
        return {
            "name": name,
            "uuid": RESULT["uuid"],
            "host": target.name,
            "source": source.name,
            "verdict": "blocker" if "blocker" in verdicts else "ok",
            "findings": self.findings,
            "means": RESULT["means"],
            "forecast": FORECAST,
        }


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    played = Engine()
    monkeypatch.setenv("KVMCTL_HOST", HOST)
    for name in ("migrate", "check"):
        real, play = getattr(migrate, name), getattr(played, name)
        assert inspect.signature(real).parameters.keys() == inspect.signature(play).parameters.keys()
        monkeypatch.setattr(migrate, name, play)
    return played


# -- what is asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {}),
        ("--max-downtime 100ms", {"max_downtime_ms": 100}),
        ("--max-downtime 0.05s", {"max_downtime_ms": 50}),
        ("--deadline 90", {"deadline": 90.0}),
        ("--deadline 1.5min --on-deadline postcopy", {"deadline": 90.0, "on_deadline": "postcopy"}),
        ("--deadline 2h --on-deadline pause", {"deadline": 7200.0, "on_deadline": "pause"}),
        ("--postcopy", {"postcopy": True}),
        ("--no-postcopy", {"postcopy": False}),
        ("--xbzrle 64MiB", {"xbzrle_cache": 64 << 20}),
        ("--xbzrle off", {"xbzrle_cache": 0}),
        ("--auto-converge 30+20", {"auto_converge": (30, 20)}),
        ("--auto-converge 40%", {"auto_converge": (40, 10)}),
        ("--auto-converge off", {"auto_converge": (0, 0)}),
        ("--connections 4", {"connections": 4}),
        ("--bandwidth 100MiB", {"bandwidth": 100 << 20}),
        ("--p2p", {"peer_to_peer": True}),
        ("--managed", {"peer_to_peer": False}),
        ("--copy-disks", {"copy_disks": True}),
        ("--map network:lan=lan2 --map /a=/b=c", {"maps": {"network:lan": "lan2", "/a": "/b=c"}}),
        ("--tls", {"tls": True}),
        ("--insecure", {"insecure": True}),
        ("--unsafe", {"unsafe": True}),
    ],
)
def test_the_options_are_the_wish(options: str, expected: dict[str, Any], run: InProcess, engine: Engine) -> None:
    run(f"migrate web1 {THERE} {options}")
    assert engine.asked == [(HOST, THERE, "web1", Wish(**expected))]
    run(f"migrate {options} web1 {THERE} --check", exit=5)
    assert engine.wish == Wish(**expected)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "VMs are needed, and the host they go to"),
        ("web1", "VMs are needed, and the host they go to"),
        ("web1 --check", "VMs are needed, and the host they go to"),
        ("web1 there --check --status", "--check and --status cannot be given together"),
        ("--cancel", "--cancel needs the VMs"),
        ("web1 --cancel --tls", "--cancel takes no other options"),
        ("--status --deadline 5", "--status takes no other options"),
        ("--recover --map a=b", "--recover takes no other options"),
        ("web1 there --max-downtime 300", "--max-downtime: '300' is not a time"),
        ("web1 there --max-downtime 1h", "--max-downtime goes from 1ms to 2000s"),
        ("web1 there --max-downtime 0ms", "--max-downtime goes from 1ms to 2000s"),
        ("web1 there --deadline soon", "--deadline: 'soon' is not a time"),
        ("web1 there --deadline 0", "--deadline: a deadline of no time"),
        ("web1 there --on-deadline pause", "--on-deadline says what to do at --deadline"),
        ("web1 there --on-deadline wait", "'wait' is not one of"),
        ("web1 there --deadline 5 --on-deadline postcopy --no-postcopy", "contradict each other"),
        ("web1 there --xbzrle much", "--xbzrle: 'much' is not a size"),
        ("web1 there --auto-converge 0", "--auto-converge: '0' is not a percentage"),
        ("web1 there --auto-converge 100", "--auto-converge: '100' is not a percentage"),
        ("web1 there --connections 0", "--connections"),
        ("web1 there --bandwidth 100", "--bandwidth: '100' has no unit"),
        ("web1 there --bandwidth 1KiB", "less than 1MiB a second"),
        ("web1 there --map lan", "--map lan is not OLD=NEW"),
        ("web1 there --map lan=", "--map lan= is not OLD=NEW"),
        ("web1 there --map /a=/b --map /a=/c", "--map names /a twice"),
        ("web1 there --tls --insecure", "contradict each other"),
        ("web1 'x:y z'", "not a libvirt URI"),
    ],
)
def test_what_is_written_wrongly(line: str, said: str, run: InProcess, engine: Engine) -> None:
    assert said in run(f"migrate {line}", exit=2).stderr
    assert engine.asked == []


def test_the_host_is_an_alias_or_a_uri(
    run: InProcess, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("hosts: {host2: 'qemu+tcp://host2/system'}")
    monkeypatch.setenv("KVMCTL_CONFIG", str(config))
    done = run("migrate web1 host2 -o json")
    assert engine.asked[-1][:2] == (HOST, "host2")
    assert "host2: plain TCP is not encrypted" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["host"] == "host2"
    error = run("migrate web1 host3 -o json", exit=3).json["error"]
    assert (error["code"], error["hint"]) == ("host-not-found", "did you mean 'host2'?")
    config.write_text("hosts: {host2: 'qemu+ext:///system?command=/bin/evil'}")
    assert run("migrate web1 host2 -o json", exit=5).json["error"]["code"] == "unsafe-uri"


# -- what is told -------------------------------------------------------------------------------------------------


def test_a_move(run: InProcess, engine: Engine) -> None:
    done = run(f"migrate web1 {THERE}")
    assert done.stdout == ""
    said_before = " (forecast: 8.1 s, a pause of 30 ms, 800MiB, post-copy)"
    assert done.stderr.splitlines() == [
        "web1: measuring",
        "web1: writes faster than the link: post-copy after this pass",
        f"web1: moved to {THERE} in 7.5 s, with a pause of 24 ms, 760MiB in 3 passes{said_before}",
    ]
    assert run(f"migrate web1 {THERE} --quiet").stderr == ""
    assert run(f"migrate web1 {THERE} -o name").stdout == "web1\n"


def test_json_lines(run: InProcess, engine: Engine) -> None:
    lines = [json.loads(line) for line in run(f"migrate web1 {THERE} -o json").stdout.splitlines()]
    assert [line.get("event") for line in lines] == ["step", "progress", "decision", None]
    assert {line["vm"] for line in lines[:-1]} == {"web1"}
    step, progress, decision, result = lines
    assert step["what"] == "measuring"
    assert time.strptime(step["time"][:19], "%Y-%m-%dT%H:%M:%S")
    assert step["time"].endswith("Z")
    assert (progress["phase"], progress["remaining"], progress["ends_in_ms"]) == ("precopy", 128 << 20, 5200)
    assert decision["what"] == RESULT["decisions"][0]  # type: ignore[index]
    assert result == {"name": "web1", "host": THERE, "source": HOST, **RESULT}


def test_yaml_has_the_result_alone(run: InProcess, engine: Engine) -> None:
    import yaml

    assert yaml.safe_load(run(f"migrate web1 {THERE} -o yaml").stdout)["total_ms"] == 7460


def test_a_stopped_vm(run: InProcess, engine: Engine) -> None:
    still = {**RESULT, "state": "stopped", "total_ms": 310, "downtime_ms": 0, "bytes": 0, "iterations": 0}
    engine.plays["web1"] = lambda source, target, name, **_: {
        "name": name,
        "host": target.name,
        "source": source.name,
        **still,
        "notes": ["its NVRAM stays here"],
        "forecast": None,
    }
    assert run(f"migrate web1 {THERE}").stderr.splitlines() == [
        f"web1: moved to {THERE} in 310 ms (stopped)",
        "  its NVRAM stays here",
    ]


def test_several_move_one_after_the_other(run: InProcess, engine: Engine) -> None:
    def lost(source: Any, target: Any, name: str, **_: Any) -> dict[str, Any]:
        raise HostUnreachable("link-lost", "nothing has reached host2 for 25 s", vm=name)

    engine.plays["web2"] = lost
    done = run(f"migrate web1 web2 web1 web3 {THERE} -o json", exit=9)
    assert [name for _, _, name, _ in engine.asked] == ["web1", "web2", "web3"]
    assert engine.most_at_once == 1
    last = json.loads(done.stdout.splitlines()[-1])
    assert [item["name"] for item in last] == ["web1", "web2", "web3"]
    assert last[1]["error"]["code"] == "link-lost"
    assert "error: web2: nothing has reached host2 for 25 s" in done.stderr
    assert "error: 1 of 3 failed" in done.stderr
    assert all("event" in json.loads(line) for line in done.stdout.splitlines()[:-1])


def test_what_stands_in_the_way_is_told_at_once(run: InProcess, engine: Engine) -> None:
    reasons = [
        {"code": "network-missing", "message": "host2 has no network 'lan'", "hint": "--map network:lan=OTHER"},
        {"code": "disk-not-shared", "message": "vda is not shared", "hint": "--copy-disks"},
    ]

    def blocked(source: Any, target: Any, name: str, **_: Any) -> dict[str, Any]:
        raise Impossible("migration-blocked", "cannot be migrated to host2", reasons=reasons, vm=name)

    engine.plays["web1"] = blocked
    done = run(f"migrate web1 {THERE} -o json", exit=5)
    [line] = done.stdout.splitlines()
    error = json.loads(line)["error"]
    assert (error["code"], error["exit_code"]) == ("migration-blocked", 5)
    assert [reason["code"] for reason in error["reasons"]] == ["network-missing", "disk-not-shared"]
    for text in (
        "host2 has no network 'lan'",
        "hint: --map network:lan=OTHER",
        "vda is not shared",
        "hint: --copy-disks",
    ):
        assert text in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KvmctlError("migration-failed", "did not move, and runs where it was", vm="web1"), 1),
        (Conflict("migration-under-way", "is being migrated by process 4711", vm="web1"), 6),
        (TimedOut("deadline-missed", "not there after 30 s, and runs here", vm="web1"), 8),
        (Interrupted("interrupted", "called off; it runs here", vm="web1"), 130),
    ],
)
def test_the_exit_code_is_that_of_the_error(error: KvmctlError, code: int, run: InProcess, engine: Engine) -> None:
    def fail(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    engine.plays["web1"] = fail
    done = run(f"migrate web1 {THERE} -o json", exit=code)
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == error.code


def test_a_time_limit_is_handed_on(run: InProcess, engine: Engine) -> None:
    limits: list[float] = []

    def note(source: Any, target: Any, name: str, *, hear: Any, work: Any) -> dict[str, Any]:
        limits.append(work.limit)
        return engine.move(source, target, name, hear=hear, work=work)

    engine.plays["web1"] = note
    run(f"migrate web1 {THERE}")
    run(f"migrate web1 {THERE} --timeout 7")
    assert limits[0] > 86400
    assert limits[1] == 7


# -- while it goes on ---------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(sample: Sample = SAMPLE, ends_in_ms: int | None = 5200) -> Told:
    return Told(kind="progress", vm="web1", sample=sample, ends_in_ms=ends_in_ms)


def output(form: str = "table") -> Output:
    settings = Settings()
    settings.output = form
    return Output(settings)


def test_without_a_terminal_lines_come_at_a_slow_beat(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Teller(output(), clock).story("web1") as hear:
        for _ in range(int(BEAT * 25 / 10)):
            clock.now += 1
            hear(told())
    said = capsys.readouterr()
    line = "web1: pass 2: 114MiB/s, guest writes 350MiB/s, 128MiB to go, over in 5.2 s, no pause yet"
    assert said.err.splitlines() == [line] * 2
    assert said.out == ""


def test_events_come_once_a_second_and_with_every_pass(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Teller(output("json"), clock).story("web1") as hear:
        for iteration in (1, 1, 1, 2, 2):
            clock.now += 0.25
            hear(told(Sample(phase="precopy", iteration=iteration)))
        clock.now += 1
        hear(told(Sample(phase="precopy", iteration=2), None))
    said = capsys.readouterr()
    text = said.out.replace("\n}\n", "\n}\0").split("\0")
    assert [json.loads(part)["iteration"] for part in text if part] == [1, 2, 2]
    assert said.err == "", "a program is told by events"


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_move_goes_on_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("json", "table"):
        monkeypatch.setattr(sys, "stdout", Broken())
        monkeypatch.setattr(sys, "stderr", Broken())
        with Teller(output(form)).story("web1") as hear:
            hear(Told(kind="step", vm="web1", what="measuring"))
            hear(told())
            hear(Told(kind="decision", vm="web1", what="post-copy"))


@pytest.mark.parametrize(
    ("sample", "ends", "expected"),
    [
        (Sample(phase="preparing"), None, "preparing: 0B to go, no pause yet"),
        (
            Sample(phase="disks", disk_remaining=3 << 30, rate=1 << 20),
            3_000_000,
            "copying disks: 1MiB/s, 3GiB to go, over in 50 min 0 s, no pause yet",
        ),
        (
            Sample(phase="precopy", iteration=1, remaining=1 << 20),
            400,
            "first pass: 1MiB to go, over in 400 ms, no pause yet",
        ),
        (
            Sample(phase="precopy", iteration=9, throttle=40),
            None,
            "pass 9: guest slowed by 40%, 0B to go, no pause yet",
        ),
        (Sample(phase="postcopy", downtime_ms=9999, dirty_rate=7), None, "runs there, the rest follows: 0B to go"),
        (Sample(phase="postcopy-paused"), None, "waits for the link: 0B to go"),
        (Sample(phase="finishing", throttle=20), 3, "switching over: 0B to go, over in 3 ms"),
    ],
)
def test_words(sample: Sample, ends: int | None, expected: str) -> None:
    assert f"{phase_of(sample)}: {details(sample, ends)}" == expected


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(0, "0 ms"), (999, "999 ms"), (7460, "7.5 s"), (125_000, "2 min 5 s"), (7_500_000, "2 h 5 min")],
)
def test_times_in_words(milliseconds: int, expected: str) -> None:
    assert lasting(milliseconds) == expected


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


@contextmanager
def watching() -> Iterator[Person]:
    """A person at a terminal that is our stderr. No fixture: pytest sets stderr anew for each part of a test."""
    with Person() as person, redirect_stderr(os.fdopen(os.dup(person.terminal), "w", buffering=1)) as terminal:
        yield person
        with suppress(OSError):
            terminal.close()


def test_a_bar_on_a_terminal() -> None:
    out = output()
    teller = Teller(out, Clock())
    with watching() as person:
        with out.bars(teller.bars), teller.story("web1") as hear:
            person.sees("looking at both hosts")
            hear(Told(kind="step", vm="web1", what="measuring"))
            person.sees("measuring")
            hear(told())
            person.sees("pass 2  75%")
            person.sees("114MiB/s, guest writes 350MiB/s, 128MiB to go, over in 5.2 s, no pause yet")
            hear(Told(kind="decision", vm="web1", what="post-copy after this pass"))
            person.sees("web1: post-copy after this pass")
        person.sees("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize(("name", "value", "bar"), [("NO_COLOR", "1", True), ("TERM", "dumb", False)])
def test_a_terminal_without_colours(name: str, value: str, bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    out = output()
    clock = Clock()
    teller = Teller(out, clock)
    with watching() as person:
        with out.bars(teller.bars), teller.story("web1") as hear:
            clock.now += 60
            hear(told())
            person.sees("114MiB/s, guest writes")
        seen = person.look(0.5)
    assert b"\x1b[3" not in seen, "no colours"
    assert (b"\x1b[?25h" in seen) is bar


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_bars_end_with_their_terminal() -> None:
    out = output()
    teller = Teller(out)
    with watching() as person, out.bars(teller.bars), teller.story("web1") as hear:
        hear(told())
        person.sees("pass 2")
        os.close(person.keyboard)  # the window is closed
        person.keyboard = -1
        hear(Told(kind="decision", vm="web1", what="post-copy after this pass"))


def test_bars_are_drawn_while_others_speak() -> None:
    """The terminal's lock and ours are never waited for the other way round."""
    out = output()
    teller = Teller(out)
    over = threading.Event()

    def speak() -> None:
        with teller.story("web2") as hear:
            for _ in range(100):
                hear(Told(kind="decision", vm="web2", what="x"))
        over.set()

    with watching() as person, out.bars(teller.bars), teller.story("web1") as hear:
        threading.Thread(target=speak, daemon=True).start()
        while not over.wait(0.001):
            hear(told())
            person.look(0.01)


def test_programs_at_a_terminal_see_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events and bars would be drawn over each other."""
    people, program = output(), output("json")
    people.one_line()
    program.one_line()
    with watching():
        assert people.moving
        assert program.moving
        monkeypatch.setattr(sys, "stdout", sys.stderr)
        assert people.moving
        assert not program.moving


# -- the check ----------------------------------------------------------------------------------------------------


def test_a_check_for_people(run: InProcess, engine: Engine) -> None:
    done = run(f"migrate web1 {THERE} --check", exit=5)
    assert done.stdout.splitlines() == [
        f"web1 cannot move from {HOST} to {THERE}: 1 blocker, 1 warning",
        "  blocker  network-missing  lan: host2 has no network of that name, and the VM",
        "                            has a card on it with the address 52:54:00:12:34:56",
        "                            -> kvmctl migrate web1 host2 --map network:lan=OTHER",
        "  warning  plain-text       memory is sent as it is",
        "                            -> --tls",
        "  ok       1 more looked at and right; -o wide shows them",
        "  forecast: 8.1 s, a pause of 30 ms, 800MiB, post-copy",
        "  post-copy is permitted: it costs nothing until it is needed",
    ]
    assert done.stderr == ""
    wide = run(f"migrate web1 {THERE} --check -o wide", exit=5).stdout
    assert "  ok       disk-shared      vda: is the same file on both hosts\n" in wide


def test_a_check_that_finds_no_blocker(run: InProcess, engine: Engine) -> None:
    engine.findings = [finding for finding in FINDINGS if finding["verdict"] != "blocker"]
    assert f"web1 can move from {HOST} to {THERE}: 1 warning\n" in run(f"migrate web1 {THERE} --check").stdout
    engine.findings = []
    assert run(f"migrate web1 {THERE} --check").stdout.startswith(f"web1 can move from {HOST} to {THERE}\n  forecast")


def test_a_check_for_programs(run: InProcess, engine: Engine) -> None:
    found = run(f"migrate web1 {THERE} --check -o json", exit=5).json
    assert (found["name"], found["host"], found["source"], found["verdict"]) == ("web1", THERE, HOST, "blocker")
    assert [finding["code"] for finding in found["findings"]] == ["disk-shared", "network-missing", "plain-text"]
    assert found["forecast"] == FORECAST
    both = run(f"migrate web1 web2 {THERE} --check -o json", exit=5).json
    assert [item["name"] for item in both] == ["web1", "web2"]


def test_a_check_of_several(run: InProcess, engine: Engine) -> None:
    engine.findings = FINDINGS[:1]
    done = run(f"migrate web1 nosuch web2 {THERE} --check", exit=9)
    assert done.stdout.count(" can move from ") == 2
    assert "error: nosuch: " in done.stderr
    assert run(f"migrate web1 web2 {THERE} --check -o name").stdout == "web1\nweb2\n"
    engine.findings = FINDINGS
    assert run(f"migrate web1 web2 {THERE} --check -o name", exit=5).stdout == ""


def test_a_forecast_that_it_would_not_arrive(run: InProcess, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORECAST, "total_ms", None)
    assert "  forecast: it would not arrive\n" in run(f"migrate web1 {THERE} --check", exit=5).stdout


# -- from another terminal ----------------------------------------------------------------------------------------

UNDER_WAY = {
    "name": "web1",
    "uuid": RESULT["uuid"],
    "state": "running",
    "host": "host1",
    "target": "host2",
    "phase": "precopy",
    "started": "2026-11-23T12:00:00Z",
    "process": 4711,
}


def answered(outcome: str | None, host: str = "host1", *notes: str) -> Callable[..., dict[str, Any]]:
    def answer(source: Any, name: str, work: Any) -> dict[str, Any]:
        item = {"name": name, "uuid": RESULT["uuid"], "state": "running", "host": host, "source": "host1"}
        return {**item, "outcome": outcome, "notes": list(notes)}

    return answer


def test_status(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def status(source: Any, names: Any) -> list[dict[str, Any]]:
        asked.append((source.name, list(names)))
        return [UNDER_WAY]

    monkeypatch.setattr("kvmctl.host.migration.jobs.status", status)
    assert run("migrate --status").stdout.splitlines() == [
        "NAME  STATE    HOST   TARGET  PHASE",
        "web1  running  host1  host2   precopy",
    ]
    assert run("migrate --status web1 web2 -o json").json == [UNDER_WAY]
    assert "4711" in run("migrate --status -o wide").stdout
    assert asked == [(HOST, []), (HOST, ["web1", "web2"]), (HOST, [])]


def test_nothing_is_under_way(run: InProcess, vms: Vms) -> None:
    assert run("migrate --status -o json").json == []
    done = run("migrate --recover -o json")
    assert (done.json, done.stderr) == ([], "no move is unfinished\n")
    assert run("migrate --cancel test -o json", exit=5).json["error"]["code"] == "not-migrating"
    assert run("migrate --cancel nosuch -o json", exit=3).json["error"]["code"] == "vm-not-found"
    assert run("migrate --recover test -o json").json["outcome"] is None


def test_cancel(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmctl.host.migration.jobs.cancel", answered("stayed"))
    assert run("migrate --cancel web1").stderr == "web1: called off; now running on host1\n"
    assert [item["name"] for item in run("migrate --cancel web1 web2 -o json").json] == ["web1", "web2"]
    monkeypatch.setattr("kvmctl.host.migration.jobs.cancel", answered("moved", "host2"))
    said = "web1: could not be called off any more; now running on host2\n"
    assert run("migrate --cancel web1").stderr == said


def test_recover(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmctl.host.migration.jobs.recover", answered("stayed", "host1", "the target was cleaned"))
    said = "web1: the move is settled: it stayed; now running on host1\n  the target was cleaned\n"
    assert run("migrate --recover web1").stderr == said
    monkeypatch.setattr("kvmctl.host.migration.jobs.unfinished", lambda: ["web2", "web3"])
    assert [item["name"] for item in run("migrate --recover -o json").json] == ["web2", "web3"]
    monkeypatch.setattr("kvmctl.host.migration.jobs.recover", answered(None))
    assert run("migrate --recover web1").stderr == "web1: no move was unfinished; now running on host1\n"


# -- completion ---------------------------------------------------------------------------------------------------


def test_the_host_is_completed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("hosts: {host2: 'qemu:///system', other: 'qemu:///session'}")
    monkeypatch.setenv("KVMCTL_CONFIG", str(config))

    def complete(line: str) -> list[str]:
        request = {"_KVMCTL_COMPLETE": "zsh_complete", "_KVMCTL_LINE": f"kvmctl -H {HOST} migrate {line}"}
        assert answer(root, App(), request) == 0
        return [found.split("\t")[1] for found in capsys.readouterr().out.splitlines()]

    assert complete("") == ["test"]
    assert complete("web1 ") == ["host2", "other", "test"]
    assert complete("test ho") == ["host2"]
    assert complete("test ") == ["host2", "other"]
    assert complete("--cancel test ") == []
    assert complete("test --on-deadline p") == ["postcopy", "pause"]
