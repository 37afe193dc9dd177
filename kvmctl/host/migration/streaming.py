"""Files sent from one host to another through our own two connections, holes as holes; and files compared.

For what no QEMU has open for writing. Nothing is read here but what libvirt's storage pools give.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from kvmctl.errors import NotFound
from kvmctl.host.connection import translated
from kvmctl.host.library import libvirt
from kvmctl.host.pools import reached

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

CHUNK = 256 * 1024
"""As much as libvirt sends in one message."""
BLOCK = 64 * 1024
"""Zeros count in whole blocks of this size when files are compared."""
HOLE = -3
"""What a stream gives instead of data where a hole is."""

Hear = Callable[[int], None]
"""Told of bytes of the file as they pass, holes too."""


def reading(host: Host, path: str) -> libvirt.virStream:
    """A stream of what a file has. Nobody keeps others from its directory while it is read."""
    with _volume(host, path) as volume:
        stream = host.conn.newStream(0)
        volume.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
    return stream


def filling(host: Host, path: str) -> libvirt.virStream:
    """A stream into a file that was made of zeros, as long as it is to be."""
    with _volume(host, path) as volume:
        stream = host.conn.newStream(0)
        volume.upload(stream, 0, 0, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
    return stream


@contextmanager
def _volume(host: Host, path: str) -> Iterator[libvirt.virStorageVol]:
    directory, name = posixpath.split(path)
    with reached(host, directory) as pool, translated(doing=f"open {path}", host=host.name):
        if pool is None:
            raise NotFound("file-not-found", f"{host.name} has no directory {directory}")
        yield pool.storageVolLookupByName(name)


def pump(incoming: libvirt.virStream, outgoing: libvirt.virStream, *, work: Work, hear: Hear) -> None:
    """Pass on all that comes, and finish both."""
    with _ended(incoming), _ended(outgoing):
        for piece in _pieces(incoming, work):
            if isinstance(piece, int):
                outgoing.sendHole(piece)
                hear(piece)
            else:
                rest = piece
                while rest:
                    rest = rest[outgoing.send(rest) :]
                hear(len(piece))


def digest(stream: libvirt.virStream, work: Work) -> str:
    """What two files have in common if they have the same content, whatever of their zeros are holes."""
    total = _Sum()
    with _ended(stream):
        for piece in _pieces(stream, work):
            if isinstance(piece, int):
                total.hole(piece)
            else:
                total.data(piece)
    return total.result()


def _pieces(stream: libvirt.virStream, work: Work) -> Iterator[bytes | int]:
    """Data, and the lengths of holes."""
    while True:
        work.check()
        data = stream.recvFlags(CHUNK, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE)
        if data == HOLE:
            yield stream.recvHole()
        elif data:
            yield data
        else:
            return


@contextmanager
def _ended(stream: libvirt.virStream) -> Iterator[None]:
    try:
        yield
        stream.finish()
    except BaseException:
        with suppress(libvirt.libvirtError):
            stream.abort()
        raise


class _Sum:
    """A checksum over the blocks that are not all zero, each with its place."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.at = 0
        self.part = bytearray()
        """What is there of the block at `at`."""

    def data(self, data: bytes) -> None:
        self.part += data
        whole = len(self.part) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._block(bytes(self.part[start : start + BLOCK]))
        del self.part[:whole]

    def hole(self, length: int) -> None:
        if self.part:
            fill = min(length, BLOCK - len(self.part))
            self.data(bytes(fill))
            length -= fill
        if not self.part:
            self.at += length // BLOCK * BLOCK
            self.part += bytes(length % BLOCK)

    def _block(self, block: bytes) -> None:
        if block.count(0) != len(block):
            self.hash.update(self.at.to_bytes(8, "big") + block)
        self.at += len(block)

    def result(self) -> str:
        self._block(bytes(self.part))
        self.hash.update(self.at.to_bytes(8, "big"))
        return self.hash.hexdigest()
