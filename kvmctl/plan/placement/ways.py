"""How many of the cores that cannot be told apart to use with one thread, with two, and so on."""

from __future__ import annotations

from collections.abc import Iterator


def ways(count: int, most: int, wanted: int) -> Iterator[tuple[int, ...]]:
    """All ways that can be best to use `count` like cores of at most `most` threads, for at most `wanted` vCPUs.

    With at most two threads the sum is linear in the number of cores used with both, so only the ends of its range
    matter, and the end at which one core more is left over.
    """
    if most == 1:
        yield from ((ones,) for ones in range(min(count, wanted) + 1))
    elif most == 2:
        for vcpus in range(min(2 * count, wanted) + 1):
            least, utmost = max(0, vcpus - count), vcpus // 2
            for twos in {utmost, least, min(least + 1, utmost)}:
                yield vcpus - 2 * twos, twos
    else:
        yield from _compositions(count, most, wanted)


def _compositions(count: int, most: int, wanted: int) -> Iterator[tuple[int, ...]]:
    """All counts of cores by threads used, with at most `count` cores and `wanted` threads."""
    if most == 0:
        yield ()
        return
    for cores in range(min(count, wanted // most) + 1):
        for fewer in _compositions(count - cores, most - 1, wanted - cores * most):
            yield (*fewer, cores)
