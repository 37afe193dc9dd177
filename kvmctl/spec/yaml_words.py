"""What the YAML parser complains of, in plain words with something to do about it.

Knows the words of both parsers, libyaml's and PyYAML's own. Only chooses words and place; raises nothing.
"""

from __future__ import annotations

import re

QUOTE = "put the value in quotes if it is meant as text"
TAB = ("a tab is used for indentation", "indent with blanks; YAML does not allow tabs there")

# (what the parser says, what we say, what to do, whether it is told where the construct began)
WORDS: tuple[tuple[str, str, str, bool], ...] = (
    (
        r"mapping values are not allowed",
        "a ':' is not expected here",
        "put a value that has ': ' in it in quotes, or check the indentation",
        False,
    ),
    (
        r"(block )?sequence entries are not allowed|block sequence entries",
        "a list item cannot start here",
        "start each '- ' on a line of its own, below its key",
        False,
    ),
    (r"mapping keys are not allowed", "a '?' is not expected here", QUOTE, False),
    (
        r"could not find expected ':'",
        "there is no ':' after this key",
        "write 'key: value', with a blank after the colon",
        True,
    ),
    (
        r"found unexpected (end of stream|document (indicator|separator))",
        "this quotation mark is never closed",
        "close it with the same mark",
        True,
    ),
    (
        r"unknown escape character|hexdecimal number|hexadecimal|Unicode character escape|UTF-8",
        "this is not a character that '\\' can name in double quotes",
        "write '\\\\' for a backslash, or use single quotes",
        False,
    ),
    (
        r"expected alphabetic or numeric character",
        "'&' and '*' have a meaning of their own in YAML and need a name after them",
        QUOTE,
        False,
    ),
    (r"found a tab character", *TAB, False),
    (
        r"expected comment or (a )?line break|indentation indicator|chomping",
        "nothing may follow '|' or '>' on its line",
        "write the text on the next lines, indented",
        False,
    ),
    (
        r"',' or ']'",
        "a ',' or the closing ']' is missing",
        "separate the items of a list with commas, and close it with ']'",
        False,
    ),
    (
        r"',' or '}'",
        "a ',' or the closing '}' is missing",
        "separate the keys with commas, and close the map with '}'",
        False,
    ),
    (
        r"expected key|expected '-' indicator|expected <block end>",
        "this line does not fit what is above it",
        "check its indentation, and that it is written 'key: value' or '- item'",
        False,
    ),
    (
        r"expected (the )?node content",
        "a value is missing here, or it starts with a character that YAML keeps for itself",
        QUOTE,
        False,
    ),
    (
        r"document start",
        "this does not belong to what is above it",
        "check the indentation, and quotes and brackets before it",
        False,
    ),
    (r"incompatible|%YAML|directive", "this line that starts with '%' is not understood", "leave it out", False),
)


def in_words(problem: str, character: str, indentation: str) -> tuple[str, str, bool]:
    """Message, hint, and whether the place is where the construct began, for what the parser said.

    `character` stands at the place it complains of, `indentation` is the white space that begins the line.
    """
    if character == "\t" or ("\t" in indentation and "cannot start any token" in problem):
        return *TAB, False
    if "cannot start any token" in problem:
        return f"a value cannot start with '{character}'", QUOTE, False
    for pattern, message, hint, began in WORDS:
        if re.search(pattern, problem):
            return message, hint, began
    return f"this is not YAML: {problem}", "check the quotes, brackets and indentation here and above", False
