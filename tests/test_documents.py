"""Generated files are fresh, manual pages are sound, and what the documents show is really so."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kvmctl import __version__, errors, manual, roff
from kvmctl.cli import root
from kvmctl.commands import REGISTRY, SECTIONS
from kvmctl.commands.host import REGISTRY as HOST_REGISTRY
from kvmctl.commands.pci import REGISTRY as PCI_REGISTRY
from kvmctl.commands.pci.mdev import REGISTRY as MDEV_REGISTRY
from kvmctl.commands.pin import REGISTRY as PIN_REGISTRY
from kvmctl.commands.scsi import REGISTRY as SCSI_REGISTRY
from kvmctl.commands.usb import REGISTRY as USB_REGISTRY
from kvmctl.lazy import LazyGroup
from kvmctl.reflect import exit_sentences, generated, help_of, summary
from tests.conftest import InProcess
from tests.environment import ROOT

GENERATED = generated()
GROUPS = {
    "host": HOST_REGISTRY,
    "pci": PCI_REGISTRY,
    "pci mdev": MDEV_REGISTRY,
    "pin": PIN_REGISTRY,
    "scsi": SCSI_REGISTRY,
    "usb": USB_REGISTRY,
}
PAGES = sorted(name for name in GENERATED if name.startswith("man/"))
SOURCES = sorted((ROOT / "kvmctl").rglob("*.py"))
README = (ROOT / "README.md").read_text()
LINT = ["mandoc", "-T", "lint", "-W", "style"]


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == GENERATED[name], f"{name} is stale: run 'make docs'"


@pytest.mark.parametrize("folder", ["man", "completions", "schema"])
def test_nothing_else_lies_beside_them(folder: str) -> None:
    assert {f"{folder}/{path.name}" for path in (ROOT / folder).iterdir()} <= GENERATED.keys()


def test_every_command_has_a_page() -> None:
    commands = [*REGISTRY, *(f"{group} {name}" for group, registry in GROUPS.items() for name in registry)]
    assert {f"man/kvmctl-{name.replace(' ', '-')}.1" for name in commands} | {
        "man/kvmctl.1",
        "man/kvmctl-spec.5",
    } == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound(name: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(LINT, input=GENERATED[name], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_well_with_man(name: str) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    environment = {"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LANG": "C.UTF-8", "MANROFFOPT": "-ww"}
    done = subprocess.run(["man", "--warnings", f"./{name}"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME" in done.stdout
    assert "\\" not in re.sub(r"\\\(\.", "", done.stdout), "an escape was not understood"


def test_the_index_of_manual_pages_knows_them() -> None:
    """`whatis` and `apropos` read the NAME section: name, dash, what it is."""
    for name in PAGES:
        section = GENERATED[name].partition(".SH NAME\n")[2].partition("\n.SH")[0]
        page = Path(name).stem.replace("-", r"\-")
        assert section.startswith(rf"{page} \- "), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a-b \\n", r"a\-b \en"),
        ("'quoted' ~/x `x` ^", r"\(aqquoted\(aq \(ti/x \(gax\(ga \(ha"),
        ("1 → 2", r"1 \[u2192] 2"),
    ],
)
def test_roff_is_escaped(text: str, expected: str) -> None:
    assert roff.escape(text) == expected


def test_roff_knows_paragraphs_blocks_and_terms() -> None:
    text = "One\ntwo.\n\nThree `four`.\n\n\b\n  a   b\n  .c\n\nTERM\n    its\n    meaning"
    assert list(roff.body(text)) == [
        "One two.",
        ".PP",
        r"Three \fBfour\fR.",
        *(".RS 4", ".sp", ".EX", "a   b", r"\&.c", ".EE", ".RE"),
        *(".TP", r"\fBTERM\fR", "its meaning"),
    ]


def test_exit_codes_are_drawn_as_they_are() -> None:
    """The tree in the docstring of errors.py is what the manual is made of."""
    assert exit_sentences().keys() == {cls.exit_code for cls in errors.all_classes()}
    for cls in errors.all_classes():
        assert re.search(rf"{cls.__name__} +{cls.exit_code} ", errors.__doc__ or "")


@pytest.mark.parametrize("cls", errors.all_classes())
def test_exit_codes_and_error_codes_are_in_the_manual(cls: type[errors.KvmctlError]) -> None:
    page = GENERATED["man/kvmctl.1"]
    assert f"\\fB{cls.exit_code}\\fR" in page
    for code, sentence in cls.codes.items():
        assert roff.bold(code) in page
        assert sentence.endswith(".")


def options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def commands(group: LazyGroup = root, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its path below kvmctl: "host list"."""
    for name in group.registry:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield f"{path}{name}", command
        if isinstance(command, LazyGroup):
            yield from commands(command, f"{path}{name} ")


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_is_in_the_page_of_its_command(path: str) -> None:
    command = COMMANDS[path]
    page = GENERATED[f"man/kvmctl-{path.replace(' ', '-')}.1"]
    for option in options(command):
        assert roff.bold(option) in page
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert (parameter.help or "").endswith("."), f"{path}: the help of {parameter.opts} is no sentence"


