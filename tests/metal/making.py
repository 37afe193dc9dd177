"""Makes the system of the metal machine: a Debian 13 with libvirt, QEMU and kvmctl's Python modules.

    unshare --mount --pid --fork --kill-child --mount-proc --propagation private \\
        python3 -m tests.metal.making DIRECTORY < PIPE

A child of it makes `done` in DIRECTORY and says so, or what is in its way on standard error. As in the lab, the end of
the pipe is the end of everything, and DIRECTORY is removed: nothing stays that is mounted or takes room, however the
one who wants an image ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

from tests.environment import PATH
from tests.lab.guest import Archive
from tests.lab.init import finish, serve
from tests.metal import guest
from tests.metal.kernel import Modules, unpacked

SYSTEM = Path(__file__).parent / "system"
MADE = "made\n"
SUITE = "trixie"
DISK_SIZE = "8G"
BUILD_SECONDS = 900.0

PACKAGES = """
    systemd-sysv udev dbus iproute2 kmod pciutils numactl procps openssh-server libvirt-daemon-system
    libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils python3-click python3-libvirt python3-rich
    python3-yaml bash-completion linux-image-amd64 busybox-static zstd
"""

KEPT = """
    kvm_amd vfio_pci vfio_iommu_type1 igb igbvf nvme ahci virtio_blk virtio_net ext4 crc32c* libcrc32c 9p
    9pnet_virtio tun tap macvtap macvlan veth bridge vhost_net br_netfilter nf_* nft_* nfnetlink* xt_* ip_tables
    iptable_* ip6_tables ip6table_* sch_* cls_* act_* loop overlay autofs4 button evdev configfs
    xhci_pci usbhid hid_generic usb_storage sd_mod sg
"""
"""The kernel modules that stay, with what they need: udev loads whatever fits, and each takes its time here."""

ENABLED = (
    "libvirtd.service",
    "libvirtd-tcp.socket",
    "ssh.service",
    "metal-devices.service",
    "metal-ready.service",
)
MASKED = """
    getty@tty1.service serial-getty@ttyS0.service systemd-logind.service systemd-binfmt.service
    proc-sys-fs-binfmt_misc.automount systemd-random-seed.service systemd-journal-flush.service
    systemd-network-generator.service systemd-udev-load-credentials.service systemd-pstore.service
    systemd-user-sessions.service modprobe@configfs.service modprobe@fuse.service modprobe@drm.service
    modprobe@efi_pstore.service sys-kernel-config.mount sys-fs-fuse-connections.mount dev-mqueue.mount
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer logrotate.timer
    systemd-tmpfiles-clean.timer e2scrub_all.timer e2scrub_reap.service libvirt-guests.service
"""
"""What would start by itself, and is of no use here."""


INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t proc proc /proc
/bin/pulse &
for module in {modules}; do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
"""


class MakingError(Exception):
    """The image cannot be made; the message says why."""


