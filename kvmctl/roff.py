"""Plain text to roff, the language of manual pages. Knows the few shapes that kvmctl's help texts have, and no more.

Text is paragraphs with empty lines between them. `word` between backticks is bold. A paragraph that starts with the
line \\b stays as it is, line by line, as in Click's help. A paragraph whose first line stands alone and whose other
lines are indented is a term and its explanation.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

SPECIAL = {"\\": r"\e", "-": r"\-", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga", "'": r"\(aq"}
"""Characters that roff would change into typographic ones, or take for commands."""


def escape(text: str) -> str:
    """The text so that it is printed character by character; what is not ASCII is named by its number."""
    return "".join(SPECIAL.get(c, c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)


def bold(text: str) -> str:
    return rf"\fB{escape(text)}\fR"


def italic(text: str) -> str:
    return rf"\fI{escape(text)}\fR"


def inline(text: str) -> str:
    """Running text, in lines that an editor can show; what stands between backticks is bold."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:  # a backtick that stands alone is only a backtick
        return wrapped(escape("`".join(parts)))
    return wrapped("".join(bold(part) if i % 2 else escape(part) for i, part in enumerate(parts) if part))


def wrapped(line: str) -> str:
    """The same line of roff in short lines, none of which starts with a dot or ends like a sentence by accident."""
    found = textwrap.wrap(line, 78, break_long_words=False, break_on_hyphens=False)
    return "\n".join(_guarded(re.sub(r"\.\.\.$", r"...\\&", part)) for part in found)


def _guarded(line: str) -> str:
    """A line that starts with a dot is not a command of ours."""
    return rf"\&{line}" if line.startswith(".") else line


def opening(title: str, section: str, date: str, source: str, manual: str) -> Iterator[str]:
    """The first lines of a page. Names of options and files are not broken, no line or gap is stretched."""
    yield ".nr HY 0"
    yield f'.TH "{escape(title)}" "{section}" "{date}" "{escape(source)}" "{escape(manual)}"'
    yield ".nh"
    yield ".ad l"
    yield ".ss 12 0"


def section(title: str) -> str:
    return f".SH {escape(title)}"


def subsection(title: str) -> str:
    return f".SS {escape(title)}"


def item(term: str, text: str) -> Iterator[str]:
    """A term, already in roff, and its explanation: plain text, whose paragraphs stay below the term."""
    yield ".TP"
    yield term
    for number, paragraph in enumerate(paragraphs_of(text)):
        if number:
            yield ".IP"
        yield inline(paragraph)


def paragraphs_of(text: str) -> list[str]:
    """The text split at its empty lines."""
    return [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text.strip("\n")) if part.strip()]


def body(text: str) -> Iterator[str]:
    """Paragraphs, verbatim blocks, and terms with their explanations, below a heading."""
    first = True
    for paragraph in paragraphs_of(text):
        lines = paragraph.split("\n")
        if lines[0].strip() == "\b":
            yield from verbatim(lines[1:])
        elif len(lines) > 1 and not lines[0].startswith(" ") and all(line.startswith("    ") for line in lines[1:]):
            yield ".TP"
            yield inline(f"`{lines[0]}`") if "`" not in lines[0] else inline(lines[0])
            yield inline(" ".join(lines[1:]))
        else:
            if not first:
                yield ".PP"
            yield inline(paragraph)
        first = False


def verbatim(lines: Iterable[str]) -> Iterator[str]:
    """Lines as they are, indented, in a font of equal widths."""
    yield from (".RS 4", ".sp", ".EX")
    yield from (_guarded(escape(line)) for line in textwrap.dedent("\n".join(lines)).split("\n"))
    yield from (".EE", ".RE")
