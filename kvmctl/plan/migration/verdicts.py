"""Short ways to write down a finding. The words are: what was seen, and how it is mended."""

from __future__ import annotations

from kvmctl.plan.migration.finding import Finding


def ok(code: str, what: str, *, subject: str = "") -> Finding:
    return Finding(code=code, verdict="ok", what=what, subject=subject)


def note(code: str, what: str, hint: str = "", *, subject: str = "") -> Finding:
    return Finding(code=code, verdict="note", what=what, hint=hint, subject=subject)


def warning(code: str, what: str, hint: str = "", *, subject: str = "") -> Finding:
    return Finding(code=code, verdict="warning", what=what, hint=hint, subject=subject)


def blocker(code: str, what: str, hint: str, *, subject: str = "") -> Finding:
    return Finding(code=code, verdict="blocker", what=what, hint=hint, subject=subject)


def unless(overruled: bool, code: str, what: str, hint: str, *, subject: str = "") -> Finding:
    """A blocker that a user can overrule; then it is still a warning."""
    return Finding(code=code, verdict="warning" if overruled else "blocker", what=what, hint=hint, subject=subject)
