"""The table in ARCHITECTURE.md says which room may import what. Here every import is read and held against it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import ROOT

PACKAGE = ROOT / "kvmctl"
MODULES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE = {"click", "libvirt", "rich", "yaml"}


def rooms() -> dict[str, dict[str, bool]]:
    """The table: room -> what it may import -> whether at the top of a module too."""
    table = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 3:
            continue
        allowed = {} if cells[2] in ("", "nothing") else dict.fromkeys(re.split(r",\s*", cells[2]), True)
        table[cells[0].strip("`").removesuffix(".py").removesuffix("/")] = {
            name.removesuffix("*"): not name.endswith("*") for name in allowed
        }
    return table


ROOMS = rooms()


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


class Import:
    """One imported module: where, and whether at the top, in a function, or for types only."""

    def __init__(self, line: int, name: str, place: str) -> None:
        self.line = line
        self.name = name
        self.place = place

    @property
    def what(self) -> str:
        """The room, or the library; empty for the standard library."""
        first, *rest = self.name.split(".")
        return rest[0] if first == "kvmctl" else "" if first in sys.stdlib_module_names else first


def imports(module: Path) -> Iterator[Import]:
    """Every import of a module, those inside functions and for types included."""

    def visit(node: ast.AST, place: str) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, place) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module}:{node.lineno}: a relative import"
            package = ROOT / node.module.replace(".", "/")
            for alias in node.names:
                # What is imported from a package may be a module of it.
                below = any((package / name).exists() for name in (alias.name, f"{alias.name}.py"))
                yield Import(node.lineno, f"{node.module}.{alias.name}" if below else node.module, place)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            place = "types"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = "function"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, place)

    for found in visit(ast.parse(module.read_text()), "top"):
        if found.name != "kvmctl":  # for its __version__
            yield found


def name_of(module: Path) -> str:
    return str(module.relative_to(ROOT))


def test_the_table_names_every_room_and_no_other() -> None:
    there = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert ROOMS.keys() == there, "the table in ARCHITECTURE.md and the top level of kvmctl/ differ"
    allowed = {what for room in ROOMS.values() for what in room}
    assert allowed <= there | OUTSIDE


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_room_imports_what_the_table_allows(module: Path) -> None:
    room = room_of(module)
    if module.name in ("__init__.py", "__main__.py") and module.parent == PACKAGE:
        assert {found.what for found in imports(module)} <= {"cli"}
        return
    wrong = []
    for found in imports(module):
        if found.what in (room, ""):
            continue
        if found.what not in ROOMS[room]:
            wrong.append(f"{module}:{found.line}: {room} may not import {found.name}")
        elif found.place == "top" and not ROOMS[room][found.what]:
            wrong.append(f"{module}:{found.line}: {found.name} is imported at the top, not inside a function")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) == "commands"], ids=name_of)
def test_no_command_imports_another(module: Path) -> None:
    for found in imports(module):
        if found.what == "commands":
            last = found.name.split(".")[-1]
            assert last.startswith("_"), f"{module}:{found.line}: imports the command {found.name}"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_says_what_it_does_and_is_small(module: Path) -> None:
    text = module.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
    assert module.stem not in ("utils", "util", "helpers", "common", "misc"), "a module is called after what it does"
    assert len(text.splitlines()) <= 300, f"{module} has more than 300 lines: think again"


SPEAKERS = {"cli", "output", "completion", "reflect", "runner"}
SPEECH = {"print", "input", "exit", "sys.exit", "os._exit", "warnings.warn"}
SPEECH |= {"sys.stdout.write", "sys.stdout.buffer", "sys.stderr.write", "sys.stderr.buffer"}
SPEECH |= {"click.echo", "click.secho", "click.prompt", "click.confirm"}


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) not in SPEAKERS], ids=name_of)
def test_nobody_below_cli_prints_prompts_or_exits(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Name | ast.Attribute):
            assert ast.unparse(node) not in SPEECH, f"{module}:{node.lineno}: {ast.unparse(node)}"


def test_the_map_names_only_what_is_there() -> None:
    """Every file that ARCHITECTURE.md names exists."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`([\w./]+\.(?:py|md)|[\w/]+/)`", text):
        assert (ROOT / name).exists() or (PACKAGE / name).exists(), f"ARCHITECTURE.md names {name}, which is not there"


def test_the_test_can_fail(tmp_path: Path) -> None:
    """An import is found wherever it stands."""
    module = tmp_path / "module.py"
    module.write_text(
        "import yaml\nfrom kvmctl import host\nif TYPE_CHECKING:\n    import rich.table\n"
        "def f():\n    def g():\n        from kvmctl.spec.nodes import x\n"
    )
    found = [(item.what, item.place) for item in imports(module)]
    assert found == [("yaml", "top"), ("host", "top"), ("rich", "types"), ("spec", "function")]
