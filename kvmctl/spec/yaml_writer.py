"""Plain data as YAML in the style of our templates: blocks, short lists on one line, quotes only where they matter.

What is written reads back equal, by our reader and by YAML 1.1 and 1.2 readers alike: text that one of them would take
for a number, a date or a truth value is quoted. Decides nothing about which keys there are or their order.
"""

from __future__ import annotations

import re

FLOW_WIDTH = 80
KEY_LIMIT = 1000
"""Longer keys than YAML's 1024 characters need a '?' before them."""

# Read as something else than text by YAML 1.1 (y, on, 010, 1_0, 12:30) or by YAML 1.2 (0o7, 1e3, .inf).
MISREAD = re.compile(
    r"""~|null|Null|NULL|=|<<
    |[yYnN]|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)
    |[-+]?[0-9][0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?
    |[-+]?0[xX][0-9a-fA-F_]+|[-+]?0[bB][01_]+|[-+]?0[oO][0-7_]+
    |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9].*
    """,
    re.VERBOSE,
)
# Digits with marks between them: dates, times and base 60 numbers among them. CPU sets, MAC and PCI addresses look the
# same now and then, so all of these are quoted alike.
NUMBER_LIKE = re.compile(r"[0-9][0-9_,:.^-]*|[0-9a-fA-F]+(?::[0-9a-fA-F]+)+(?:\.[0-9a-fA-F]*)?")
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\x1b": "\\e"}


def to_yaml(data: object) -> str:
    """Dicts, lists, str, int, bool and None as YAML text that ends with a line break."""
    lines = _collection(data, 0) if isinstance(data, (dict, list)) and data else [_scalar(data)]
    return "\n".join(lines) + "\n"


def _collection(data: object, column: int) -> list[str]:
    """The lines of a dict or list that is not empty, its entries at this column."""
    lines: list[str] = []
    blanks = " " * column
    if isinstance(data, dict):
        for key, value in data.items():
            name = _scalar(key)
            if len(name) > KEY_LIMIT:
                lines.append(f"{blanks}? {name}")
                name = ""
            lines += _entry(f"{blanks}{name}:", value, column)
    elif isinstance(data, list):
        for item in data:
            if isinstance(item, (dict, list)) and item and _one_line(item, column) is None:
                inner = _collection(item, column + 2)
                lines += [f"{blanks}- {inner[0][column + 2 :]}", *inner[1:]]
            else:
                lines += _entry(f"{blanks}-", item, column)
    return lines


def _entry(start: str, value: object, column: int) -> list[str]:
    """A key or dash with its value, on the same line where it fits."""
    if isinstance(value, str) and "\n" in value and (block := _block(value, column + 2)):
        return [f"{start} {block[0]}", *block[1:]]
    if isinstance(value, (dict, list)) and value:
        flow = _one_line(value, len(start))
        return [f"{start} {flow}"] if flow is not None else [start, *_collection(value, column + 2)]
    return [f"{start} {_scalar(value)}"]


def _one_line(value: object, column: int) -> str | None:
    """A short list of scalars in flow style; None for anything else."""
    if not isinstance(value, list) or any(isinstance(item, (dict, list)) and item for item in value):
        return None
    flow = f"[{', '.join(_scalar(item, flow=True) for item in value)}]"
    return flow if column + 1 + len(flow) <= FLOW_WIDTH and not any("\n" in str(item) for item in value) else None


def _scalar(value: object, *, flow: bool = False) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    text = str(value)
    return text if not isinstance(value, str) or _is_plain(text, flow) else _quoted(text)


def _is_plain(text: str, flow: bool) -> bool:
    """Whether the text can stand without quotes."""
    return (
        text.isprintable()
        and (text[:1].isalnum() or text[:1] in ("_", "/", "."))
        and not text.startswith("...")
        and not text.endswith((" ", ":"))
        and ": " not in text
        and " #" not in text
        and not (flow and re.search(r"[,\[\]{}:?#]", text))
        and not MISREAD.fullmatch(text)
        and not NUMBER_LIKE.fullmatch(text)
    )


def _quoted(text: str) -> str:
    if text.isprintable() and ('"' in text or "\\" in text) and "'" not in text:
        return f"'{text}'"
    return '"' + "".join(ESCAPES.get(character) or _escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _block(text: str, column: int) -> list[str]:
    """The text as a literal block; nothing if it would not read back the same."""
    lines = text.removesuffix("\n").split("\n")
    if not text.strip() or not all(line.replace("\t", "").isprintable() for line in lines):
        return []
    # Where the first line does not show how far the block is indented, a digit must.
    mark = "2" if lines[0][:1] in ("", " ", "\t") else ""
    chomp = "-" if not text.endswith("\n") else "+" if not lines[-1] else ""
    return [f"|{mark}{chomp}", *((" " * column + line) if line else "" for line in lines)]
