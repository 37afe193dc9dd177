"""Gives a VM that exists a device of its host, and takes it away again: what is the same on every bus.

Each of the VM's configurations that are to be changed is changed, and what was given is taken back when a later step
fails. What a guest has to release is waited for; libvirt gives each device its own driver back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from kvmctl.errors import KvmctlError, Refused, TimedOut
from kvmctl.host.connection import translated
from kvmctl.host.domains import summary
from kvmctl.host.library import libvirt
from kvmctl.host.redefining import READ
from kvmctl.spec.xmltext import parse, render

if TYPE_CHECKING:
    from kvmctl.host.configurations import Configurations
    from kvmctl.host.connection import Host
    from kvmctl.host.undoing import Undo
    from kvmctl.parallel import Work

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
GLANCE = 0.25
UNDO_SECONDS = 30.0
"""How long a guest may take to release what it was just given, when that is undone."""
NO_PORT = {
    "No more available PCI slots": "<controller type='pci' model='pcie-root-port'/>",
    "No free USB ports": "<controller type='usb' model='qemu-xhci'/>",
}
"""What libvirt says when a guest has no port left, and what makes ports to spare."""

Of = Callable[[Element], Element | None]
"""Finds the device in a domain."""


def give(found: Configurations, element: Element, name: str, of: Of, undo: Undo) -> None:
    """Add a device, which people know by `name`, wherever it is not yet."""
    text = render(element)
    for flag, document in ((LIVE, found.running), (CONFIG, found.definition)):
        if document is None or of(document) is not None:
            continue
        with translated(vm=found.name, doing=f"give it {name}"):
            try:
                found.domain.attachDeviceFlags(text, flag)
            except libvirt.libvirtError as problem:
                told = problem.get_error_message() or ""
                for said, controller in NO_PORT.items():
                    if said in told:
                        raise _no_port(found.name, controller) from problem
                raise
        undo.add(_taking_back(found.domain, name, of, flag))


def take(found: Configurations, name: str, of: Of, work: Work) -> None:
    """Take a device away wherever it is, and wait until the guest has let go of it."""
    if found.running is not None and of(found.running) is not None:
        release(found.domain, name, of, work)
    if found.definition is not None:
        device = of(found.definition)
        if device is not None:
            with translated(vm=found.name, doing=f"take {name} from its definition"):
                found.domain.detachDeviceFlags(render(device), CONFIG)


def answer(
    host: Host, found: Configurations, names: Sequence[str], *, changed: bool, notes: Sequence[str], dry_run: bool
) -> dict[str, Any]:
    """What `attach` and `detach` say of a VM."""
    return {
        **summary(host, found.domain, found.state),
        "changed": changed,
        "now": found.running is not None,
        "next_boot": found.definition is not None,
        "devices": list(names),
        "notes": list(notes),
        "dry_run": dry_run,
    }


def _taking_back(domain: libvirt.virDomain, name: str, of: Of, flag: int) -> Callable[[], None]:
    def take_back() -> None:
        device = of(_read(domain, flag))
        if device is None:
            return
        domain.detachDeviceFlags(render(device), flag)
        ends = time.monotonic() + UNDO_SECONDS
        while flag == LIVE and of(_read(domain, flag)) is not None:
            if time.monotonic() > ends:
                raise TimedOut("device-held", f"the guest holds on to {name}")
            time.sleep(GLANCE)

    return take_back


def _no_port(vm: str, controller: str) -> Refused:
    return Refused(
        "no-free-port",
        "has no free port for a further device while it runs",
        hint=f"--next-boot gives it the device at its next boot; {controller} in raw_xml: makes ports to spare",
        vm=vm,
    )


def release(domain: libvirt.virDomain, name: str, of: Of, work: Work) -> None:
    """Ask the guest for a device, and wait until it has let go of it."""
    vm = domain.name()
    device = of(_read(domain, LIVE))
    with translated(vm=vm, doing=f"take {name} from it"):
        if device is not None:
            domain.detachDeviceFlags(render(device), LIVE)
        while domain.isActive() and of(_read(domain, LIVE)) is not None:
            try:
                work.check()
            except KvmctlError as problem:
                raise TimedOut(
                    "device-held",
                    f"the guest has not let go of {name}: {problem.message}",
                    hint="unload its driver in the guest and try again, or stop the VM; until then it has the device",
                    vm=vm,
                ) from None
            time.sleep(GLANCE)


def _read(domain: libvirt.virDomain, flag: int) -> Element:
    return parse(domain.XMLDesc(READ if flag == CONFIG else 0))
