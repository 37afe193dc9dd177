"""libvirt, QEMU, machine type, firmware and TPM at the target. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kvmctl.plan.check_facts import version
from kvmctl.plan.migration.verdicts import blocker, warning

if TYPE_CHECKING:
    from kvmctl.plan.migration.ends import Ends
    from kvmctl.plan.migration.finding import Finding

MINOR = 1000
"""Versions that differ by less are the same with fewer faults."""


def software(ends: Ends) -> Iterator[Finding]:
    yield from _versions(ends)
    yield from _machine(ends)
    yield from _firmware(ends)
    yield from _tpm(ends)
    yield from _security(ends)


def _versions(ends: Ends) -> Iterator[Finding]:
    source, target = ends.source, ends.target
    if target.libvirt // MINOR < source.libvirt // MINOR:
        what = f"libvirt of {target.name} is older: {version(target.libvirt)}, here {version(source.libvirt)}"
        yield warning("libvirt-older", what, f"upgrade libvirt on {target.name}: what is new may not be known there")
    if source.qemu and target.qemu and target.qemu // MINOR < source.qemu // MINOR and ends.guest.running:
        what = f"QEMU of {target.name} is older: {version(target.qemu)}, here {version(source.qemu)}"
        yield warning("qemu-older", what, f"upgrade QEMU on {target.name}: a move to an older one is not promised")


def _machine(ends: Ends) -> Iterator[Finding]:
    target, kind = ends.target, ends.xml.get("type", "kvm")
    operating = ends.xml.find("os/type")
    machine = "" if operating is None else operating.get("machine", "")
    if not target.machines:
        return
    arches = {arch for arch, _ in target.machines}
    emulator = ends.xml.findtext("devices/emulator") or ""
    if ends.arch not in arches:
        what = f"{target.name} has no QEMU for {ends.arch}"
        yield blocker("qemu-missing", what, f"install it there: kvmctl host check -H {target.name}")
    elif (ends.arch, kind) not in target.machines:
        what = f"{target.name} has no {'KVM' if kind == 'kvm' else kind} for {ends.arch}"
        yield blocker("accelerator-missing", what, f"kvmctl host check -H {target.name} says why")
    elif machine and machine not in target.machines[ends.arch, kind]:
        what = f"QEMU of {target.name} has no machine type {machine}"
        hint = f"upgrade QEMU on {target.name}"
        if not ends.guest.running:
            hint += f", or change the machine type: kvmctl host show -H {target.name} shows which there are"
        yield blocker("machine-missing", what, hint)
    elif ends.fit.problem:
        what = f"{target.name} cannot run {emulator or 'its emulator'}: {ends.fit.problem}"
        yield blocker("emulator-missing", what, f"install it on {target.name} at the same path")


def _firmware(ends: Ends) -> Iterator[Finding]:
    for place in ("os/loader", "os/nvram[@template]", "os/kernel", "os/initrd", "os/dtb"):
        element = ends.xml.find(place)
        if element is None:
            continue
        path = element.get("template") or (element.text or "").strip()
        sight = ends.sights.get(path)
        if not path or path in ends.fit.loaders or sight is None or sight.present is not False:
            continue
        firmware = element.tag in ("loader", "nvram")
        what = f"{ends.target.name} has no {sight.there}, its {'firmware' if firmware else element.tag}"
        hint = f"install the same firmware on {ends.target.name}" if firmware else f"copy it to {ends.target.name}"
        yield blocker("firmware-missing" if firmware else "kernel-missing", what, hint, subject=path)


def _tpm(ends: Ends) -> Iterator[Finding]:
    for backend in ends.xml.iterfind("devices/tpm/backend[@type='emulator']"):
        known, wanted = ends.fit.tpm_backends, backend.get("version")
        if known is not None and "emulator" not in known:
            what = f"{ends.target.name} cannot emulate a TPM"
            yield blocker("tpm-missing", what, f"install swtpm and swtpm-tools on {ends.target.name}")
        elif wanted and ends.fit.tpm_versions and wanted not in ends.fit.tpm_versions:
            what = f"the TPM emulator of {ends.target.name} knows no version {wanted}"
            yield blocker("tpm-older", what, f"upgrade swtpm on {ends.target.name}")


def _security(ends: Ends) -> Iterator[Finding]:
    for label in ends.xml.iterfind("seclabel[@type='static']"):
        model = label.get("model", "")
        if model and model not in ends.target.security:
            what = f"it has a label of its own for {model}, which {ends.target.name} does not use"
            yield blocker("security-model", what, "remove <seclabel> from its definition, and restart it")
