"""What a VM would meet on the host that it moves to: other VMs, networks, pools, secrets, memory.

Asked only as far as this VM needs it. Changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar
from xml.etree import ElementTree

from kvmctl.host import many, offers
from kvmctl.host.library import libvirt
from kvmctl.host.messages import is_connection_loss
from kvmctl.host.pools import PASSING
from kvmctl.host.tenants import definition, tenant_of
from kvmctl.plan.migration.ends import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.plan.migration.ends import Guest

Answer = TypeVar("Answer")

ACTIVE = libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE
NAMED = re.compile(r"net_(.+?)(?:_[0-9a-f]{2}){6,}")


def met(host: Host, guest: Guest) -> dict[str, Any]:
    """The fields of `End` that only the target's has."""
    conn, cards = host.conn, guest.xml.findall("devices/interface")
    kinds = {card.get("type") for card in cards}
    texts = many.ask(conn.listAllDomains(0), definition)
    others = [ElementTree.fromstring(text) for text in texts if text]
    total, free = offers.memory(host)
    networks = offers.networks(host)
    return {
        "tenants": tuple(tenant_of(each, running=each.get("id") is not None) for each in others),
        "ports": {port: each.findtext("name") or "" for each in others for port in ports(each)},
        "memory": total,
        "memory_free": free,
        "networks": None if networks is None else {each.name: each.active for each in networks},
        **(_interfaces(host) if kinds & {"bridge", "direct"} else {}),
        "secrets": _secrets(host) if next(guest.xml.iter("secret"), None) is not None else None,
        "filters": _names(lambda: conn.listAllNWFilters(0))
        if any(card.find("filterref") is not None for card in cards)
        else None,
    }


def pools(host: Host) -> dict[str, Pool] | None:
    """All pools, with where they have their content from."""
    found = _or_none(lambda: host.conn.listAllStoragePools(0))
    if found is None:
        return None
    return {
        name: Pool(
            type=tree.get("type", ""),
            path=tree.findtext("target/path") or "",
            active=active,
            source=content(tree),
        )
        for name, active, tree in _described(found)
    }


def _described(found: Iterable[libvirt.virStoragePool]) -> Iterator[tuple[str, bool, Element]]:
    for pool in found:
        if not pool.name().startswith(PASSING):
            text = _or_none(lambda pool=pool: pool.XMLDesc(0))  # type: ignore[misc]
            if text:
                yield pool.name(), bool(pool.isActive()), ElementTree.fromstring(text)


def content(pool: Element) -> str:
    """Host, directory, device and name; not who asks, nor how."""
    source = pool.find("source")
    parts = () if source is None else (part for part in source if part.tag in ("host", "dir", "device", "name"))
    told = (f"{part.tag}:{(part.text or '').strip()}{sorted(part.attrib.items())}" for part in parts)
    return " ".join(sorted(told))


def ports(domain: Element) -> Iterator[int]:
    """TCP ports that a running VM listens on."""
    if domain.get("id") is None:
        return
    for screen in domain.iterfind("devices/graphics"):
        for name in ("port", "tlsPort", "websocket"):
            yield from _number(screen.get(name, ""))
    for source in domain.iterfind("devices/*/source[@mode='bind']"):
        yield from _number(source.get("service", ""))


def _number(text: str) -> Iterator[int]:
    if text.isdecimal() and int(text):
        yield int(text)


def _interfaces(host: Host) -> dict[str, Any]:
    """Bridges and network devices, by all who know of some; the lists have gaps of their own.

    Bridges that libvirt did not make are known to its interface driver alone, which is a package of its own on some.
    """
    conn = host.conn
    devices = _or_none(lambda: conn.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET))
    known = _names(lambda: conn.listAllInterfaces(0))
    if known is None and devices is None:
        return {}
    bridges = _or_none(lambda: [ElementTree.fromstring(each.XMLDesc(0)) for each in conn.listAllNetworks(ACTIVE)]) or ()
    names = (
        *(known or ()),
        *(NAMED.sub(r"\1", each.name()) for each in devices or ()),
        *(name.get("name", "") for each in bridges for name in each.iterfind("bridge")),
    )
    return {"interfaces": frozenset(names), "cards_only": known is None}


def _secrets(host: Host) -> frozenset[str] | None:
    found = _or_none(lambda: host.conn.listAllSecrets(0))
    if found is None:
        return None
    return frozenset(name for secret in found for name in (secret.UUIDString(), secret.usageID()) if name)


def _names(question: Callable[[], Iterable[Any]]) -> frozenset[str] | None:
    found = _or_none(question)
    return None if found is None else frozenset(each.name() for each in found)


def _or_none(question: Callable[[], Answer]) -> Answer | None:
    """The answer; None if this host has nobody to answer such a question."""
    try:
        return question()
    except libvirt.libvirtError as problem:
        if is_connection_loss(problem):
            raise
        return None
