"""A volume that a VM needs and that has to be made: what `plan/resolve.py` asks of `host/storage.py`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """How a disk is encrypted, and which secret of its host has the passphrase: by UUID, or by what it is used for."""

    format: str
    uuid: str = ""
    usage: str = ""

    @property
    def secret(self) -> str:
        return self.uuid or self.usage


@dataclass(frozen=True, kw_only=True)
class NewVolume:
    """A disk to make.

    `size` is in bytes; 0 means the size of the backing image. `pool` is the storage pool that makes it, or None where
    there are no pools (the embedded host): then it is a plain file. `name` is its name in the pool. `cluster_size` is
    that of a qcow2 image, 0 for the usual one; only pools know it, and how to make one with `encryption`.
    """

    path: str
    size: int
    format: str
    backing: str | None
    backing_format: str | None
    pool: str | None
    name: str
    cluster_size: int = field(default=0, repr=False)
    encryption: Encryption | None = field(default=None, repr=False)
