"""The guest in the metal machine: the machine's own kernel, and an initramfs of one busybox and one script.

It says `kvmctl guest: up`, then what it is made of, and then does what `work=` on its kernel command line asks: `burn`
keeps every CPU busy for ever, `touch` writes to all its memory once and says so, `count` says a higher number all the
time, `devices` loads the drivers of a disk and a network card, says what it finds, and writes to the disk, `team` loads
them, counts, and says how many network cards there are whenever that has changed. Otherwise it idles. It has no power
button; it ends by force. Emulated twice over, every instruction that it need not run counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.lab.guest import UP, Archive

COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 nokaslr mitigations=off nowatchdog audit=0 cryptomgr.notests tsc=reliable "
    "pci=lastbus=0"  # else Linux looks for devices on 255 buses that are not there
)
"""The kernel's command line for it; `work=` may follow."""

READY = "kvmctl guest: ready"
"""What it says when it has told everything and begun its work, if any."""

TOUCHED = "kvmctl guest: touched"
"""What `work=touch` says before that, and how much."""

DRIVERS = ("nvme", "igbvf", "virtio_net")
"""The kernel modules that it has, for `work=devices` and `work=team`."""

CARDS = "kvmctl guest: cards"
"""What `work=team` says before how many there are: the loopback, and for a team one more than it has."""

BLOCK = 16
"""Bytes of what is read at the start of the disk, and of what is written behind them."""

WRITTEN = "the guest was it"
"""What it writes to the disk."""

INIT = f"""#!/bin/busybox sh
busybox() {{ /bin/busybox "$@"; }}
echo '{UP}'
busybox mkdir /proc /sys
busybox mknod /dev/null c 1 3  # what runs in the background has it for its input
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
read -r command_line </proc/cmdline
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
    for node in $cpu/node*; do :; done
    read -r package <$cpu/topology/physical_package_id
    read -r core <$cpu/topology/core_id
    threads=$(busybox cat $cpu/topology/thread_siblings_list)  # `read` finds nothing in this one
    shared=none
    [ -e $cpu/cache/index3 ] && read -r shared <$cpu/cache/index3/shared_cpu_list
    place="node ${{node##*/node}} package $package core $core threads $threads l3 $shared"
    echo "kvmctl guest: cpu ${{cpu##*/cpu}} $place"
done
for device in /sys/bus/pci/devices/*; do
    read -r vendor <$device/vendor
    read -r product <$device/device
    read -r node <$device/numa_node
    echo "kvmctl guest: pci ${{device##*/}} ${{vendor#0x}}:${{product#0x}} node $node"
done
case $command_line in
*work=burn*)
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        (while true; do :; done) &
    done
    echo 'kvmctl guest: burning'
    ;;
*work=touch*)
    # A file in memory that grows until there is hardly any left.
    while read -r name number unit; do
        [ $name = MemAvailable: ] && available=$number
    done </proc/meminfo
    busybox mkdir /memory
    busybox mount -t tmpfs -o size=$((available * 9 / 10))k,huge=never tmpfs /memory
    busybox dd if=/dev/zero of=/memory/file bs=1M 2>/dev/null
    echo "{TOUCHED} $((available * 9 / 10)) KiB"
    ;;
*work=count*)
    (number=0; while busybox sleep 0.1; do echo "kvmctl guest: count $((number += 1))"; done) &
    ;;
*work=team*)
    for module in $(busybox cat /modules/order); do busybox insmod /modules/$module; done
    (
        number=0
        while busybox sleep 0.2; do
            set -- /sys/class/net/*
            [ $# = "$cards" ] || echo "{CARDS} $((cards = $#))"
            echo "kvmctl guest: count $((number += 1))"
        done
    ) &
    ;;
*work=devices*)
    busybox mount -t devtmpfs devtmpfs /dev
    for module in $(busybox cat /modules/order); do busybox insmod /modules/$module; done
    tries=0
    until [ -e /dev/nvme0n1 ] || [ $((tries += 1)) -gt 300 ]; do busybox sleep 0.1; done
    echo "kvmctl guest: disk says $(busybox dd if=/dev/nvme0n1 bs={BLOCK} count=1 2>/dev/null)"
    echo -n '{WRITTEN}' | busybox dd of=/dev/nvme0n1 bs={BLOCK} seek=1 conv=fsync 2>/dev/null
    for card in /sys/class/net/*/device; do
        read -r address <${{card%/device}}/address
        echo "kvmctl guest: card $(busybox basename $(busybox readlink $card/driver)) $address"
    done
    ;;
esac
echo '{READY}'
while true; do busybox sleep 1000; done
"""


def make(place: Path, kernel: bytes, busybox: bytes, modules: Sequence[Path]) -> None:
    """Write `kernel` and `initrd` into a directory. `modules` are in the order in which they are to be loaded."""
    place.mkdir(parents=True)
    archive = Archive()
    archive.add("bin", None)
    archive.add("bin/busybox", busybox, 0o755)
    archive.add("modules", None)
    archive.add("modules/order", "".join(f"{file.name}\n" for file in modules).encode())
    for file in modules:
        archive.add(f"modules/{file.name}", file.read_bytes())
    archive.add("init", INIT.encode(), 0o755)
    (place / "kernel").write_bytes(kernel)
    (place / "initrd").write_bytes(archive.finish())
