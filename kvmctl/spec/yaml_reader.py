"""YAML bytes into nodes, within limits that hold while reading, and with every mistake told at its place.

Takes the parser's events, so that nothing is built beyond the limits: a bomb ends as soon as it grows. Refuses tags,
merge keys, several documents, keys given twice and keys that are not text. Says nothing of what keys and values mean.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

from kvmctl.spec.places import NULLS, Map, Node, Place, spec_error
from kvmctl.spec.yaml_words import in_words

if TYPE_CHECKING:
    from kvmctl.errors import Problem

SIZE_LIMIT = 1 << 20
DEPTH_LIMIT = 32
ALIAS_LIMIT = 100
NODE_LIMIT = 20_000

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LINE_BREAK = re.compile(r"\r\n|\r|\n")
# Whatever a reader of the file could not see, or could take for a line break: C0, DEL, C1, separators, a stray BOM.
UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
SIGNATURES = {
    b"QFI\xfb": "a qcow2 disk image",
    b"\x7fELF": "a program",
    b"\x1f\x8b": "a gzip file",
    b"\xfd7zXZ": "an xz file",
    b"PK\x03\x04": "a zip file",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}
XML = ("this is XML, and a spec is YAML", "'kvmctl export VM' writes the spec of a VM that libvirt knows")


class _Stop(Exception):
    """Reading cannot go on; the problems say why."""


def read_nodes(data: bytes, file: str) -> Node:
    """The map that a spec is. Raises SpecError with all problems at once."""
    reader = _Reader(data, file)
    return reader.finish(reader.document(whole_spec=True))


def read_value(text: str, file: str) -> Node:
    """A value from the command line: a list, a map or quoted text in YAML's flow style, else the text as it is."""
    reader = _Reader(text.encode("utf-8", "surrogateescape"), file)
    bare = text.strip()
    if reader.problems:
        return reader.finish(None)
    if bare.startswith(("[", "{", '"', "'")):
        return reader.finish(reader.document(whole_spec=False))
    return Node(reader.place(0, 0), bare, null=bare in NULLS)