def make(work: Path) -> None:
    """Make `done` in this directory, with all that an image has."""
    done = work / "done"
    done.mkdir()
    root = done / "root"
    _install(root)
    shutil.copytree(SYSTEM, root, dirs_exist_ok=True)
    for name in ("opt/kvmctl", "shared", "machine", "image", "root/.ssh"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
    _keys(done, root)
    _call("chroot", str(root), "usermod", "--shell", "/bin/sh", "root")  # each command goes through it
    _call("chroot", str(root), "systemctl", "--quiet", "enable", *ENABLED)
    _call("chroot", str(root), "systemctl", "--quiet", "mask", *MASKED.split())
    _call("chroot", str(root), "systemctl", "--quiet", "set-default", "multi-user.target")
    for generator in (root / "usr/lib/systemd/system-generators").iterdir():
        if generator.name != "systemd-fstab-generator":
            generator.unlink()
    modules = Modules(root)
    modules.keep(KEPT.split())
    (packed,) = (root / "boot").glob("vmlinuz-*")
    kernel = unpacked(packed, root)
    busybox = (root / "usr/bin/busybox").read_bytes()
    guest.make(root / "srv/guest", kernel, busybox, modules.order(guest.DRIVERS))
    (done / "kernel").write_bytes(kernel)
    pulse = str(Path(__file__).with_name("pulse.c"))
    _call("gcc", "-O2", "-Wall", "-Werror", "-static", "-o", str(work / "pulse"), pulse)
    (done / "initrd").write_bytes(_initrd(modules, busybox, (work / "pulse").read_bytes()))
    shutil.rmtree(root / "boot")
    # Whatever systemd would bring up to date at the first start is so already.
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()
    features = ("-O", "^has_journal,^metadata_csum", "-m", "0", "-E", "lazy_itable_init=1")
    _call("mkfs.ext4", "-q", *features, "-d", str(root), str(done / "disk"), DISK_SIZE)


def _install(root: Path) -> None:
    excluded = [f"/usr/share/{name}/*" for name in ("doc", "locale", "man", "info")]
    # libvirt asks each emulator what it can do, which takes seconds here; one is enough.
    excluded.append("/usr/bin/qemu-system-i386")
    options = [f"--dpkgopt=path-exclude={path}" for path in excluded]
    options += ["--dpkgopt=force-unsafe-io", '--aptopt=APT::Install-Recommends "false"']
    options += [f"--aptopt={line}" for line in _proxies()]
    options += ["--quiet", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES.split())}"]
    # Its initramfs would take a while to make, and longer to unpack at each start: ours is small.
    _call("env", "INITRD=No", "mmdebstrap", *options, SUITE, str(root), _mirror())


def _mirror() -> str:
    """Where this computer's apt gets Debian from."""
    told = _call("apt-get", "indextargets", "--format", "$(ORIGIN)/$(LABEL) $(REPO_URI)", "Created-By: Packages")
    for line in told.splitlines():
        origin, _, address = line.partition(" ")
        if origin == "Debian/Debian":
            return address
    raise MakingError("apt has no lists of Debian's packages: run 'apt-get update' as root, on Debian")


def _proxies() -> list[str]:
    return re.findall(r"^Acquire::https?::Proxy .*$", _call("apt-config", "dump"), re.MULTILINE)


def _keys(done: Path, root: Path) -> None:
    """A key that the machine lets in, and the machine's own, by which it is known."""
    _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "metal", "-f", str(done / "key"))
    shutil.copy(done / "key.pub", root / "root/.ssh/authorized_keys")
    own = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    (done / "known_hosts").write_text(f"metal {own}")


def _initrd(modules: Modules, busybox: bytes, pulse: bytes) -> bytes:
    """Enough to mount the disk and go on from there; and the pulse, which goes on beside the system."""
    archive = Archive()
    for directory in ("bin", "dev", "proc", "root", "modules"):
        archive.add(directory, None)
    archive.add("bin/busybox", busybox, 0o755)
    archive.add("bin/pulse", pulse, 0o755)
    order = modules.order(("virtio_blk", "crc32c_generic", "ext4"))
    for file in order:
        archive.add(f"modules/{file.name}", file.read_bytes())
    archive.add("init", INIT.format(modules=" ".join(file.name for file in order)).encode(), 0o755)
    return archive.finish()


def _call(*command: str) -> str:
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=BUILD_SECONDS
    )
    if done.returncode:
        raise MakingError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-3000:].strip()}")
    return done.stdout


def _tell(output: TextIO) -> None:
    """Say what the maker has said when it has ended, which may be nothing, to whom it may concern."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, (output.read() or "\n").encode())


def main() -> None:
    work = Path(sys.argv[1])
    if os.getpid() != 1:
        try:
            make(work)
        except MakingError as problem:
            sys.exit(f"the metal machine's system cannot be made: {problem}")
        sys.stdout.write(MADE)
        return
    try:
        command = [sys.executable, "-m", "tests.metal.making", str(work)]
        maker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=_tell, args=(maker.stdout,), daemon=True).start()
        serve()
    finally:
        finish(work, ())


if __name__ == "__main__":
    main()
