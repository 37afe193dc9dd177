"""`make bench`: ratios of kvmctl to virsh and to bare Python, interleaved in one run, medians.

    python -m tests.bench [ROUNDS] [--without-distance]
    python -m tests.bench --placement    the placement planner only, which needs no lab

Measured is the program that `pip install .` makes, on a libvirtd of the lab. Only ratios mean something, since the
machine does other things too; whoever is compared takes turns with kvmctl in each round. Asserts nothing.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import placement
from tests.bench.vms import define, remove
from tests.environment import CACHE, ROOT, isolated
from tests.lab.delay import delayed
from tests.lab.hosts import Host, Lab, missing

FEWEST_ROUNDS = 15

Side = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""A command, and what is added to its environment."""

BARE_LIST = """\
import sys, click, libvirt
connection = libvirt.openReadOnly(sys.argv[1])
for domain, facts in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE):
    print(domain.name(), facts["state.state"])
connection.close()
"""
"""What `list` would be at the very least in Python."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison: two commands, and the largest ratio (first to second) that is good; None is for information."""

    title: str
    ours: Sequence[str]
    theirs: Sequence[str]
    against: str
    budget: float | None
    env: Mapping[str, str] = field(default_factory=dict)


def once(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Seconds from start to end, with stdout piped as in a script."""
    started = time.perf_counter()
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode()}")
    return taken


def measure(cases: Sequence[Case], rounds: int, env: Mapping[str, str]) -> None:
    """Run each distinct command once a round, in a new order every time, and print one line per case."""
    commands = {side for case in cases for side in sides(case)}
    times: dict[object, list[float]] = {command: [] for command in commands}
    for number in range(rounds + 1):
        for command in random.sample(sorted(commands), len(commands)):
            taken = once(command[0], {**env, **dict(command[1])})
            if number:  # the first round warms up
                times[command].append(taken)
    for case in cases:
        own, other = (statistics.median(times[side]) for side in sides(case))
        print(line(case, own, other), flush=True)


def sides(case: Case) -> tuple[Side, Side]:
    """The two commands with their environments; the other side needs none, so one measurement serves many cases."""
    return (tuple(case.ours), tuple(case.env.items())), (tuple(case.theirs), ())


def line(case: Case, own: float, other: float) -> str:
    """One line of the table, with what was allowed and whether it was kept."""
    ratio = own / other
    limit, verdict = "", ""
    if case.budget is not None:
        limit = f"<= {as_ratio(case.budget)}"
        verdict = "ok" if ratio <= case.budget else "OVER"
    measured = f"{case.title:<40} {own * 1000:>9.1f}   {case.against:<26} {other * 1000:>9.1f}"
    return f"{measured} {as_ratio(ratio):>7} {limit:>8} {verdict}".rstrip()


def as_ratio(value: float) -> str:
    """0.85 or 1/60: whichever says more."""
    return f"{value:.2f}" if value > 0.1 else f"1/{1 / value:.0f}"


def install() -> Path:
    """A virtual environment with kvmctl installed as a user would; its directory of programs."""
    place = CACHE / "bench"
    programs = place / "bin"
    if not (programs / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(ROOT)], check=True)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", str(ROOT)], check=True)
    return programs


class Bench:
    """The cases, by the programs and the address they use."""

    def __init__(self, programs: Path) -> None:
        self.kvmctl = str(programs / "kvmctl")
        self.python = str(programs / "python")

    def start_up(self) -> list[Case]:
        bare = [self.python, "-c", "import click"]
        completion = {"_KVMCTL_COMPLETE": "bash_complete", "_KVMCTL_LINE": "kvmctl "}
        against = "python -c 'import click'"
        return [
            Case(title="kvmctl --version", ours=[self.kvmctl, "--version"], theirs=bare, against=against, budget=1.5),
            Case(title="kvmctl --help", ours=[self.kvmctl, "--help"], theirs=bare, against=against, budget=1.5),
            Case(
                title="completion of command names",
                ours=[self.kvmctl],
                theirs=bare,
                against=against,
                budget=1.5,
                env=completion,
            ),
        ]

    def list(self, where: str, uri: str, *, bare: float | None, virsh: float | None) -> list[Case]:
        ours = [self.kvmctl, "--host", uri, "list"]
        plain = [self.python, "-c", BARE_LIST, uri]
        theirs = ["virsh", "--connect", uri, "list", "--all"]
        return [
            Case(title=f"list, {where}", ours=ours, theirs=plain, against="bare script", budget=bare),
            Case(title=f"list, {where}", ours=ours, theirs=theirs, against="virsh list --all", budget=virsh),
        ]

    def names(self, where: str, uri: str) -> Case:
        return Case(
            title=f"completion of VM names, {where}",
            ours=[self.kvmctl],
            theirs=[self.python, "-c", BARE_LIST, uri],
            against="bare script",
            budget=1.3,
            env={"_KVMCTL_COMPLETE": "bash_complete", "_KVMCTL_LINE": f"kvmctl --host {uri} start "},
        )


def on_a_host(bench: Bench, host: Host, rounds: int, env: Mapping[str, str], *, distance: bool) -> None:
    uri = host.outside_uri
    define(uri, 5)
    measure([*bench.list("5 VMs", uri, bare=1.3, virsh=None), bench.names("5 VMs", uri)], rounds, env)
    define(uri, 1000)
    measure(bench.list("1,000 VMs", uri, bare=None, virsh=1.0), rounds, env)
    if distance:
        with delayed(host.directory / "run/libvirt/libvirt-sock", 0.020) as port:
            far = f"qemu+tcp://127.0.0.1:{port}/system"
            measure(bench.list("1,000 VMs, 20 ms away", far, bare=None, virsh=1 / 60), rounds, env)
    remove(uri)


def main() -> int:
    placement.report()
    if "--placement" in sys.argv[1:]:
        return 0
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    rounds = max(numbers[0] if numbers else 21, FEWEST_ROUNDS)
    distance = "--without-distance" not in sys.argv[1:]
    absent = missing()
    if absent:
        print(f"the measurements need the lab, which {absent}", file=sys.stderr)
        return 1
    print(f"==> installing kvmctl from the clone into {CACHE / 'bench'}", flush=True)
    bench = Bench(install())
    minutes = 8 if distance else 1
    print(f"==> measuring, {rounds} rounds; takes about {minutes} min\n", flush=True)
    print(f"{'':<40} {'kvmctl ms':>9}   {'against':<26} {'ms':>9} {'ratio':>7} {'budget':>8}", flush=True)
    lab = Lab()
    try:
        env = isolated(os.environ, lab.directory / "bench")
        measure(bench.start_up(), rounds, env)
        on_a_host(bench, lab.hosts[0], rounds, env, distance=distance)
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