class _Reader:
    """One reading of one text."""

    def __init__(self, data: bytes, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.code = "spec-invalid"
        self.nodes = 0
        self.aliases = 0
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        """name -> node, how many nodes it is, how deep it is; None while it is being read"""
        self.lines: list[str] = []
        self.text = ""
        with suppress(_Stop):
            self.decode(data)

    def finish(self, node: Node | None) -> Node:
        if self.problems or node is None:
            raise spec_error(self.problems, self.code)
        return node

    # -- text ---------------------------------------------------------------------------------------

    def decode(self, data: bytes) -> None:
        """Bytes to text that a person could have written."""
        if len(data) > SIZE_LIMIT:
            raise self.unreadable(Place(self.file, 1, 1), f"the file is larger than {SIZE_LIMIT >> 20} MiB")
        for signature, kind in SIGNATURES.items():
            if data.startswith(signature):
                raise self.unreadable(Place(self.file, 1, 1), f"this is {kind}")
        try:
            self.text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.text = data.decode("utf-8-sig", "replace")
            self.lines = LINE_BREAK.split(self.text)
            # The codec counts from after the byte order mark that it skipped.
            before = LINE_BREAK.split(error.object[: error.start].decode())
            byte = error.object[error.start]
            place = self.place(len(before) - 1, len(before[-1]))
            raise self.unreadable(
                place,
                f"this is not text: byte 0x{byte:02x} is not UTF-8",
                "save the file as UTF-8",
            ) from None
        self.lines = LINE_BREAK.split(self.text)
        if "\0" in self.text:
            raise self.unreadable(Place(self.file, 1, 1), "this is binary data, not text")
        for found in UNSEEN.finditer(self.text):
            before = LINE_BREAK.split(self.text[: found.start()])
            self.unreadable(
                self.place(len(before) - 1, len(before[-1])),
                f"the character U+{ord(found[0]):04X} cannot be seen and is not allowed",
                'take it out, or write it with a backslash in double quotes ("\\u0007")',
            )
            if len(self.problems) == 10:
                break

    def place(self, line: int, column: int) -> Place:
        """The place for a line and a column counted from 0."""
        return Place(self.file, line + 1, column + 1, self.lines[line] if line < len(self.lines) else "")

    def at(self, event: Any) -> Place:
        return self.place(event.start_mark.line, event.start_mark.column)

    # -- problems -----------------------------------------------------------------------------------

    def wrong(self, place: Place, path: str, message: str, hint: str = "") -> None:
        self.problems.append(place.problem(path, message, hint))

    def unreadable(self, place: Place, message: str, hint: str = "", path: str = "") -> _Stop:
        self.code = "spec-unreadable"
        self.wrong(place, path, message, hint or "a spec is a short YAML text; 'kvmctl init' writes one to start from")
        return _Stop()

    def syntax(self, error: yaml.MarkedYAMLError) -> None:
        """The parser's complaint, at the place that helps most."""
        mark = error.problem_mark or error.context_mark
        if "nesting depth" in str(error.problem) and mark:  # libyaml 0.2.6 looks ahead, and has a limit of its own
            self.unreadable(self.place(mark.line, mark.column), f"this is nested more than {DEPTH_LIMIT} deep")
            return
        line = self.lines[mark.line] if mark and mark.line < len(self.lines) else ""
        character = line[mark.column : mark.column + 1] if mark else ""
        indentation = line[: len(line) - len(line.lstrip())]
        message, hint, began = in_words(str(error.problem), character, indentation)
        if self.text.lstrip().startswith("<"):
            message, hint, mark = *XML, None
        elif began and error.context_mark:
            mark = error.context_mark
        elif message.endswith("is missing") and error.context_mark:
            message += f" for what is opened on line {error.context_mark.line + 1}"
        self.wrong(self.place(mark.line, mark.column) if mark else self.place(0, 0), "", message, hint)

    # -- events -------------------------------------------------------------------------------------

    def document(self, *, whole_spec: bool) -> Node | None:
        """The one document of the text; None, or what could be read, when there are problems."""
        if self.problems:
            return None
        node = None
        try:
            self.refuse_directives()
            self.events = yaml.parse(self.text, Loader=LOADER)
            node = self.only_document(whole_spec)
        except yaml.MarkedYAMLError as error:
            self.syntax(error)
        except _Stop:
            pass
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self.wrong(self.place(0, 0), "", f"this is not YAML: {error}", "check the quotes and what follows a '\\'")
        return node

    def refuse_directives(self) -> None:
        """%TAG lines only serve tags, and libyaml takes very long over many of them."""
        for number, line in enumerate(self.lines):
            bare = line.strip()
            if bare.startswith("%") and not bare.startswith("%YAML"):
                self.wrong(self.place(number, 0), "", "a line that starts with '%' is not allowed", "leave it out")
                raise _Stop
            if bare and not bare.startswith(("#", "%YAML")):
                return

    def only_document(self, whole_spec: bool) -> Node | None:
        node = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if node is not None:
                    self.wrong(self.at(event), "", "a second document starts here", "write one VM per file")
                    return None
                node, _ = self.node(next(self.events), "", 0)
        if whole_spec and (node is None or node.null):
            hint = "'kvmctl init' writes a spec to start from"
            self.wrong(Place(self.file, 1, 1), "", "the file is empty", hint)
        elif whole_spec and node and node.kind != "map":
            message = f"this is a {'list' if node.kind == 'list' else 'single value'}, and a spec is a map of keys"
            hint = "write 'key: value' lines, the first being 'name: ...'"
            if re.match(r"[a-z_]+:[^ ]", self.lines[node.place.line - 1]):
                hint = "put a blank after the ':' of a key"
            elif self.text.lstrip().startswith("<"):
                message, hint = XML
            self.wrong(node.place, "", message, hint)
        return node

    def node(self, event: Any, path: str, depth: int) -> tuple[Node, int]:
        """The node that starts with this event, and its depth below itself."""
        place = self.at(event)
        if depth > DEPTH_LIMIT:
            raise self.unreadable(place, f"this is nested more than {DEPTH_LIMIT} deep", path=path)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, place, path, depth)
        self.count(1, place, path)
        before = self.nodes
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.wrong(place, path, f"the tag '{tag}' is not allowed", "leave it out; quotes make a value text")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            quoted = bool(event.style)
            node, height = Node(place, event.value, quoted=quoted, null=not quoted and event.value in NULLS), 0
            if any("\ud800" <= character <= "\udfff" for character in event.value):
                self.wrong(place, path, "half of a character (a UTF-16 surrogate) is not allowed", "write it whole")
        elif isinstance(event, yaml.SequenceStartEvent):
            node, height = self.list(place, path, depth)
        else:
            node, height = self.map(place, path, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.nodes - before + 1, height)
        return node, height

    def count(self, nodes: int, place: Place, path: str) -> None:
        self.nodes += nodes
        if self.nodes > NODE_LIMIT:
            raise self.unreadable(place, f"the file has more than {NODE_LIMIT} values by here", path=path)

    def alias(self, event: Any, place: Place, path: str, depth: int) -> tuple[Node, int]:
        self.aliases += 1
        if self.aliases > ALIAS_LIMIT:
            raise self.unreadable(place, f"the file has more than {ALIAS_LIMIT} aliases (*name)", path=path)
        found = self.anchors.get(event.anchor)
        if found is None:
            known = event.anchor in self.anchors
            message = "contains itself" if known else f"is not known here: no &{event.anchor} stands before it"
            self.wrong(place, path, f"the alias *{event.anchor} {message}", "put text that starts with '*' in quotes")
            return Node(place, "", null=True), 0
        node, size, height = found
        self.count(size, place, path)
        if depth + height > DEPTH_LIMIT:
            raise self.unreadable(place, f"this is nested more than {DEPTH_LIMIT} deep", path=path)
        return node, height

    def list(self, place: Place, path: str, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        deepest = 0
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            node, height = self.node(event, f"{path}[{len(items)}]", depth + 1)
            items.append(node)
            deepest = max(deepest, height + 1)
        return Node(place, items), deepest

    def map(self, place: Place, path: str, depth: int) -> tuple[Node, int]:
        keys: Map = {}
        deepest = 0
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key, _ = self.node(event, path, depth + 1)
            key_place = self.at(event)
            name = self.key_name(event, key, key_place, path)
            here = f"{path}.{name}" if path else name or ""
            first = keys.get(name) if name is not None else None
            if first:
                self.wrong(key_place, here, f"key given twice (first on line {first[0].line})", "keep one of the two")
            node, height = self.node(next(self.events), here, depth + 1)
            if node.null and not node.text:
                node = Node(key_place, "", null=True)  # nothing is written, so the key is the place to show
            if name is not None and not first:
                keys[name] = (key_place, node)
            deepest = max(deepest, height + 1)
        return Node(place, keys), deepest

    def key_name(self, event: Any, key: Node, place: Place, path: str) -> str | None:
        """The key as written; None, with a problem, if it cannot be one."""
        if key.kind != "scalar":
            self.wrong(place, path, f"a {key.kind} cannot be a key", "write a key as plain text before the ':'")
            return None
        if key.text == "<<" and not key.quoted:
            self.wrong(
                place, path, "the merge key '<<' is not allowed", "share settings by 'template:', or write them out"
            )
            return None
        if not key.text and not key.quoted:
            if isinstance(event, yaml.ScalarEvent):
                self.wrong(place, path, "a key is missing before this ':'", "write 'key: value'")
            return None
        return key.text
