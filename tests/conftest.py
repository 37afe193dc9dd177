"""What every test has: an isolated environment, and `run` and `run_process` to call kvmctl in it.

Nothing here needs root, libvirtd or a network; the fixtures of real hosts are in `lab/conftest.py`.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.environment import ROOT, isolated
from tests.results import Command, Result, words

TOGETHER = ("tests/metal/", "tests/lab/test_migration_faults.py")
"""Tests that one process runs, one after the other: what they share is dear."""

STRICT = os.geteuid() == 0 or os.environ.get("CI") == "true"
"""A skipped test is a failure: everything there is must be shown to work."""


def pytest_configure() -> None:
    # Whoever runs this in the background, or with nohup, has it ignore signals; what tests start would ignore them too.
    # A handler of our own is not handed down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes share the tests, one has the metal machine, and one the matrix of faults; first of all.

    The matrix is tried on several pairs of hosts at once anyway. By name, since xdist 3.8 does not find the groups that
    it has marks for under pytest 9.2, and every process would then do all of it.
    """
    from xdist.scheduler import LoadScopeScheduling

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = lambda nodeid: next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)
    return scheduler


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _not_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _not_skipped(report)
    return report


def _not_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if STRICT and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} (as root or with CI=true this is a failure)"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which nothing of the user's is seen or touched; tests change it with monkeypatch.setenv."""
    wanted = isolated(os.environ, tmp_path / "home")
    for name in os.environ.keys() - wanted.keys():
        if name != "PYTEST_CURRENT_TEST":
            monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    return wanted


class InProcess:
    """`run("list -o json")`: kvmctl in this very process, with a fresh App; fast."""

    def __call__(self, command: Command, *, exit: int | None = 0, input: str | bytes = "") -> Result:
        from kvmctl.app import App
        from kvmctl.cli import run

        arguments = words(command)
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        data = input.encode() if isinstance(input, str) else input
        stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
        with patch.object(sys, "stdin", stdin), redirect_stdout(stdout), redirect_stderr(stderr):
            code = run(App(), arguments)
        return Result(arguments, _text(stdout), _text(stderr), code).expect(exit)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode("utf-8", errors="surrogateescape")


class OwnProcess:
    """`run_process(["list"])`: kvmctl in a process of its own, as a person calls it."""

    python = sys.executable

    def __call__(
        self,
        command: Command,
        *,
        exit: int | None = 0,
        input: str | bytes = "",
        env: Mapping[str, str] | None = None,
        timeout: float = 150,
    ) -> Result:
        arguments = words(command)
        process = self.start(command, env=env)
        data = input.encode() if isinstance(input, str) else input
        try:
            stdout, stderr = process.communicate(data, timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return Result(arguments, stdout.decode(), stderr.decode(), process.returncode).expect(exit)

    def start(
        self, command: Command, *, env: Mapping[str, str] | None = None, **attributes: Any
    ) -> subprocess.Popen[bytes]:
        """The running process, for tests that send it signals or close its pipes."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **attributes}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        return subprocess.Popen([self.python, "-m", "kvmctl", *words(command)], env=environment, **pipes)


@pytest.fixture
def run() -> InProcess:
    return InProcess()


@pytest.fixture
def run_process() -> OwnProcess:
    return OwnProcess()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen", action="store_true", help="rewrite golden files; read the difference before you commit")


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--regen"))
