"""Migrations by arithmetic for the tests of the pilot: a world, what was measured of it, and all that the pilot said.

`random_world` makes worlds of every kind from a seed: see one again with `flown(random_world(SEED))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kvmctl.plan.migration.course import Course, World, fly
from kvmctl.plan.migration.looked import Looked
from kvmctl.plan.migration.means import Means
from kvmctl.plan.migration.measured import Measured
from kvmctl.plan.migration.pilot import make
from kvmctl.plan.migration.policy import choose
from kvmctl.plan.migration.sample import Sample
from kvmctl.plan.migration.steer import Act, Pilot
from kvmctl.plan.migration.wish import Wish

MIB = 1 << 20
GIGABIT = 119_000_000
COUNT_SECONDS = 2

IDLE = World(memory=512 * MIB, used=192 * MIB, rate=0, working_set=0, link=GIGABIT)
MID = World(memory=512 * MIB, used=256 * MIB, rate=70_000_000, working_set=64 * MIB, link=GIGABIT)
HOT = World(memory=512 * MIB, used=384 * MIB, rate=350_000_000, working_set=360 * MIB, link=GIGABIT)
NOTHING_SEEN = Looked(findings=(), memory=512 * MIB)
NO_POSTCOPY = Looked(findings=(), memory=512 * MIB, no_postcopy="the target's kernel cannot")


def measured(world: World) -> Measured:
    """What a count of two seconds tells of a world."""
    written = round(min(world.rate * COUNT_SECONDS, world.working_set))
    return Measured(
        memory=world.memory,
        used=world.used,
        dirty_rate=written // COUNT_SECONDS,
        working_set=written,
        link=world.link,
    )


class Recorder:
    """A pilot that notes what another says."""

    def __init__(self, pilot: Pilot) -> None:
        self.pilot = pilot
        self.said: list[tuple[Sample, Act]] = []

    def observe(self, sample: Sample) -> Sequence[Act]:
        acts = self.pilot.observe(sample)
        self.said += [(sample, act) for act in acts]
        return acts


@dataclass(frozen=True, kw_only=True)
class Flown:
    course: Course
    means: Means
    said: list[tuple[Sample, Act]]

    @property
    def kinds(self) -> list[str]:
        return [act.kind for _, act in self.said]


def flown(
    world: World, wish: Wish | None = None, looked: Looked = NOTHING_SEEN, known: Measured | None = None
) -> Flown:
    """The means that the policy chooses by what is `known`, and how the pilot fares."""
    wish, known = wish or Wish(), known or measured(world)
    means, _ = choose(known, looked, wish)
    pilot = Recorder(make(means, looked, wish, known))
    return Flown(course=fly(world, means, pilot), means=means, said=pilot.said)


def random_world(seed: int) -> World:
    draw = Random(seed)
    memory = draw.choice((256, 512, 4096, 65536)) * MIB
    used = round(memory * draw.uniform(0.05, 1.0))
    link = round(10 ** draw.uniform(6.5, 9.8))
    return World(
        memory=memory,
        used=used,
        rate=round(link * draw.choice((0, 0.01, 0.3, 0.7, 0.9, 0.99, 1.01, 1.5, 4, 30))),
        working_set=round(used * draw.uniform(0.0, 1.0)),
        link=link,
        compressible=draw.random() < 0.5,
    )
