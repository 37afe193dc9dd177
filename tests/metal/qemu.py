"""The hardware of the metal machine, as QEMU's arguments, and the few words that are said to its QEMU.

Software emulation offers AMD's SVM and Intel's VT-d, so that the Linux in it has a working /dev/kvm and vfio-pci. There
are 2 NUMA nodes with a socket, an L3 cache, 2 cores and 4 threads each; a network card with 7 virtual functions near
node 0, an NVMe disk on node 1, and the chipset's own devices, which share one IOMMU group; and a USB controller with
nothing plugged in. A cable leads to a second such machine.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

MEMORY_MIB = 4096
CPU = "EPYC,+svm,+npt,fxsr-opt=off,misalignsse=off,osvw=off,topoext=off,nrip-save=off,xsavec=off"
NVME_SIZE = 64 << 20
SECONDS = 30.0

KERNEL = """
    console=ttyS0 root=/dev/vda rw quiet intel_iommu=on iommu=pt
    nokaslr mitigations=off nowatchdog rcupdate.rcu_cpu_stall_suppress=1 tsc=reliable no_timer_check
    cryptomgr.notests audit=0 lsm=capability random.trust_cpu=on systemd.show_status=false
    nohz=off highres=off
"""
"""The kernel's command line: what makes it quick under emulation, beside the IOMMU. The last two have timers tick: a
processor that runs guests loses one now and then under emulation, and one that is set for a single time stays lost."""

CABLE_MAC = "52:54:00:6b:00:{number:02x}"
"""The machine's address on the cable is 10.77.0.NUMBER: see system/usr/local/sbin/metal-devices."""
SECOND = "systemd.hostname=metal2 systemd.machine_id=6b766d63746c40008000000000000004"


def arguments(number: int, cable: int) -> list[str]:
    """Of the first machine or the second, as seen in the chroot in which it runs: see init.py. `cable` is the open
    socket of its end of the cable."""
    half = MEMORY_MIB // 2
    kernel = f"{KERNEL} {SECOND}" if number == 2 else KERNEL
    return (
        f"""
        -nodefaults -display none -no-reboot -no-user-config
        -machine q35,kernel-irqchip=split -accel tcg,thread=multi,tb-size=512 -cpu {CPU}
        -smp 8,sockets=2,cores=2,threads=2 -m {MEMORY_MIB}
        -object memory-backend-ram,id=memory0,size={half}M -object memory-backend-ram,id=memory1,size={half}M
        -numa node,nodeid=0,cpus=0-3,memdev=memory0 -numa node,nodeid=1,cpus=4-7,memdev=memory1
        -numa dist,src=0,dst=1,val=21
        -device intel-iommu,intremap=on,caching-mode=on,device-iotlb=on
        -drive file=/image/disk,if=none,id=system,format=raw,snapshot=on,cache=unsafe
        -device virtio-blk-pci,bus=pcie.0,drive=system
        -netdev user,id=outside,restrict=on,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:16509
        -device virtio-net-pci,bus=pcie.0,netdev=outside
        -device pcie-root-port,id=near,chassis=1,slot=1
        -netdev user,id=nowhere,restrict=on -device igb,bus=near,netdev=nowhere
        -device pxb-pcie,id=node1,bus=pcie.0,bus_nr=128,numa_node=1
        -device pcie-root-port,id=far,bus=node1,chassis=2,slot=2
        -drive file=/machine/nvme,if=none,id=nvme,format=raw -device nvme,serial=kvmctl,drive=nvme,bus=far
        -fsdev local,id=clone,path=/opt/kvmctl,security_model=none,readonly=on
        -device virtio-9p-pci,bus=pcie.0,fsdev=clone,mount_tag=clone
        -fsdev local,id=shared,path=/machine/shared,security_model=none
        -device virtio-9p-pci,bus=pcie.0,fsdev=shared,mount_tag=shared
        -netdev socket,id=cable,fd={cable}
        -device virtio-net-pci,bus=pcie.0,netdev=cable,mac={CABLE_MAC.format(number=number)}
        -device qemu-xhci,id=usb,bus=pcie.0
        -serial file:/machine/console.log -qmp unix:/machine/qmp,server=on,wait=off
        -kernel /image/kernel -initrd /image/initrd -append
    """.split()
        + [" ".join(kernel.split())]
    )


def ports(monitor: Path) -> tuple[int, int]:
    """The free ports of this computer's loopback that lead to the machine's sshd and libvirtd; QEMU took them."""
    told = say(monitor, "human-monitor-command", {"command-line": "info usernet"})
    found = dict(re.findall(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)", told))
    by_inside = {inside: int(outside) for outside, inside in found.items()}
    return by_inside["22"], by_inside["16509"]


def say(monitor: Path, command: str, values: Mapping[str, str]) -> str:
    """One command to the machine's QEMU, and its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(monitor))
        with connection.makefile("rw") as stream:
            stream.readline()
            _ask(stream, "qmp_capabilities", {})
            return _ask(stream, command, values)


def _ask(stream: TextIO, command: str, values: Mapping[str, str]) -> str:
    stream.write(json.dumps({"execute": command, "arguments": dict(values)}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "event" not in answer:
            if "return" not in answer:
                raise ValueError(f"QEMU refuses {command}: {answer}")
            return str(answer["return"])
    raise ConnectionError("QEMU has ended")
