"""What a guest is told of its processors, so that it is true of the host CPUs that its vCPUs are on.

A topology is regular: each socket has as many dies, each die as many cores, each core as many threads. Placements need
not be, so a level that is not the same everywhere is left out. What is told holds: threads of a core in the guest are
threads of one core on the host; a socket is on one node; where a socket has dies, each is one L3 cache, which is how
QEMU gives L3 caches to x86 guests. Where dies are left out, a socket looks like one L3 cache to an x86 guest whatever
the truth: `cache` is then None, and a sentence says so, since a guest without any L3 cache would be worse off. It is no
lie that there are more sockets than nodes: nobody expects sockets to share anything.

`vcpus` are all vCPUs that the VM can ever have (its `cpu.max`): what has no place has no neighbours.

<cache level='3' mode='emulate'/> is what `cache` stands for. It changes nothing for CPU models that QEMU knows, and is
needed with host-passthrough and maximum, which otherwise show the host's cache, shared by as many CPUs as there. The
spec has no key for it. What a guest makes of it hangs on the CPU model: Linux on AMD models sees threads, and the L3
caches of dies, only with the feature topoext, and on those before EPYC-Rome counts eight vCPUs to an L3 cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import gcd
from typing import TYPE_CHECKING

from kvmctl.plan.accelerator import X86
from kvmctl.plan.placement.cells import cells_of
from kvmctl.plan.placement.finding import listed
from kvmctl.spec.model import processor

if TYPE_CHECKING:
    from kvmctl.plan.topology import Topology
    from kvmctl.spec.kinds import CpuSet
    from kvmctl.spec.model.numa import Cell


FEW = 4
"""Of so many things it is told what each has."""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """What the guest is to see. No `cells`: a guest without NUMA nodes. `sentences` say what it cannot see as it is."""

    topology: processor.Topology
    cells: tuple[Cell, ...]
    cache: str | None
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Seat:
    """Where a vCPU is; None for what is not the same on all CPUs that it may run on."""

    cpu: int | None
    core: int | None
    cache: int | None
    socket: tuple[int, int] | None
    node: int | None


def mirror(
    topology: Topology,
    vcpus: Sequence[int | CpuSet],
    memory: Mapping[int, int],
    *,
    page_size: int | None = None,
    arch: str = "x86_64",
) -> Mirror:
    """The guest of a placement: the CPU, or the CPUs, of each vCPU, and bytes of memory by node."""
    seats = [_seat(topology, frozenset({vcpu}) if isinstance(vcpu, int) else vcpu) for vcpu in vcpus]
    socket = _socket_size(seats)
    threads = next(size for size in range(socket, 0, -1) if socket % size == 0 and _are_cores(_blocks(seats, size)))
    die = _die_size(seats, socket, threads) if arch in X86 else socket
    told = arch in X86 and all(_are_one([seat.cache for seat in block]) for block in _blocks(seats, die))
    seen = processor.Topology(
        sockets=len(seats) // socket,
        dies=socket // die if socket > die else None,
        cores=die // threads,
        threads=threads,
    )
    cells, said = cells_of(topology, [seat.node for seat in seats], memory, page_size)
    return Mirror(
        topology=seen,
        cells=cells,
        cache="emulate" if told else None,
        sentences=(*_unlike(seats, seen, arch, told=told), *said),
    )


def _seat(topology: Topology, cpus: CpuSet) -> _Seat:
    known = [topology.cpus[cpu] for cpu in sorted(cpus & topology.cpus.keys())]
    sockets = {(cpu.node, cpu.socket) for cpu in known}
    caches = {cpu.cache for cpu in known}
    nodes = {cpu.node for cpu in known if cpu.node in topology.nodes}
    return _Seat(
        cpu=known[0].number if len(known) == 1 else None,
        core=known[0].core if len(known) == 1 else None,
        cache=caches.pop() if len(caches) == 1 else None,
        socket=sockets.pop() if len(sockets) == 1 else None,
        node=nodes.pop() if len(nodes) == 1 else None,
    )


def _blocks(seats: Sequence[_Seat], size: int) -> Iterator[Sequence[_Seat]]:
    """As QEMU numbers vCPUs: first the threads of a core, then the cores of a die, and so on."""
    return (seats[start : start + size] for start in range(0, len(seats), size))


def _are_one(keys: Sequence[Hashable]) -> bool:
    return keys[0] is not None and len(set(keys)) == 1


def _are_cores(blocks: Iterable[Sequence[_Seat]]) -> bool:
    """Whether each block is one thread, or threads of one core."""
    return all(
        len(block) == 1 or (_are_one([seat.core for seat in block]) and len({seat.cpu for seat in block}) == len(block))
        for block in blocks
    )


def _runs(keys: Sequence[Hashable]) -> list[int]:
    """How many equal keys follow one another."""
    return [len([*run]) for _, run in groupby(keys)]


def _even(keys: Sequence[Hashable]) -> int | None:
    """How many times each key is there, if that is the same for all and they stand together; else None."""
    runs = _runs(keys)
    return runs[0] if None not in keys and len({*keys}) == len(runs) and len({*runs}) == 1 else None


def _socket_size(seats: Sequence[_Seat]) -> int:
    """vCPUs in a socket: those of a host socket, or of a node; at worst so few that no socket is on two nodes."""
    nodes = [seat.node for seat in seats]
    if None in nodes:
        return len(seats)
    return _even([seat.socket for seat in seats]) or _even(nodes) or gcd(*_runs(nodes))


def _die_size(seats: Sequence[_Seat], socket: int, threads: int) -> int:
    """vCPUs in a die: those of an L3 cache if these are as many in all sockets; otherwise the whole socket."""
    sizes = {_even([seat.cache for seat in block]) for block in _blocks(seats, socket)}
    size = sizes.pop() if len(sizes) == 1 else None
    return size if size and size % threads == 0 else socket


def _unlike(seats: Sequence[_Seat], seen: processor.Topology, arch: str, *, told: bool) -> Iterator[str]:
    """Where the guest's topology is not the host's."""
    sockets, threads = seen.sockets or 1, seen.threads or 1
    nodes = Counter(seat.node for seat in seats)
    packages = Counter(seat.socket and seat.socket[1] for seat in seats)
    cut = sockets > max(len(nodes), len({seat.socket for seat in seats}))
    if nodes[None]:
        yield "some vCPUs may run on more than one node: the guest sees one socket"
    elif cut:
        yield (
            f"{_shared(nodes, 'node')}: the guest sees {sockets} sockets, none of them on two nodes; "
            "desktop editions of Windows use two sockets at most"
        )
    elif sockets < len(packages):
        yield f"{_shared(packages, 'socket')}: the guest sees {sockets}"
    cores = Counter(seat.core if seat.core is not None else -1 - number for number, seat in enumerate(seats))
    many = seen.product() // threads
    if many != len(cores):
        yield f"{_shared(cores, 'core')}: the guest sees {many} of {threads} {'thread' if threads == 1 else 'threads'}"
    caches = Counter(seat.cache for seat in seats)
    dies = sockets * (seen.dies or 1)
    if caches[None]:
        yield "some vCPUs may run on more than one L3 cache: the guest is not told which ones share it"
    elif arch in X86 and (not told or (dies != len(caches) and not cut)):
        yield f"{_shared(caches, 'L3 cache')}: the guest sees {dies}"
    elif arch not in X86 and len(caches) > sockets:
        yield f"{_shared(caches, 'L3 cache')}: a guest of {arch} is not told"


def _shared(counted: Counter[int] | Counter[int | None], what: str) -> str:
    """How many vCPUs each of some things has."""
    total, numbers = sum(counted.values()), [*counted.values()]
    said = listed([str(number) for number in numbers]) if len(numbers) <= FEW else str(total)
    said = f"{said} {'vCPU is' if total == 1 else 'vCPUs are'} on {len(numbers)} {what}{'s' * (len(numbers) > 1)}"
    return said if len(numbers) <= FEW else f"{said}, {min(numbers)} to {max(numbers)} on each"
