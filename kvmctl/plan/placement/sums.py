"""The criteria that add up over cores and L3 groups, packed into one number.

Adding two such numbers adds each criterion, and comparing them compares the most important criterion that differs.
"""

from __future__ import annotations

FIELDS = ("overcommit", "neighbours", "caches", "cores", "fragments")
BITS = 32
WEIGHT = {name: 1 << BITS * place for place, name in enumerate(reversed(FIELDS))}
"""The digits of a sum are the criteria, the most important first."""


def unpacked(total: int) -> dict[str, int]:
    """Each criterion by its name."""
    digits = [(total >> BITS * place) & ((1 << BITS) - 1) for place in range(len(FIELDS))]
    return dict(zip(reversed(FIELDS), digits, strict=True))
