"""What must be set of a virtual function before a VM starts with it: what is asked for, and nothing left of another VM.

Pure. What the function is now is told by `ip -j link show`, of iproute2, for all functions of a card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SAFE = {"trust": False, "spoof_check": True}
"""What a function is of which nothing is said."""
WORDS = {"trust": "trust", "spoof_check": "spoofchk"}
"""What `ip` calls it."""
SAID = {True: True, False: False, "on": True, "off": False}


def risky(said: Mapping[str, bool]) -> tuple[str, ...]:
    """What is asked for that is not safe, as a spec says it."""
    return tuple(f"{key}: {str(value).lower()}" for key, value in said.items() if value != SAFE[key])


def told(text: str) -> dict[int, dict[str, bool]]:
    """Each function of a card by its number. What its driver does not know is left out."""
    links: Any = json.loads(text)
    return {
        function["vf"]: {key: SAID[function[word]] for key, word in WORDS.items() if function.get(word) in SAID}
        for link in links
        for function in link.get("vfinfo_list", ())
    }


def changes(said: Mapping[str, bool], now: Mapping[str, bool]) -> dict[str, bool]:
    """What must be set. A driver that does not tell can do nothing unsafe, unless one has it try."""
    wanted = {**SAFE, **said}
    return {key: value for key, value in wanted.items() if now.get(key, SAFE[key]) != value}
