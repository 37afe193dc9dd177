"""Candidates for completion: VM names, hosts, templates, specs. Quick and silent: never raises, never prints.

VM names come from the host chosen on the command line so far, with one call, within `LIMIT` seconds. The embedded
host is not opened for them: another command may hold it, and its directory has a file for each VM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from click.shell_completion import CompletionItem

from kvmctl.completion import files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import click

    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.plan.pci.facts import Device

Found = TypeVar("Found")

LIMIT = 2.0
"""Seconds after which a person has stopped waiting for TAB."""

MOST = 200
"""So many devices are offered; a host may have thousands."""

SPEC_SUFFIXES = ".yaml .yml"


def vm_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """VMs of the host, with their states; those already on the command line are left out."""
    given = ctx.params.get(parameter.name or "") or ()
    return _vm_names(ctx, given if isinstance(given, tuple | list) else (given,), incomplete)


def vms_and_host(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """VMs, and behind a VM the hosts too: the last of several words is the host that the VMs go to."""
    last = ctx.params.get("destination")
    given = (*(ctx.params.get(parameter.name or "") or ()), *([last] if last else []))
    goes = given and not any(ctx.params.get(name) for name in ("status", "cancel", "recover"))
    return [*(hosts(ctx, parameter, incomplete) if goes else ()), *_vm_names(ctx, given, incomplete)]


def hosts(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Hosts that VMs can move to or from."""
    return [CompletionItem(name, help="host") for name in host_names(incomplete) if name != "embedded"]


def _vm_names(ctx: click.Context, given: Collection[str], incomplete: str) -> list[CompletionItem]:
    from kvmctl.app import App

    app = ctx.find_object(App)
    if app is None:
        return []
    found = _within_limit(app, lambda: _vms(app.target()))
    return [
        CompletionItem(name, help=state)
        for name, state in sorted(found)
        if name.startswith(incomplete) and name not in given
    ]


