"""The specs that a command was given: files, or `-` for standard input, on top of the templates they name.

Reads one byte more than a spec may have and no further, so that /dev/zero and a disk image end at once, and waits for a
pipe only so long. What a spec says is for `spec/` to tell.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import kvmctl
from kvmctl.errors import Conflict, NotFound, SpecError, TimedOut, UsageError

if TYPE_CHECKING:
    from kvmctl.spec.model.vm import Vm
    from kvmctl.spec.nodes import Node

TEMPLATE_DEPTH = 8

PIPE_SECONDS = 30.0
"""How long a pipe or terminal that is named as a file may take."""

TEMPLATES = os.path.join(os.path.dirname(kvmctl.__file__), "templates")

INIT = "'kvmctl init' writes a spec to start from"


def read_spec_bytes(path: str) -> tuple[bytes, str]:
    """What the file holds, up to one byte more than is allowed, and the name to show for it."""
    from kvmctl.spec.nodes import SIZE_LIMIT

    shown = "<stdin>" if path == "-" else path
    try:
        return (_standard_input(SIZE_LIMIT + 1) if path == "-" else _file(path, SIZE_LIMIT + 1)), shown
    except FileNotFoundError:
        raise NotFound("file-not-found", f"there is no file {shown}", hint=INIT) from None
    except PermissionError:
        raise NotFound(
            "file-not-found", f"no permission to read {shown}", hint=f"look at its mode with 'ls -l {shown}'"
        ) from None
    except IsADirectoryError:
        raise _unreadable(shown, "is a directory, not a spec", "name the files in it, one by one") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotFound("file-not-found", f"{shown} cannot be read: {reason}") from None


def _unreadable(shown: str, what: str, hint: str) -> SpecError:
    from kvmctl.errors import Problem

    problem = Problem(file=shown, line=1, column=1, path="", message=f"this {what}", hint=hint)
    return SpecError("spec-unreadable", f"{shown} {what}", problems=[problem])


def _standard_input(most: int) -> bytes:
    if sys.stdin is None:
        raise NotFound("file-not-found", "standard input is closed", hint="name a file instead of '-'")
    return sys.stdin.buffer.read(most)


def _file(path: str, most: int) -> bytes:
    # Without O_NONBLOCK, opening a pipe that nobody writes to would never return.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError
        if stat.S_ISBLK(kind):
            raise _unreadable(path, "is a block device, not a spec", INIT)
        return _read(descriptor, most, path, waits=not stat.S_ISREG(kind))
    finally:
        os.close(descriptor)


def _read(descriptor: int, most: int, path: str, *, waits: bool) -> bytes:
    chunks: list[bytes] = []
    missing = most
    ends = time.monotonic() + PIPE_SECONDS
    while missing > 0:
        if waits and not select.select([descriptor], [], [], max(0.0, ends - time.monotonic()))[0]:
            raise TimedOut("timed-out", f"{path} did not come to an end within {PIPE_SECONDS:g} s")
        try:
            chunk = os.read(descriptor, missing)
        except BlockingIOError:
            continue
        if not chunk:
            break
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def is_spec(source: str) -> bool:
    """Whether an argument that may be a spec or a VM is a spec."""
    return source == "-" or "/" in source or source.endswith((".yaml", ".yml"))


def load(path: str, settings: Sequence[str] = ()) -> Vm:
    """The VM that a spec describes, on top of its template, with each KEY=VALUE of `--set` applied."""
    from kvmctl.spec.nodes import assign, read_nodes
    from kvmctl.spec.structure import build

    node = read_nodes(*read_spec_bytes(path))
    pairs = [_pair(setting) for setting in settings]
    for key, value in pairs:
        if key == "template":
            node = assign(node, key, value)
    node = _on_template(node, "" if path == "-" else os.path.dirname(path), depth=0)
    for key, value in pairs:
        node = assign(node, key, value)
    return build(node)


def load_all(paths: Sequence[str], settings: Sequence[str] = ()) -> list[Vm]:
    """All specs, or one SpecError with the mistakes of all of them."""
    made: list[Vm] = []
    errors: list[SpecError] = []
    for path in paths:
        try:
            made.append(load(path, settings))
        except SpecError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems = [problem for error in errors for problem in error.problems]
        raise SpecError("spec-invalid", f"{len(errors)} specs have {len(problems)} mistakes", problems=problems)
    return made


def templates() -> list[str]:
    """The names of the starter specs that come with kvmctl."""
    return sorted(entry.removesuffix(".yaml") for entry in os.listdir(TEMPLATES) if entry.endswith(".yaml"))


def template_text(name: str) -> str:
    """A starter spec that comes with kvmctl."""
    known = templates()
    if name not in known:
        raise NotFound("template-not-found", f"there is no template '{name}'", hint=f"there are {', '.join(known)}")
    with open(os.path.join(TEMPLATES, f"{name}.yaml"), encoding="utf-8") as file:
        return file.read()


def _pair(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise UsageError("usage", f"--set takes KEY=VALUE, not '{setting}'", hint="for example --set cpu.count=4")
    return key, value


def _on_template(node: Node, folder: str, *, depth: int) -> Node:
    """The spec laid over the template it names, and that over its own."""
    from kvmctl.spec.nodes import merge, read_nodes, spec_error

    if not isinstance(node.value, dict) or "template" not in node.value:
        return node
    place, named = node.value["template"]
    if not isinstance(named.value, str) or named.null or not named.value:
        return node  # the model says what is wrong with it
    if depth == TEMPLATE_DEPTH:
        raise spec_error([place.problem("template", f"more than {TEMPLATE_DEPTH} templates lie below each other")])
    try:
        if "/" in named.value or named.value.endswith((".yaml", ".yml")):
            data, shown = read_spec_bytes(os.path.join(folder, named.value))
        else:
            data, shown = template_text(named.value).encode(), f"template {named.value}"
    except NotFound as error:
        raise spec_error([named.place.problem("template", error.message, error.hint)]) from None
    return merge(_on_template(read_nodes(data, shown), os.path.dirname(shown), depth=depth + 1), node)


def starter(template: str, name: str) -> str:
    """A template as a spec of its own: with a name, and checked."""
    from kvmctl.spec.nodes import read_nodes, to_yaml
    from kvmctl.spec.structure import build

    text = template_text(template)
    named = to_yaml({"name": name}) + text
    build(read_nodes(named.encode(), "the new spec"))
    return named


def write_new(path: str, text: str) -> None:
    """Write a file that must not exist yet."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(
            "file-exists", f"{path} exists already", hint="give another --file, or remove it first"
        ) from None
