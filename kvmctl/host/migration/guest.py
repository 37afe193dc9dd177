"""The VM that is to move, as its own host tells of it: definition, state, snapshots, jobs. Changes nothing."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from kvmctl.host import bounded
from kvmctl.host.connection import or_nothing, translated
from kvmctl.host.library import libvirt
from kvmctl.host.pools import described
from kvmctl.host.reading import size
from kvmctl.host.storage import DIRECTORIES
from kvmctl.host.tenants import tenant_of
from kvmctl.plan.migration.disk import disks_of
from kvmctl.plan.migration.ends import Guest
from kvmctl.spec.xmltext import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.disk import Disk

Answer = TypeVar("Answer")

KIB = 1024
QEMU_SECONDS = 3.0
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
MIGRATABLE = libvirt.VIR_DOMAIN_XML_MIGRATABLE

FAULTS = {
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR): "a disk had an error",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_WATCHDOG): "its watchdog found it hanging",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): "the guest crashed",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): "an earlier migration broke half-way",
    (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): "an earlier migration did not end",
}

JOBS = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: "it is being saved",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: "it is arriving by migration",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: "it is being migrated",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: "a snapshot is being made",
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: "its memory is being dumped",
    libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: "a backup is being made",
}


def guest(host: Host, domain: libvirt.virDomain) -> Guest:
    """The facts of the VM."""
    with translated(vm=domain.name(), doing="look at it", host=host.name):
        state, reason = domain.state()
        running = bool(domain.isActive())
        persistent = bool(domain.isPersistent())
        xml = parse(domain.XMLDesc(0 if running else INACTIVE))
        cpu = parse(domain.XMLDesc(MIGRATABLE)).find("cpu") if running else xml.find("cpu")
        job = _job(domain) if running else ""
        return Guest(
            name=domain.name(),
            uuid=domain.UUIDString(),
            xml=xml,
            disks=tuple(_located(host, disk) for disk in disks_of(xml)),
            cpu=cpu,
            running=running,
            persistent=persistent,
            autostart=persistent and bool(domain.autostart()),
            memory=size(xml.find("memory")) or 0,
            resident=_resident(domain) if running and not job else None,
            held=state == libvirt.VIR_DOMAIN_PAUSED,
            failed=FAULTS.get((state, reason), "") if not job else "",
            saved=persistent and not running and bool(domain.hasManagedSaveImage()),
            snapshots=or_nothing(domain.snapshotNum, 0),
            checkpoints=len(or_nothing(lambda: domain.listAllCheckpoints(0), [])),
            job=job,
            tenant=tenant_of(xml, running=running),
        )


def _located(host: Host, disk: Disk) -> Disk:
    """With its path, where it is a volume in a pool that knows it."""
    if not disk.pool:
        return disk
    with suppress(libvirt.libvirtError):
        pool = host.conn.storagePoolLookupByName(disk.pool)
        with suppress(libvirt.libvirtError):
            return replace(disk, path=pool.storageVolLookupByName(disk.volume).path())
        what = described(pool)
        if what.type in DIRECTORIES:  # which may not have been looked at since the file came
            return replace(disk, path=posixpath.join(what.path, disk.volume))
    return disk


def _job(domain: libvirt.virDomain) -> str:
    """What works on the VM now, in a word; nothing if nothing does."""
    stats = _within(domain.jobStats) or {}
    if not stats.get("type"):
        return ""
    return JOBS.get(stats.get("operation", 0), "a job")


def _resident(domain: libvirt.virDomain) -> int | None:
    """What its QEMU has of the host's memory."""
    told = (_within(domain.memoryStats) or {}).get("rss")
    return None if told is None else int(told) * KIB


def _within(question: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """The answer to what may have to ask QEMU, which does not always answer."""
    try:
        return or_nothing(lambda: bounded.call(question, QEMU_SECONDS), None)
    except TimeoutError:
        return None