def specs_or_vms(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """VM names where any fits, else files; a word with a slash or a dot is a file."""
    found = [] if incomplete.startswith((".", "/", "~")) else vm_names(ctx, parameter, incomplete)
    return found or files(SPEC_SUFFIXES)


def spec_files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files that look like specs."""
    return files(SPEC_SUFFIXES)


def every_host(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Hosts that can be spoken to."""
    return host_names(incomplete)


def host_names(incomplete: str) -> list[str]:
    """The hosts of the configuration file, and the embedded one."""

    def names() -> list[str]:
        from kvmctl.host.targets import EMBEDDED, configured

        return [*(target.name for target in configured()), EMBEDDED]

    return [name for name in _quietly(names) if name.startswith(incomplete)]


def template_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The starter specs that come with kvmctl."""

    from kvmctl.commands._specs import templates

    return [name for name in _quietly(templates) if name.startswith(incomplete)]


def pci_devices(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Addresses, interfaces and disks of the host's PCI devices."""
    return _from_host(ctx, incomplete, _devices)


def attachable(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a VM can be given: devices, and mdevs by their types."""
    return _from_host(ctx, incomplete, lambda target: _devices(target, mdevs=True))


def mdev_types(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Types of mdevs that the host can make, with what their drivers call them."""
    return _from_host(ctx, incomplete, _mdev_types)


def mdev_uuids(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The mdevs that there are, with their types."""
    return _from_host(ctx, incomplete, _mdev_uuids)


def usb_devices(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The host's USB devices by port and by vendor:product."""
    return _from_host(ctx, incomplete, _usb_devices)


def scsi_devices(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The host's SCSI devices by address, by name, and by WWN or serial number."""
    return _from_host(ctx, incomplete, _scsi_devices)


def _from_host(
    ctx: click.Context, incomplete: str, names: Callable[[Target], list[tuple[str, str]]]
) -> list[CompletionItem]:
    """What a host tells, each name with what it is."""
    from kvmctl.app import App

    app = ctx.find_object(App)
    if app is None:
        return []
    found = sorted(_within_limit(app, lambda: names(app.target())))
    return [CompletionItem(name, help=what) for name, what in found if name.startswith(incomplete)][:MOST]


def _mdev_types(target: Target) -> list[tuple[str, str]]:
    return _types(_known(target))


def _types(known: Mapping[str, Device]) -> list[tuple[str, str]]:
    return list({kind.id: kind.name for device in known.values() for kind in device.mdev_types}.items())


def _mdev_uuids(target: Target) -> list[tuple[str, str]]:
    from kvmctl.host.connection import connect
    from kvmctl.host.pci import nodes

    with connect(target, timeout=LIMIT, readonly=True) as host:
        found = nodes.mdevs(host, nodes.described(host, nodes.MDEV) or {})
    return [(mdev.uuid, mdev.type) for mdev in found.values()]


def _known(target: Target) -> dict[str, Device]:
    """The devices of a host; of this machine without asking libvirt."""
    from kvmctl.host import machine
    from kvmctl.host.pci import nodes, sysfs

    if machine.is_here(target):
        return sysfs.devices()
    from kvmctl.host.connection import connect

    with connect(target, timeout=LIMIT, readonly=True) as host:
        return nodes.devices_of(nodes.described(host, nodes.PCI | nodes.NET | nodes.STORAGE) or {})


def _devices(target: Target, *, mdevs: bool = False) -> list[tuple[str, str]]:
    """What devices can be called, with what each is; bridges are no choice. `mdevs`: types of those too."""
    from kvmctl.plan.pci.classes import named
    from kvmctl.plan.pci.find import names_of
    from kvmctl.plan.pci.verdict import is_board

    known = _known(target)
    return [
        *((f"mdev:{kind}", what) for kind, what in (_types(known) if mdevs else ())),
        *(
            (name, named(device.class_code))
            for device in known.values()
            if not is_board(device)
            for name in (device.address, *names_of(device))
        ),
    ]


def _usb_devices(target: Target) -> list[tuple[str, str]]:
    """What they can be called, with what each is; hubs are no choice."""
    from kvmctl.host.usb import nodes, sysfs

    return [
        (name, device.product_name or device.ids)
        for device in _seen(target, nodes, sysfs)
        if not device.is_hub
        for name in (device.port, device.ids)
    ]


def _scsi_devices(target: Target) -> list[tuple[str, str]]:
    """What they can be called, with what each is."""
    from kvmctl.host.scsi import nodes, sysfs

    return [
        (name, device.product or device.kind)
        for device in _seen(target, nodes, sysfs)
        for name in (device.address, *device.nodes, *device.paths, device.wwn, device.serial)
        if name
    ]


def _seen(target: Target, nodes: Any, sysfs: Any) -> Collection[Any]:
    """The devices of a bus that these two modules see; of this machine without asking libvirt."""
    from kvmctl.host import machine

    if machine.is_here(target):
        return sysfs.devices().values()  # type: ignore[no-any-return]
    from kvmctl.host.connection import connect
    from kvmctl.host.pci.nodes import described

    with connect(target, timeout=LIMIT, readonly=True) as host:
        return nodes.devices_of(described(host, nodes.KINDS) or {}).values()  # type: ignore[no-any-return]


def _vms(target: Target) -> list[tuple[str, str]]:
    """Name and state of each VM; of the embedded host's VMs the state is not known."""
    if target.embedded:
        return [(name, "") for name in _embedded_vms(target.uri)]
    from kvmctl.host.connection import connect
    from kvmctl.host.domains import list_vms

    with connect(target, timeout=LIMIT, readonly=True) as host:
        return [(vm["name"], vm["state"]) for vm in list_vms(host)]


def _embedded_vms(uri: str) -> list[str]:
    """libvirt keeps ROOT/etc/qemu/NAME.xml for a VM, and ROOT/run/qemu/NAME.xml for one that is gone when it stops."""
    import os
    from urllib.parse import unquote

    root = unquote(uri.partition("root=")[2].partition("&")[0])
    found: set[str] = set()
    for folder in ("etc/qemu", "run/qemu"):
        if os.path.isdir(path := os.path.join(root, folder)):
            found.update(entry.removesuffix(".xml") for entry in os.listdir(path) if entry.endswith(".xml"))
    return list(found)


def _within_limit(app: App, names: Callable[[], list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """What the function finds in time. A thread that libvirt still holds then is left behind."""
    from threading import Thread

    found: list[tuple[str, str]] = []
    thread = Thread(target=lambda: found.extend(_quietly(names)), daemon=True)
    thread.start()
    thread.join(LIMIT)
    app.abandoned = app.abandoned or thread.is_alive()
    return list(found)


def _quietly(function: Callable[[], list[Found]]) -> list[Found]:
    """What the function finds, or nothing if it fails."""
    try:
        return function()
    except Exception:  # noqa: BLE001 - nobody can read an error in the middle of a line
        return []