@pytest.mark.parametrize("path", COMMANDS)
def test_the_registry_says_what_the_command_says(path: str) -> None:
    command = COMMANDS[path]
    group, _, name = path.rpartition(" ")
    registry = GROUPS[group] if group else REGISTRY
    assert command.name == name
    assert summary(command) == registry[name][1]


def test_every_command_is_in_one_section_of_the_help() -> None:
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(REGISTRY)


def test_environment_variables_are_documented() -> None:
    page = GENERATED["man/kvmctl.1"]
    text = "\n".join(path.read_text() for path in SOURCES)
    read = set(re.findall(r"""["'](KVMCTL_[A-Z_]+|LIBVIRT_[A-Z_]+|XDG_[A-Z_]+|NO_COLOR)["']""", text))
    assert "KVMCTL_HOST" in read
    for name in read - {"XDG_RUNTIME_DIR"}:
        assert roff.escape(name) in page, f"{name} is read and not documented"


def test_keys_of_the_configuration_are_documented() -> None:
    text = (ROOT / "kvmctl/host/config.py").read_text()
    keys = set(re.findall(r'if "(\w+)" (?:not )?in values', text))
    assert keys >= {"default_host", "hosts", "uri"}
    for key in keys:
        assert key in manual.FILES, f"{key} is not in the manual"


def shown_commands() -> Iterator[str]:
    """Each call of kvmctl that the README, the manual and the help of commands show."""
    texts = [value for value in vars(manual).values() if isinstance(value, str)]
    texts += [help_of(command) for command in COMMANDS.values()]
    shown = re.findall(r"(?s)```sh\n(.*?)```", README)
    shown += [block for text in texts for block in re.findall(r"(?s)\x08\n(.*?)(?:\n\n|\Z)", text)]
    for block in shown:
        for line in block.splitlines():
            for part in re.split(r"[|;]|&&", line.partition("  #")[0].partition(" > ")[0]):
                if found := re.match(r"\s*(?:xargs -r )?(?:python3 -m )?(kvmctl .*)$", part):
                    yield found[1].strip()


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_a_command_that_is_shown_exists(line: str) -> None:
    """It has the options it is shown with."""
    words = shlex.split(line)[1:]
    context: click.Context | None = None
    command: click.Command | None = root
    while command is not None:
        context = click.Context(command, parent=context)
        _, words, _ = command.make_parser(context).parse_args(words)
        if not isinstance(command, LazyGroup) or not words:
            break
        command = command.get_command(context, words.pop(0))
    assert command is not None, line


def blocks(text: str, start: str) -> list[str]:
    """Blocks of YAML in the README and in the manual that start with this key."""
    found = re.findall(r"(?s)(?:```yaml|\x08)\n(.*?)(?:```|\n\n|\Z)", text)
    return [block for block in found if block.startswith(start)]


@pytest.mark.parametrize("text", blocks(README + manual.SPEC_EXAMPLES, "name:"))
def test_a_spec_that_is_shown_is_right(text: str, run: InProcess) -> None:
    run("validate -", input=text)


@pytest.mark.parametrize("text", blocks(README + manual.FILES, "default_host:"))
def test_a_configuration_that_is_shown_is_right(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvmctl.host.targets import configured

    path = tmp_path / "config.yaml"
    path.write_text(text)
    monkeypatch.setenv("KVMCTL_CONFIG", str(path))
    assert [target.name for target in configured()] == ["host2", "host3"]


def test_links_of_the_readme_lead_somewhere() -> None:
    for name in re.findall(r"\]\((?!https:)([^)]+)\)", README):
        assert (ROOT / name).exists(), name


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_package_says_what_it_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    assert names == {"click", "rich", "libvirt-python", "pyyaml"}
