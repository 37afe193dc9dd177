"""The one libvirt call that moves a VM, with the flags and parameters that an order comes to.

It blocks until all is over, for hours perhaps: `move` makes it in a thread of its own and watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmctl.host.library import libvirt
from kvmctl.plan.migration.copies import share

if TYPE_CHECKING:
    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.order import Order

MIB = 1 << 20


def migrate(domain: libvirt.virDomain, target: Host, order: Order) -> None:
    """Move the VM; libvirtError if that fails."""
    flags = flags_of(order)
    if order.peer_uri is not None:
        domain.migrateToURI3(order.peer_uri, parameters_of(order), flags)
    else:
        domain.migrate3(target.conn, parameters_of(order), flags)


def flags_of(order: Order) -> int:
    """libvirt's VIR_MIGRATE_* for an order."""
    means = order.means
    chosen = {
        libvirt.VIR_MIGRATE_PEER2PEER: order.peer_uri is not None,
        libvirt.VIR_MIGRATE_LIVE: order.running,
        libvirt.VIR_MIGRATE_OFFLINE: not order.running,
        libvirt.VIR_MIGRATE_PERSIST_DEST: order.persistent,
        # With a safe switch the definition here goes when the VM runs there, and not before.
        libvirt.VIR_MIGRATE_UNDEFINE_SOURCE: order.persistent and not order.safe_switch,
        libvirt.VIR_MIGRATE_PAUSED: order.safe_switch and order.running,
        libvirt.VIR_MIGRATE_ABORT_ON_ERROR: order.running,
        libvirt.VIR_MIGRATE_UNSAFE: order.unsafe,
        libvirt.VIR_MIGRATE_TLS: order.tls and order.running,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK: bool(order.copied_disks) and not order.copied_layers,
        libvirt.VIR_MIGRATE_NON_SHARED_INC: bool(order.copied_disks) and order.copied_layers,
        # From libvirt 8.0 on; whether both ends have it was asked before.
        libvirt.VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES: bool(order.copied_disks) and order.writes_wait,
        libvirt.VIR_MIGRATE_POSTCOPY: order.running and means.postcopy,
        libvirt.VIR_MIGRATE_AUTO_CONVERGE: order.running and means.auto_converge is not None,
        libvirt.VIR_MIGRATE_COMPRESSED: order.running and means.xbzrle_cache is not None,
        libvirt.VIR_MIGRATE_PARALLEL: order.running and means.connections is not None,
    }
    return sum(flag for flag, wanted in chosen.items() if wanted)


def parameters_of(order: Order) -> dict[str, Any]:
    """libvirt's VIR_MIGRATE_PARAM_* for an order."""
    means = order.means
    given: dict[str, Any] = {
        libvirt.VIR_MIGRATE_PARAM_URI: order.migrate_uri,
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: order.target_xml,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: order.persistent_xml,
        libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: list(order.copied_disks) or None,
    }
    if order.running:
        initial, increment = means.auto_converge or (None, None)
        given |= {
            # libvirt gives it to each disk, and then to memory: `move` raises it when the disks are in sync.
            libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: means.bandwidth
            and max(1, share(means.bandwidth, len(order.copied_disks)) // MIB),
            libvirt.VIR_MIGRATE_PARAM_COMPRESSION: means.xbzrle_cache and "xbzrle",
            libvirt.VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE: means.xbzrle_cache,
            libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL: initial,
            libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT: increment,
            libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS: means.connections,
        }
    return {name: value for name, value in given.items() if value is not None}
