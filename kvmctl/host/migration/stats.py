"""libvirt's job statistics as a Sample. What a phase or version leaves out is zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.plan.migration.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmctl.plan.migration.sample import Phase

PAGE = 4096


def sample_of(stats: Mapping[str, Any], phase: Phase) -> Sample:
    """`phase` is what events have told; until post-copy begins, the numbers say it better."""
    return Sample(
        phase=_phase(stats, phase),
        elapsed_ms=stats.get("time_elapsed", 0),
        total=stats.get("memory_total", 0),
        processed=stats.get("memory_processed", 0),
        remaining=stats.get("memory_remaining", 0),
        rate=stats.get("memory_bps", 0),
        dirty_rate=stats.get("memory_dirty_rate", 0) * stats.get("memory_page_size", PAGE),
        iteration=stats.get("memory_iteration", 0),
        throttle=stats.get("auto_converge_throttle", 0),
        downtime_ms=stats.get("downtime", 0),
        disk_total=stats.get("disk_total", 0),
        disk_processed=stats.get("disk_processed", 0),
        disk_remaining=stats.get("disk_remaining", 0),
        xbzrle_bytes=stats.get("compression_bytes", 0),
        xbzrle_misses=stats.get("compression_cache_misses", 0),
    )


def _phase(stats: Mapping[str, Any], phase: Phase) -> Phase:
    if phase in ("postcopy", "postcopy-paused", "finishing"):
        return phase
    if stats.get("memory_total"):
        return "precopy"
    return "disks" if stats.get("disk_total") else "preparing"
