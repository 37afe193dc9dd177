"""The doctor's checks of what is installed and set up: libvirt, QEMU, networks, pools, helper programs. Pure."""

from __future__ import annotations

from shlex import quote

from kvmctl.plan.check_facts import (
    FAILED,
    NOTE,
    OK,
    UNSEEN,
    WARNING,
    HostCheckFacts,
    Result,
    install_for,
    sudo,
    unknown,
    version,
)

OLDEST_LIBVIRT = 9_000_000
"""The oldest version that kvmctl is tested with."""


def libvirt(facts: HostCheckFacts) -> Result:
    if facts.module:
        return FAILED, facts.module, install_for(facts, "libvirt-python", here=True)
    if facts.failure and facts.failure.code != "not-authorised":
        return FAILED, facts.failure.message, _start_daemon(facts)
    if facts.libvirt is None:
        return NOTE, "the host answers, and does not let us in", ""
    said = f"libvirt {version(facts.libvirt)}"
    if facts.kind == "embedded":
        said += ", inside kvmctl itself: no daemon, no networks and pools of libvirt"
    if facts.libvirt < OLDEST_LIBVIRT:
        return WARNING, f"{said}; kvmctl is tested with {version(OLDEST_LIBVIRT)} and later", "update libvirt"
    return OK, said, ""


def _start_daemon(facts: HostCheckFacts) -> str:
    """What to try where nobody answers. The error's own hint may be to call the doctor."""
    hint = facts.failure.hint if facts.failure else ""
    if hint and "host check" not in hint:
        return hint
    if facts.local:
        return f"{sudo(facts)}systemctl start libvirtd.socket; if there is none: {install_for(facts, 'daemon')}"
    return "on that host: systemctl status libvirtd.socket virtqemud.socket; its firewall may be in the way too"


def permissions(facts: HostCheckFacts) -> Result:
    if facts.failure and facts.failure.code == "not-authorised":
        return FAILED, facts.failure.message, facts.failure.hint
    if not facts.connected:
        return unknown()
    if facts.kind == "session":
        return NOTE, "your own VMs only (session), without libvirt's networks", "kvmctl -H qemu:///system …"
    if facts.kind == "embedded":
        return OK, f"VMs run as {facts.user or 'you'}", ""
    return OK, "you may make and manage VMs", ""


def qemu(facts: HostCheckFacts) -> Result:
    if not facts.connected:
        return unknown()
    if facts.hypervisor not in (None, "QEMU"):
        return WARNING, f"the hypervisor is {facts.hypervisor}; kvmctl is made for QEMU", "kvmctl -H qemu:///system …"
    if facts.emulated is not None and facts.arch not in facts.emulated:
        return FAILED, f"no QEMU for {facts.arch} is installed", install_for(facts, "qemu")
    if not facts.hypervisor_version:
        return FAILED, "no QEMU is installed", install_for(facts, "qemu")
    return OK, f"QEMU {version(facts.hypervisor_version)} for {facts.arch}", ""


def network(facts: HostCheckFacts) -> Result:
    if not facts.connected:
        return unknown()
    if facts.networks is None:
        if facts.kind == "embedded":
            fix = f"{install_for(facts, 'daemon')}, then kvmctl -H qemu:///system …"
            return NOTE, "none: guests of the embedded host use user mode networking", fix
        return NOTE, "libvirt has no network driver; guests use bridges or user mode", install_for(facts, "daemon")
    virsh = f"virsh -c {quote(facts.uri)}"
    found = next((network for network in facts.networks if network.name == "default"), None)
    if found is None:
        others = ", ".join(sorted(network.name for network in facts.networks))
        fix = f"{virsh} net-define /usr/share/libvirt/networks/default.xml, then {virsh} net-start default"
        if facts.kind == "session":
            return NOTE, "no network 'default'; a user's own VMs use user mode networking", ""
        return WARNING, "there is no network 'default'" + (f"; there is {others}" if others else ""), fix
    if not found.active and facts.dnsmasq is False:
        reason = "'default' is not started, and dnsmasq, which it needs, is missing"
        return WARNING, reason, install_for(facts, "dnsmasq")
    if not found.active:
        return WARNING, "'default' is not started; VMs on it do not start", f"{virsh} net-start default"
    if not found.autostart:
        return NOTE, "'default' is started, and will not be after a reboot", f"{virsh} net-autostart default"
    return OK, "'default' is started, and starts with the host", ""


def pool(facts: HostCheckFacts) -> Result:
    if not facts.connected:
        return unknown()
    if facts.pools is None:
        if facts.kind == "embedded":
            return OK, f"none needed: disks are files in {facts.images}", ""
        return WARNING, "libvirt's storage driver is not there; new disks cannot be made", install_for(facts, "daemon")
    virsh = f"virsh -c {quote(facts.uri)}"
    found = next((pool for pool in facts.pools if pool.name == "default"), None)
    if found is None:
        return NOTE, "there is no pool 'default'; the first disk made will make it", ""
    if not found.active:
        return NOTE, "'default' is not started; the first disk made will start it", f"{virsh} pool-start default"
    if not found.autostart:
        return NOTE, "'default' is started, and will not be after a reboot", f"{virsh} pool-autostart default"
    return OK, "'default' is started, and starts with the host", ""


def qemu_img(facts: HostCheckFacts) -> Result:
    if facts.qemu_img is None:
        return NOTE, f"{UNSEEN}; libvirt makes the disks there", ""
    if facts.qemu_img:
        return OK, "found", ""
    needed = facts.kind == "embedded"
    reason = "not found" + ("; disks cannot be made" if needed else "; libvirt needs it for disks of some formats")
    return FAILED if needed else WARNING, reason, install_for(facts, "qemu-img")


def swtpm(facts: HostCheckFacts) -> Result:
    if facts.swtpm is None:
        return unknown()
    if facts.swtpm:
        return OK, "found; guests can have a TPM", ""
    return NOTE, "not found, or not all of it; only specs with 'tpm' need it", install_for(facts, "swtpm")


def uefi(facts: HostCheckFacts) -> Result:
    if facts.uefi is None:
        return unknown()
    if not facts.uefi:
        return NOTE, "no firmware for it; only specs with 'firmware: uefi' need it", install_for(facts, "uefi")
    return OK, "found" + (", with secure boot" if facts.secure_boot else ", without secure boot"), ""
