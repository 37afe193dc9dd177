"""Nothing declared goes untested: commands, options, exit codes, error codes and keys of specs are enumerated here.

The tests' own sources are read: what a test passes to kvmctl, expects of it, or keeps in `cases/`. So it does not
matter which tests are run, or which of them are skipped.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from kvmctl.cli import root
from kvmctl.commands._specs import load
from kvmctl.errors import all_classes
from kvmctl.options import shared_options
from kvmctl.reflect import commands
from kvmctl.spec.declare import declarations, is_bare, walk
from kvmctl.spec.model.vm import Vm
from tests.environment import ROOT

TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
CASES = sorted((ROOT / "tests/cases").glob("*.yaml"))
SOURCES = sorted(path for path in (ROOT / "kvmctl").rglob("*.py") if path.name != "errors.py")
COMMANDS = {context.command_path.partition(" ")[2]: context.command for context in commands()}
SHARED = {name: option for option in shared_options() for name in option.opts}
UNKNOWN = "\N{HORIZONTAL ELLIPSIS}"
"""Stands for a part of a command line that is not known before the test runs."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def strings(path: Path) -> set[str]:
    """Every string of a module that is not documentation."""
    documentation = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Constant))
    return {node.value for node in constants if id(node) not in documentation and isinstance(node.value, str)}


def text_of(node: ast.expr) -> str | None:
    """A string, with what is put into it left open; None for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else UNKNOWN for part in node.values)
    return None


CALLS = re.compile("run|kvmctl|parametrize|start")
"""Names of functions, or parts of them, that take command lines; there a single word is a command too."""


@cache
def lines(path: Path) -> list[list[str]]:
    """Everything in a module that may be a command line: a string of several words, a list of words."""
    single = {
        id(below)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and CALLS.search(ast.unparse(node.func).rpartition(".")[2])
        for argument in node.args
        for below in ast.walk(argument)
    }
    found = []
    for node in ast.walk(tree(path)):
        words = []
        if isinstance(node, ast.List | ast.Tuple):
            words = [text_of(item) or UNKNOWN for item in node.elts]
        elif isinstance(node, ast.Constant | ast.JoinedStr) and (text := text_of(node)) is not None:
            with suppress(ValueError):
                words = shlex.split(text)
        if len(words) > 1 or id(node) in single:
            found.append(words)
    return found


def command_of(words: list[str]) -> str | None:
    """The command that is called, behind the shared options that may stand before it."""
    rest = iter(words[1:] if words[:1] == ["kvmctl"] else words)
    for word in rest:
        if word in SHARED:
            if not SHARED[word].is_flag:
                next(rest, None)
        elif not (word.startswith("--") or word == UNKNOWN):
            path = word
            while isinstance(COMMANDS.get(path), click.Group):
                path = f"{path} {next(rest, '')}"
            return path if path in COMMANDS else None
    return None


@cache
def called() -> dict[str, set[str]]:
    """Command -> the options it is called with in tests."""
    found: dict[str, set[str]] = {}
    for path in TESTS:
        for words in lines(path):
            command = command_of(words)
            if command is not None:
                found.setdefault(command, set()).update(word.partition("=")[0] for word in words if word[:1] == "-")
    # In the tests of one command, options may be written apart from it.
    for command in COMMANDS:
        name = f"test_{command.replace(' ', '_').replace('-', '_')}.py"
        for path in (path for path in TESTS if path.name == name):
            apart = {word.partition("=")[0] for words in lines(path) for word in words if word[:1] == "-"}
            found.setdefault(command, set()).update(apart)
    return found


OWN_OPTIONS = {
    f"{path} {parameter.opts[-1]}": (path, set(parameter.opts))
    for path, command in COMMANDS.items()
    for parameter in command.params
    if path and isinstance(parameter, click.Option) and not set(parameter.opts) & SHARED.keys()
}
"""The options that are a command's own: the command and the option's names."""


@pytest.mark.parametrize(
    "command", [path for path, command in COMMANDS.items() if not isinstance(command, click.Group)]
)
def test_a_command_is_called_by_a_test(command: str) -> None:
    assert command in called()


@pytest.mark.parametrize("option", OWN_OPTIONS)
def test_an_option_is_given_by_a_test(option: str) -> None:
    command, names = OWN_OPTIONS[option]
    given = called().get(command, set())
    assert given & names, f"no test calls '{command}' with {' or '.join(sorted(names))}"


@pytest.mark.parametrize("names", [tuple(option.opts) for option in [*shared_options(), root.params[-1]]], ids=str)
def test_a_shared_option_is_given_by_a_test(names: tuple[str, ...]) -> None:
    given = {word.partition("=")[0] for path in TESTS for words in lines(path) for word in words if word[:1] == "-"}
    for name in names:
        assert name in given, f"no test gives {name}"


@pytest.mark.parametrize("code", [0, *(cls.exit_code for cls in all_classes())])
def test_an_exit_code_is_expected_by_a_test(code: int) -> None:
    expected = re.compile(rf"\b(exit|exit_code|returncode|code)\)? ?==? ?{code}\b|\bexpect\({code}\)")
    # Success is what `run` expects if nothing is said.
    assert code == 0 or any(expected.search(path.read_text()) for path in TESTS)


CODES = [code for cls in all_classes() for code in cls.codes]


@pytest.mark.parametrize("code", CODES)
def test_an_error_code_is_expected_by_a_test(code: str) -> None:
    assert any(code in strings(path) for path in TESTS), f"no test expects the error code {code}"


@pytest.mark.parametrize("code", CODES)
def test_an_error_code_is_raised_somewhere(code: str) -> None:
    assert any(code in strings(path) for path in SOURCES), f"nothing raises the error code {code}"


def test_an_error_code_belongs_to_one_class() -> None:
    assert len(set(CODES)) == len(CODES)


def keys_in(value: Any, path: str = "") -> Iterator[str]:
    """The keys that a VM, or a group in it, has."""
    for name, declared in declarations(type(value)).items():
        inner = getattr(value, name)
        if inner is None or inner in ((), {}):
            continue
        here = f"{path}.{name}" if path else name
        yield here
        if declared.cls is not None and not is_bare(declared, inner):
            for item in inner if declared.many else (inner,):
                yield from keys_in(item, here + ("[]" if declared.many else ""))


@cache
def keys_of_cases() -> set[str]:
    return {key for path in CASES for key in keys_in(load(str(path)))}


@pytest.mark.parametrize("key", [key for key, _ in walk(Vm)])
def test_a_key_of_the_spec_is_in_a_golden_case(key: str) -> None:
    assert key in keys_of_cases(), f"no tests/cases/*.yaml has {key}"


@pytest.mark.parametrize(("key", "declared"), list(walk(Vm)), ids=lambda value: value if isinstance(value, str) else "")
def test_a_key_of_the_spec_is_documented(key: str, declared: Any) -> None:
    page = (ROOT / "man/kvmctl-spec.5").read_text()
    assert f"\\fB{key.replace('-', chr(92) + '-')}\\fR" in page
    assert declared.doc.endswith("."), f"the documentation of {key} is no sentence"
