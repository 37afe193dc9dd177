"""Devices of a real host in guests under KVM: chosen, given, taken away, fought over, and given back after a crash."""

from __future__ import annotations

import libvirt

from kvmctl.host.pci.holders import assigned
from kvmctl.plan.pci.trust import told
from kvmctl.spec.xmltext import parse
from tests.lab.waiting import until, until_said
from tests.metal.conftest import GUEST_SECONDS, Spec
from tests.metal.guest import BLOCK, COMMAND_LINE, READY, WRITTEN
from tests.metal.machine import Machine

CARD, FUNCTION, DISK, BUS = "0000:01:00.0", "0000:01:10.0", "0000:81:00.0", "0000:00:1f.3"
SYSTEM = "0000:00:01.0"
MAC = "52:54:00:00:00:11"
WORK = COMMAND_LINE.replace("pci=lastbus=0", "work=devices")
"""The guest looks for devices on all buses, since those that it is given are behind ports, and uses them."""
FROM_HOST = "the host was it!"
SPEC = f"""
boot: {{kernel: /srv/guest/kernel, initrd: /srv/guest/initrd, cmdline: "{WORK}"}}
pci: [nvme]
networks: [{{hostdev: "vf_of:enp1s0", mac: "{MAC}", vlan: 42, trust: true}}]
"""


def driver(metal: Machine, address: str) -> str:
    place = f"/sys/bus/pci/devices/{address}/driver"
    return metal.run(["sh", "-c", f"basename $(readlink {place} || echo none)"]).stdout.strip()


def devices(metal: Machine, vm: str) -> list[str]:
    connection = libvirt.open(metal.outside_uri)
    found = [address for address, _ in assigned(parse(connection.lookupByName(vm).XMLDesc(0)))]
    connection.close()
    return found


def functions(metal: Machine) -> dict[int, dict[str, bool]]:
    """What each function of the card is set to."""
    return told(metal.run("ip -j link show dev enp1s0").stdout)


def on_disk(metal: Machine) -> str:
    """What the host reads on the disk, once it has it."""
    metal.run(["sh", "-c", "for i in $(seq 100); do [ -e /dev/nvme0n1 ] && break; sleep 0.1; done"])
    return metal.run(f"head -c {2 * BLOCK} /dev/nvme0n1").stdout


def test_a_disk_and_a_function(metal: Machine, metal_spec: Spec) -> None:
    made = metal.kvmctl("pci vfs enp1s0 4 -o json").json
    assert (made["before"], made["changed"], len(made["virtual_functions"])) == (0, True, 4)
    made = metal.kvmctl("pci vfs enp1s0 2 -o json").json
    assert (made["before"], made["changed"], len(made["virtual_functions"])) == (4, True, 2)
    metal.run(["sh", "-c", f"printf '{FROM_HOST}' >/dev/nvme0n1"])
    said = metal.kvmctl(f"create {metal_spec('web1', SPEC)} --start").stderr
    assert f"class: nvme is {DISK}" in said
    assert sorted(devices(metal, "web1")) == sorted([DISK, FUNCTION])
    log = metal.shared / "web1.log"
    until_said(log, READY, seconds=GUEST_SECONDS)
    for device in ("1b36:0010", "8086:10ca"):
        assert f" {device} node" in log.read_text()
    assert f"disk says {FROM_HOST}" in log.read_text()
    assert f"card igbvf {MAC}" in log.read_text()
    card = metal.run("ip link show enp1s0").stdout
    assert f"link/ether {MAC} brd ff:ff:ff:ff:ff:ff, vlan 42" in card
    assert functions(metal) == {0: {"trust": True, "spoof_check": True}, 1: {"trust": False, "spoof_check": True}}
    assert "trust: true" in metal.kvmctl("export web1").stdout
    # Only one VM can run with it; and none gets what the host needs, or a part of a group.
    metal_spec("web2", f"pci: ['{FUNCTION}']")
    refused = metal.kvmctl("create /shared/web2.yaml --start -o json", exit=5).json["error"]
    assert (refused["code"], refused["reasons"][0]["code"]) == ("device-refused", "device-in-use")
    refused = metal.kvmctl(f"pci attach web1 vda enp0s2 {BUS} -o json", exit=5).json["error"]
    assert {reason["code"] for reason in refused["reasons"]} == {"host-needs-device", "group-not-whole"}
    assert "/ is on vda" in str(refused["reasons"])
    assert metal.kvmctl("pci vfs enp1s0 4 -o json", exit=5).json["error"]["code"] == "device-refused"
    # The guest lets go of the disk, and gets it again.
    taken = metal.kvmctl(f"pci detach web1 {DISK[5:]} -o json").json
    assert (taken["devices"], taken["now"], taken["next_boot"]) == ([DISK], True, True)
    assert (devices(metal, "web1"), driver(metal, DISK)) == ([FUNCTION], "nvme")
    assert on_disk(metal) == FROM_HOST + WRITTEN
    given = metal.kvmctl("pci attach web1 serial:kvmctl -o json").json
    assert (given["devices"], given["changed"]) == ([DISK], True)
    assert driver(metal, DISK) == "vfio-pci"
    # Pulled out while the guest uses it, it is let go of, and is its own driver's when it is back.
    metal.run(["sh", "-c", f"echo 1 >/sys/bus/pci/devices/{DISK}/remove"])
    until(lambda: devices(metal, "web1") == [FUNCTION], "the guest has let go of it", seconds=GUEST_SECONDS)
    gone = metal.kvmctl(f"pci attach web1 {DISK} -o json", exit=3).json["error"]
    assert (gone["code"], DISK in gone["message"]) == ("device-not-found", True)
    metal.run(["sh", "-ec", "echo 1 >/sys/bus/pci/rescan; udevadm settle"])
    until(lambda: driver(metal, DISK) == "nvme", "its own driver has it")
    given = metal.kvmctl("pci attach web1 serial:kvmctl -o json").json
    assert (given["devices"], given["changed"]) == ([DISK], True)
    # A QEMU that dies leaves nothing behind.
    metal.run(["sh", "-c", "kill -9 $(cat /run/libvirt/qemu/web1.pid)"])
    until(lambda: (driver(metal, DISK), driver(metal, FUNCTION)) == ("nvme", "igbvf"), "their drivers have them again")
    # The next VM is not trusted for that, but for what it asks for itself.
    other = made["virtual_functions"][1]
    card = f"networks: [{{hostdev: '{FUNCTION}'}}]\nmemory: 64MiB"
    metal.kvmctl(f"create {metal_spec('web3', card)}")
    metal.kvmctl(f"pci attach web3 {other} --trust on --spoof-check off")
    metal.kvmctl("start --paused web3")
    assert functions(metal) == {0: {"trust": False, "spoof_check": True}, 1: {"trust": True, "spoof_check": False}}
    metal.run("virsh destroy web3")
    # A boot gives what is kept for VMs to vfio-pci, and no boot gives it back: that is done by hand.
    metal.kvmctl(f"pci reserve {DISK} --install")
    metal.run(["sh", "-ec", f"udevadm control --reload; echo 1 >/sys/bus/pci/devices/{DISK}/remove; udevadm settle"])
    # A device that was pulled out is missed before anything is touched.
    gone = metal.kvmctl("start web1 -o json", exit=3).json["error"]
    assert (gone["code"], DISK in gone["message"]) == ("device-not-found", True)
    assert driver(metal, FUNCTION) == "igbvf"
    metal.run(["sh", "-ec", "echo 1 >/sys/bus/pci/rescan; udevadm settle"])
    until(lambda: driver(metal, DISK) == "vfio-pci", "vfio-pci has it")
    metal.kvmctl(f"pci reserve {DISK} --remove --install")
    [check] = [check for check in metal.kvmctl("host check -o json").json if check["name"] == "devices"]
    assert (check["verdict"], check["fix"]) == ("warning", f"kvmctl pci release {DISK}")
    assert metal.kvmctl(f"pci release {DISK} -o json").json["driver"] == "nvme"


