"""Completion: the candidates for a line, and what bash, zsh and fish make of TAB on a real terminal."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvmctl.app import App
from kvmctl.cli import root
from kvmctl.commands import REGISTRY
from kvmctl.commands.host import REGISTRY as HOST_REGISTRY
from kvmctl.completion import SCRIPTS, answer
from tests.conftest import OwnProcess
from tests.host.pci import nodedev
from tests.terminal import Shell

Complete = Callable[..., list[str]]

VMS = """<node>
  <domain type="test"><name>web1</name><memory>1024</memory><os><type>hvm</type></os></domain>
  <domain type="test"><name>web2</name><memory>1024</memory><os><type>hvm</type></os></domain>
  <domain type="test"><name>my db</name><memory>1024</memory><os><type>hvm</type></os></domain>
</node>
"""


@pytest.fixture
def vms(tmp_path: Path) -> str:
    """The URI of a host with three VMs."""
    path = tmp_path / "vms.xml"
    path.write_text(VMS)
    return f"test://{path}"


@pytest.fixture
def complete(capsys: pytest.CaptureFixture[str]) -> Complete:
    """Candidates for a line up to the cursor, as the script of a shell is given them."""

    def ask(line: str, shell: str = "zsh", breaks: str = "", code: int = 0) -> list[str]:
        request = {"_KVMCTL_COMPLETE": f"{shell}_complete", "_KVMCTL_LINE": line, "_KVMCTL_BREAKS": breaks}
        assert answer(root, App(), request) == code
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.splitlines()

    return ask


def values(lines: list[str]) -> list[str]:
    return [line.split("\t")[1] for line in lines]


def test_command_names_come_with_their_summaries_in_the_order_of_the_help(complete: Complete) -> None:
    assert complete("kvmctl ") == [f"plain\t{name}\t{summary}" for name, (_, summary) in REGISTRY.items()]
    assert values(complete("kvmctl st")) == ["start", "stop"]
    assert values(complete("kvmctl host ")) == list(HOST_REGISTRY)


def test_mdevs_and_their_types(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = "c2177883-f1bb-47f0-914d-32a22e3a8804"
    nodedev.install(monkeypatch).put(uuid)
    host = "kvmctl -H test:///default pci"
    assert complete(f"{host} mdev create nvidia-35") == ["plain\tnvidia-35\tGRID T4-1B"]
    assert complete(f"{host} mdev delete ") == [f"plain\t{uuid}\tnvidia-35"]
    assert values(complete(f"{host} attach test mdev:")) == ["mdev:nvidia-35", "mdev:nvidia-36"]
    assert nodedev.GPU in values(complete(f"{host} attach test "))


@pytest.mark.parametrize("line", ["kvmctl nosuch ", "kvmctl start --nosuch=", "kvmctl -H nosuch start ", "kvmctl 'st"])
def test_a_wrong_line_gives_nothing_or_something_and_never_an_error(line: str, complete: Complete) -> None:
    assert values(complete(line, code=1 if "kvmctl nosuch" in line else 0)) in ([], ["start", "stop"])


def test_options_and_their_values(complete: Complete) -> None:
    assert values(complete("kvmctl --out")) == ["--output"]
    assert values(complete("kvmctl list -o ")) == ["table", "wide", "json", "yaml", "name"]
    assert values(complete("kvmctl list --output=j")) == ["--output=json"]
    assert values(complete("kvmctl list --output=j", "bash", breaks="=:")) == ["json"]
    assert values(complete("kvmctl list --output=j", "bash", breaks=" ")) == ["--output=json"]


def test_vm_names_come_from_the_host_on_the_line(complete: Complete, vms: str) -> None:
    assert complete(f"kvmctl -H {vms} start we") == ["plain\tweb1\trunning", "plain\tweb2\trunning"]
    assert values(complete(f"kvmctl start --host={vms} we")) == ["web1", "web2"]
    assert values(complete("kvmctl -H test:///default start -o json ")) == ["test"]
    assert values(complete("kvmctl -H nowhere -H test:///default show ")) == []


def test_a_vm_on_the_line_is_not_offered_again(complete: Complete, vms: str) -> None:
    assert values(complete(f"kvmctl -H {vms} start web1 ")) == ["my db", "web2"]


def test_the_environment_and_the_configuration_choose_the_host(
    complete: Complete, vms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"default_host: lab\nhosts: {{lab: '{vms}', other: 'test:///default'}}\n")
    monkeypatch.setenv("KVMCTL_CONFIG", str(config))
    assert values(complete("kvmctl -H ")) == ["lab", "other", "embedded"]
    assert values(complete("kvmctl stop my")) == ["my db"]
    assert values(complete("kvmctl -H other stop ")) == ["test"]
    monkeypatch.setenv("KVMCTL_HOST", "other")
    assert values(complete("kvmctl stop ")) == ["test"]
    config.write_text("hosts: [")
    assert values(complete("kvmctl -H ")) == []


def test_the_embedded_host_is_not_opened_for_its_names(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVMCTL_STATE_DIR", str(tmp_path / "my state"))
    assert values(complete("kvmctl -H embedded start ")) == []
    for name in ("etc/qemu/web1.xml", "etc/qemu/db.xml", "run/qemu/web1.xml", "run/qemu/short.xml", "etc/qemu/x/y"):
        path = tmp_path / "my state/embedded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert values(complete("kvmctl -H embedded start ")) == ["db", "short", "web1"]


def test_a_host_that_hangs_is_given_two_seconds(run_process: OwnProcess, tmp_path: Path) -> None:
    """A socket on which nobody answers."""
    import socket

    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen(1)
        line = f"kvmctl -H 'qemu+unix:///system?socket={path}' start "
        began = time.monotonic()
        result = run_process([], env={"_KVMCTL_COMPLETE": "bash_complete", "_KVMCTL_LINE": line})
        assert time.monotonic() - began < 15
    assert (result.stdout, result.stderr) == ("", "")


def test_specs_and_files(complete: Complete, vms: str) -> None:
    assert complete("kvmctl validate ") == ["file\t.yaml .yml"]
    assert complete("kvmctl create --start we") == ["file\t.yaml .yml"]
    assert complete(f"kvmctl -H {vms} xml ./we") == ["file\t.yaml .yml"]
    assert values(complete(f"kvmctl -H {vms} xml we")) == ["web1", "web2"]


def test_templates(complete: Complete) -> None:
    offered = values(complete("kvmctl init "))
    assert offered
    assert all(values(complete(f"kvmctl init {name}")) for name in offered)


def test_a_line_may_end_anywhere(complete: Complete) -> None:
    """Between quotes, after a backslash, in the middle of a word."""
    assert values(complete("kvmctl -H 'test:///default' start \"te")) == ["test"]
    assert values(complete("kvmctl -H test:///default start te\\")) == ["test"]
    assert values(complete("kvmctl -H test:///default start -- te")) == ["test"]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_printed_on_request(shell: str, run_process: OwnProcess) -> None:
    assert run_process([], env={"_KVMCTL_COMPLETE": f"{shell}_source"}).stdout == SCRIPTS[shell]
    assert run_process([], env={"_KVMCTL_COMPLETE": "csh_source"}, exit=2).stdout == ""


@pytest.fixture(scope="module", params=SCRIPTS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    shell = Shell(request.param, tmp_path_factory.mktemp(request.param))
    (shell.work / "vms.xml").write_text(VMS)
    for name in ("one.txt", "one.yaml", "two words.yml", "specs/three.yaml"):
        (shell.work / name).parent.mkdir(exist_ok=True)
        (shell.work / name).touch()
    yield shell
    shell.close()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kvmctl expo\t", ["export"]),
        ("kvmctl host che\t", ["host", "check"]),
        ("kvmctl list --outp\tjs\t", ["list", "--output", "json"]),
        ("kvmctl list --output=js\t", ["list", "--output=json"]),
        ("kvmctl -H emb\tlist", ["-H", "embedded", "list"]),
        ("kvmctl -H test:///default sta\tte\t", ["-H", "test:///default", "start", "test"]),
        ("kvmctl -H test://$PWD/vms.xml stop web1 my\t", ["-H", "test://{work}/vms.xml", "stop", "web1", "my db"]),
        ("kvmctl validate on\t", ["validate", "one.yaml"]),
        ("kvmctl validate tw\t", ["validate", "two words.yml"]),
        ("kvmctl validate spe\tth\t", ["validate", "specs/three.yaml"]),
        ("true | kvmctl expo\t", ["export"]),
    ],
)
def test_tab_on_a_terminal(shell: Shell, line: str, expected: list[str]) -> None:
    work = str(shell.work)
    assert shell.type(line.replace("$PWD", work)) == [word.replace("{work}", work) for word in expected]


def test_it_works_with_the_distributions_python(tmp_path: Path) -> None:
    """Debian's click is older than ours."""
    python = "/usr/bin/python3"
    if os.system(f"{python} -c 'import click, libvirt' 2>/dev/null"):
        pytest.skip(f"{python} has no click or no libvirt")
    shell = Shell("bash", tmp_path / "shell", python=python)
    try:
        assert shell.type("kvmctl -H test:///default sta\tte\t") == ["-H", "test:///default", "start", "test"]
    finally:
        shell.close()
