"""Why a guest cannot be switched to post-copy: run at the target while part of its memory is still here. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.migration import check_storage
from kvmctl.plan.migration.verdicts import blocker, note

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding

GIB = 2**30


def postcopy(ends: Ends) -> Iterator[Finding]:
    found = reasons(ends)
    if (
        not found
        or ends.wish.postcopy is False
        or not ends.guest.running
        or (ends.guest.held and not ends.wish.postcopy)
    ):
        return
    what = f"post-copy is impossible: {'; '.join(found)}"
    if ends.wish.postcopy:
        yield blocker("postcopy-impossible", what, "leave out --postcopy")
    else:
        yield note("postcopy-impossible", what, "a guest that writes faster than the link may need a longer pause")


def reasons(ends: Ends) -> tuple[str, ...]:
    return tuple(_reasons(ends))


def _reasons(ends: Ends) -> Iterator[str]:
    if ends.guest.held:
        yield "its guest is paused"
    xml, tenant = ends.xml, ends.guest.tenant
    pages = tenant.page_size if tenant is not None else None
    if pages is not None and pages >= GIB:
        yield "its huge pages are so large that the guest would stand still for each that is fetched"
    kind = xml.find("memoryBacking/source")
    if kind is not None and kind.get("type") == "file" and pages is None:
        yield "its memory is a file, in which QEMU cannot wait for pages"
    if xml.find("devices/memory[@model='nvdimm']") is not None:
        yield "an NVDIMM is a file, in which QEMU cannot wait for pages"
    if xml.find("devices/interface[@type='vhostuser']") is not None:
        yield "who serves its vhost-user network device would have to wait for pages as well"
    if ends.carried:
        yield "the state of a device goes along, which QEMU can only save while the guest is here"
    if not check_storage.lockable(ends):
        yield "its storage does not keep two hosts from writing, so it arrives paused and runs when it is off here"
