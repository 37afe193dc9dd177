"""The root command: options before and after a command, and how every kind of error ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from kvmctl.app import App
from kvmctl.errors import KvmctlError, PartialFailure, Problem, SpecError, all_classes
from tests.conftest import InProcess, OwnProcess

HOST = "-H test:///default"


@pytest.mark.parametrize("before", ["-o json", "--output json", "--output=json", "-ojson"])
def test_shared_options_stand_before_or_after_the_command(run: InProcess, before: str) -> None:
    assert run(f"{HOST} {before} list").json == run(f"list {HOST} {before}").json


def test_what_stands_after_the_command_wins(run: InProcess) -> None:
    assert run("-H nosuch -o yaml list -H test:///default -o name").stdout == "test\n"


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_verbose_says_which_host_it_is(run: InProcess, option: str) -> None:
    assert "host: test:///default" in run(f"{HOST} {option} list").stderr
    assert run(f"{HOST} list").stderr == ""


@pytest.mark.parametrize("option", ["-q", "--quiet"])
def test_quiet_says_errors_alone(run: InProcess, option: str) -> None:
    assert run(f"{HOST} {option} stop --force test").stderr == ""
    assert run(f"{HOST} {option} stop nosuch", exit=3).stderr.startswith("error: ")


def test_debug_shows_where_an_error_came_from(run: InProcess) -> None:
    assert "Traceback" in run(f"{HOST} --debug show nosuch", exit=3).stderr
    assert "Traceback" not in run(f"{HOST} show nosuch", exit=3).stderr


def test_the_version(run: InProcess) -> None:
    from kvmctl import __version__

    assert run("--version").stdout == f"kvmctl {__version__}\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("strat web1", "No such command 'strat'. Did you mean 'start'?"),
        ("host lsit", "No such command 'lsit'. Did you mean 'list'?"),
        ("list --nosuch", "No such option"),
        ("list -o xml", "'xml' is not one of"),
        ("list --timeout 0", "--timeout"),
        ("list --timeout soon", "'soon' is not a valid float"),
        ("start", "Missing argument"),
        ("-H test:///default -H embedded show test", "works on one host"),
    ],
)
@pytest.mark.parametrize("output", ["", "-o json "])
def test_a_wrong_command_line(run: InProcess, command: str, message: str, output: str) -> None:
    result = run(output + command, exit=2)
    assert message in result.stderr
    if output:
        assert result.json["error"]["code"] == "usage"
        assert message in result.json["error"]["message"]
    else:
        assert result.stdout == ""


def test_an_error_is_told_to_people_and_to_programs(run: InProcess) -> None:
    result = run(f"{HOST} -o json show nosuch", exit=3)
    error = result.json["error"]
    assert error.keys() == {"code", "message", "hint", "exit_code", "vm"}
    assert (error["code"], error["exit_code"], error["vm"]) == ("vm-not-found", 3, "nosuch")
    assert result.stderr == f"error: nosuch: {error['message']}\nhint: {error['hint']}\n"
    assert run(f"{HOST} -o yaml show nosuch", exit=3).stdout.startswith("error:")


def test_some_of_several(run: InProcess) -> None:
    """Each failure stands in the array; that some failed is the exit code and a last line."""
    result = run(f"{HOST} -o json start test nosuch", exit=9)
    assert result.json[0]["name"] == "test"
    assert result.json[1]["name"] == "nosuch"
    assert result.json[1]["error"]["code"] == "vm-not-found"


def test_that_some_failed_is_no_second_document(capsys: pytest.CaptureFixture[str]) -> None:
    app = App()
    app.settings.output = "json"
    assert app.output.tell(PartialFailure("partial-failure", "1 of 2 failed")) == 9
    assert capsys.readouterr() == ("", "error: 1 of 2 failed\n")


def test_a_template_that_is_not_there(run: InProcess) -> None:
    error = run("-o json init nosuch", exit=3).json["error"]
    assert error["code"] == "template-not-found"
    assert "linux" in error["hint"]


def test_a_defect_is_told_as_one(run: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("kvmctl.spec.schema.json_schema", broken)
    result = run("-o json schema", exit=1)
    assert result.json["error"]["code"] == "internal"
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("--debug schema", exit=1).stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_programs_get_utf8_whatever_the_locale_is(run_process: OwnProcess, tmp_path: Path, encoding: str) -> None:
    spec = tmp_path / "web1.yaml"
    spec.write_text("name: web1\nmemory: 64MiB\ndescription: żółw\n", encoding="utf-8")
    result = run_process(["xml", "--offline", spec], env={"PYTHONIOENCODING": encoding})
    assert "<description>żółw</description>" in result.stdout


def test_an_interrupt_is_told(run_process: OwnProcess, tmp_path: Path) -> None:
    """Ctrl-C while a host does not answer."""
    import socket
    import time

    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen(1)
        silent.settimeout(100)
        process = run_process.start(["-H", f"qemu+unix:///system?socket={path}", "-o", "json", "list"])
        connection, _ = silent.accept()
        with connection:
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 130
    assert json.loads(stdout)["error"]["code"] == "interrupted"
    assert b"error: interrupted" in stderr
    assert b"Traceback" not in stderr


@pytest.mark.parametrize("cls", all_classes())
def test_an_error_has_a_declared_code(cls: type[KvmctlError]) -> None:
    with pytest.raises(ValueError, match="not declared"):
        cls("nosuch", "message")
    for code in cls.codes:
        assert cls(code, "message").as_dict()["exit_code"] == cls.exit_code


def test_a_problem_shows_its_place() -> None:
    problem = Problem(file="a.yaml", line=3, column=5, path="cpu", message="is wrong", hint="do so", text="abc def")
    assert list(problem.lines()) == [
        "a.yaml:3:5: cpu: is wrong",
        "    3 | abc def",
        "      |     ^",
        "  hint: do so",
    ]
    assert SpecError("spec-invalid", "x", problems=[problem]).as_dict()["where"] == [problem.as_dict()]
