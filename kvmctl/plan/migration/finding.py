"""One thing that was looked at before a migration: what was seen, what it means, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Verdict = Literal["ok", "note", "warning", "blocker"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""The worst last."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`code` is stable and kebab-case; `subject` names the disk, network or device it is about, if it is about one."""

    code: str
    verdict: Verdict
    what: str
    hint: str = ""
    subject: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("code", "verdict", "subject", "what", "hint")}