def test_five_of_them_each_take_one(metal: Machine, metal_spec: Spec) -> None:
    metal.kvmctl("pci vfs enp1s0 5 --boot")
    assert CARD in metal.run(f"cat /etc/udev/rules.d/80-kvmctl-{CARD}.rules").stdout
    names = [f"web{number}" for number in range(1, 6)]
    specs = [metal_spec(name, "pci: [{vf_of: enp1s0}]\nmemory: 64MiB") for name in names]
    metal.kvmctl(f"create {' '.join(specs)}")
    taken = [address for name in names for address in devices(metal, name)]
    assert len(set(taken)) == len(taken) == 5
    metal.kvmctl(f"start --paused {' '.join(names)}")
    assert {driver(metal, address) for address in taken} == {"vfio-pci"}
    # A guest that does not run cannot let go of anything, and that is said.
    held = metal.kvmctl(f"pci detach web3 {devices(metal, 'web3')[0]} --timeout 8 -o json", exit=8).json["error"]
    assert held["code"] == "device-held"
    # A start that fails with its second device gives the first one back.
    connection = libvirt.open(metal.outside_uri)
    connection.lookupByName("web2").destroy()
    [own] = devices(metal, "web2")
    both = f"pci: ['{own}', '{taken[0]}']\nmemory: 64MiB"
    refused = metal.kvmctl(f"create {metal_spec('web6', both)}")
    assert "web1 has it, and runs" in refused.stderr
    assert driver(metal, own) == "igbvf"
    assert metal.kvmctl("start web6 -o json", exit=5).json["error"]["code"] == "device-refused"
    try:
        connection.lookupByName("web6").create()  # as any other tool would
    except libvirt.libvirtError:
        assert driver(metal, own) == "igbvf"
    else:
        raise AssertionError("web6 has started with a device of web1")
    connection.close()
    for name in names:
        metal.run(f"virsh destroy {name}", check=False)
    assert len(metal.kvmctl("pci vfs enp1s0 2 --no-boot -o json").json["virtual_functions"]) == 2
    assert metal.run(["sh", "-c", "ls /etc/udev/rules.d | grep kvmctl"], check=False).stdout == ""
    metal.kvmctl("pci vfs enp1s0 --vf 1 --mac 52:54:00:00:00:77 --vlan 7 --spoof-check off --trust on")
    card = metal.run("ip link show enp1s0").stdout
    assert "vf 1     link/ether 52:54:00:00:00:77 brd ff:ff:ff:ff:ff:ff, vlan 7, spoof checking off" in card
    assert "trust on" in card
