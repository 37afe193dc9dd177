"""The cable between the lab's hosts, made slow or cut. Its speed is shaped where each host sends.

with shaped(lab.hosts, "1gbit"): ...
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tests.lab.hosts import Host

# A frame of a virtual cable may hold 64 KiB, so a burst holds a few; a short queue, as in a real card.
SHAPE = "tc qdisc replace dev cable root tbf rate {rate} burst 256kb latency 20ms"


def shape(hosts: Sequence[Host], rate: str) -> None:
    """`rate` is in the words of tc: 1gbit, 250mbit."""
    for host in hosts:
        host.run(SHAPE.format(rate=rate))


def free(hosts: Sequence[Host]) -> None:
    """As fast as it can be."""
    for host in hosts:
        host.run("tc qdisc del dev cable root", check=False)


@contextlib.contextmanager
def shaped(hosts: Sequence[Host], rate: str) -> Iterator[None]:
    shape(hosts, rate)
    try:
        yield
    finally:
        free(hosts)


@contextlib.contextmanager
def unplugged(host: Host) -> Iterator[None]:
    """The cable hangs loose at this host: its card has no carrier, and its far end has none."""
    host.run("ip link set cable down")
    try:
        yield
    finally:
        host.run("ip link set cable up")
