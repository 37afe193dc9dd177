"""A real guest made on the spot: Debian's cloud kernel and a busybox in a small initramfs. It is up in seconds.

    python3 -m tests.lab.guest      make it if it is not in the cache, and print where kernel and initramfs are

The guest says `kvmctl guest: up` on its serial console, gives a shell there, asks for an address on every network
card, and powers itself off on the power button. Packages are downloaded with apt-get and unpacked into the cache,
nothing is installed. Needs no root, and nothing but Python's own library, since the demo uses it too.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.environment import CACHE

UP = "kvmctl guest: up"
"""What the guest says when it is up."""

COMMAND_LINE = "console=ttyS0 quiet panic=-1"
"""The kernel's command line for it."""

MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "virtio_console",
    "button",
    "evdev",
    "ata_piix",
    "ahci",
    "sd_mod",
    "sr_mod",
)

INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
export PATH=/bin PS1='guest# '
press_ends() {{
    # The first event of the power button is the press.
    dd if=/dev/input/$1 of=/dev/null bs=24 count=1 2>/dev/null
    echo 'kvmctl guest: off'
    poweroff -f
}}
busybox --install -s /bin
for module in $(cat /modules/order); do insmod /modules/$module; done
ip link set lo up
for card in /sys/class/net/eth*; do
    [ -e $card ] && udhcpc -b -S -i ${{card##*/}} -s /dhcp -t 10 -T 1 >/dev/null 2>&1 &
done
for event in /sys/class/input/event*; do
    grep -q 'Power Button' $event/device/name 2>/dev/null && press_ends ${{event##*/}} &
done
echo '{UP}'
while true; do setsid cttyhack sh; done
"""

DHCP = """#!/bin/sh
[ "$1" = bound ] && ip addr add $ip/$mask dev $interface && echo "kvmctl guest: $interface has $ip" >/dev/console
[ "$1" = deconfig ] && ip link set $interface up
exit 0
"""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """The two files a VM boots from."""

    kernel: Path
    initrd: Path


class GuestError(Exception):
    """The guest cannot be made; the message says why and what to do."""


def provide(cache: Path = CACHE) -> Guest:
    """The guest from the cache, made first if need be. Two at once do no harm: the last to finish finds it done."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    place = cache / f"guest-{recipe}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as making:
            _make(Path(making))
            _tidy(cache)
            try:
                (Path(making) / "done").rename(place)
            except OSError:
                if not place.is_dir():
                    raise
    place.touch()
    return Guest(kernel=place / "vmlinuz", initrd=place / "initrd")


def _make(work: Path) -> None:
    kernel = _unpack(_kernel_package(), work / "kernel")
    busybox = _unpack("busybox-static", work / "busybox") / "bin/busybox"
    if not busybox.exists():
        busybox = work / "busybox/usr/bin/busybox"
    files = {path.name.removesuffix(".xz"): path for path in kernel.rglob("*.ko*")}
    order = list(_load_order(files))
    done = work / "done"
    done.mkdir()
    shutil.copy(next(kernel.glob("boot/vmlinuz-*")), done / "vmlinuz")
    archive = Archive()
    archive.add("bin", None)
    archive.add("modules", None)
    archive.add("init", INIT.encode(), 0o755)
    archive.add("dhcp", DHCP.encode(), 0o755)
    archive.add("bin/busybox", busybox.read_bytes(), 0o755)
    archive.add("modules/order", "\n".join(order).encode())
    for name in order:
        archive.add(f"modules/{name}", _content(files[name]))
    (done / "initrd").write_bytes(gzip.compress(archive.finish(), compresslevel=1))


def _kernel_package() -> str:
    """The package that today's linux-image-cloud-amd64 stands for."""
    shown = _call("apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64")
    found = re.search(r"^Depends: (linux-image-\S+)", shown, re.MULTILINE)
    if not found:
        raise GuestError("apt knows no package linux-image-cloud-amd64: run 'apt-get update' as root, on Debian amd64")
    return found[1]


def _unpack(package: str, place: Path) -> Path:
    place.mkdir()
    _call("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package, cwd=place)
    file = next(place.glob("*.deb"))
    _call("dpkg-deb", "-x", str(file), str(place))
    file.unlink()
    return place


def _call(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise GuestError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _content(module: Path) -> bytes:
    data = module.read_bytes()
    if module.suffix == ".xz":
        import lzma

        data = lzma.decompress(data)
    return data


def _load_order(files: dict[str, Path]) -> Iterable[str]:
    """The modules wanted and what they depend on, each after what it needs; built-in ones have no file."""
    by_name = {name.removesuffix(".ko").replace("-", "_"): name for name in files}
    loaded: set[str] = set()

    def visit(name: str) -> Iterable[str]:
        if name in loaded or name not in by_name:
            return
        loaded.add(name)
        depends = re.search(rb"\0depends=([^\0]*)\0", _content(files[by_name[name]]))
        for other in depends[1].decode().split(",") if depends else ():
            yield from visit(other.replace("-", "_"))
        yield by_name[name]

    for wanted in MODULES:
        yield from visit(wanted)


def _tidy(cache: Path) -> None:
    """Remove guests that nobody has used for a month, of an older recipe mostly, and what a killed run left."""
    for kind, days in (("guest-*", 30), ("making-*", 1)):
        for old in cache.glob(kind):
            if old.stat().st_mtime < time.time() - days * 86400:
                shutil.rmtree(old, ignore_errors=True)


class Archive:
    """A cpio archive in the form the kernel reads ("newc"); everything in it belongs to root."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = 0

    def add(self, name: str, data: bytes | None, mode: int = 0o644) -> None:
        """A file, or with `data` None a directory."""
        self.count += 1
        kind = 0o040755 if data is None else 0o100000 | mode
        encoded = name.encode() + b"\0"
        numbers = (self.count, kind, 0, 0, 1, 0, len(data or b""), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % number for number in numbers) + encoded
        self.parts += [header, bytes(-len(header) % 4), data or b"", bytes(-len(data or b"") % 4)]

    def finish(self) -> bytes:
        self.add("TRAILER!!!", b"")
        return b"".join(self.parts)


if __name__ == "__main__":
    made = provide()
    print(made.kernel)
    print(made.initrd)
