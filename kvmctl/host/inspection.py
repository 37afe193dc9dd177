"""Looks at one VM: state, live and next-boot configuration, addresses. Five questions at most, however it is made.

Asks nothing that needs QEMU's monitor or the guest's agent, so a QEMU that hangs is shown as quickly as any other.
Never asks for secrets.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kvmctl.host import domains, states
from kvmctl.host.connection import translated
from kvmctl.host.differences import differences
from kvmctl.host.library import libvirt
from kvmctl.host.reading import configuration, identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvmctl.host.connection import Host
    from kvmctl.parallel import Work

FAMILIES = {libvirt.VIR_IP_ADDR_TYPE_IPV4: "ipv4", libvirt.VIR_IP_ADDR_TYPE_IPV6: "ipv6"}


def inspect(host: Host, name: str, work: Work) -> dict[str, Any]:
    """All that `show` shows of a VM, by name or UUID."""
    domain, persistent, (state, reason) = _find(host, name)
    vm, number = domain.name(), domain.ID()
    with translated(vm=vm, doing="look at it", host=host.name):
        now = ElementTree.fromstring(domain.XMLDesc(0))
        running = state not in states.OFF and number >= 0
        later = None
        if running and persistent:
            later = ElementTree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        # A VM without a definition is gone when it stops, so it cannot start with its host.
        autostart = persistent and bool(domain.autostart())
    shown = {
        **domains.summary(host, domain, state),
        "reason": reason or None,
        "id": number if number >= 0 else None,
        **identity(now),
        "autostart": autostart,
        "persistent": persistent,
        "addresses": [],
        **configuration(now),
        "next_boot": None if later is None else configuration(later),
        "differences": [] if later is None else differences(now, later),
    }
    if running and not host.embedded:
        _add_addresses(shown, domain)
    return shown


def _find(host: Host, name: str) -> tuple[libvirt.virDomain, bool, tuple[str, str]]:
    """The domain, whether it is persistent, and its state and reason.

    One question answers all three of nearly every VM: the states of all that are persistent.
    """
    with translated(vm=name, host=host.name):
        known = host.conn.getAllDomainStats(
            libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_PERSISTENT
        )
    wanted = name.lower() if domains.looks_like_uuid(name) else None
    found = [pair for pair in known if pair[0].UUIDString() == wanted] or [
        pair for pair in known if pair[0].name() == name
    ]
    if found:
        domain, answer = found[0]
        return domain, True, states.words(answer.get("state.state", 0), answer.get("state.reason", 0))
    domain = domains.find(host, name)
    with translated(vm=domain.name(), host=host.name):
        return domain, False, states.words(*domain.state())


def _add_addresses(shown: dict[str, Any], domain: libvirt.virDomain) -> None:
    """The addresses that libvirt's networks have leased to the VM; a network of another kind knows none."""
    if not any(card["type"] == "network" for card in shown["networks"]):
        return
    leases: Mapping[str, Any] = {}
    with suppress(libvirt.libvirtError):  # the daemon for networks may be missing; the rest is still worth showing
        leases = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE)
    by_mac = {lease["hwaddr"]: lease["addrs"] or () for lease in leases.values()}
    for card in shown["networks"]:
        card["addresses"] = [
            {"address": found["addr"], "prefix": found["prefix"], "family": FAMILIES.get(found["type"])}
            for found in by_mac.get(card["mac"], ())
        ]
        shown["addresses"] += [found["address"] for found in card["addresses"]]
