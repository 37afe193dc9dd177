"""A whole disk of a real host as the disk of a guest under KVM: written to there, and kept from it while it is used."""

from __future__ import annotations

import json

from tests.lab.guest import Archive
from tests.lab.waiting import until_said
from tests.metal.conftest import GUEST_SECONDS, Spec
from tests.metal.guest import BLOCK, COMMAND_LINE, INIT, READY, WRITTEN
from tests.metal.kernel import Modules
from tests.metal.machine import Machine

DISK = "/dev/nvme0n1"
FROM_HOST = "the host was it!"


def initrd(metal: Machine) -> str:
    """Where the machine has the guest with the driver of another disk."""
    root = metal.image.place / "root"
    archive, modules = Archive(), Modules(root).order(["virtio_blk"])
    archive.add("modules/order", "".join(f"{file.name}\n" for file in modules).encode())
    for file in modules:
        archive.add(f"modules/{file.name}", file.read_bytes())
    archive.add("init", INIT.replace("nvme0n1", "vda").encode(), 0o755)
    (metal.shared / "initrd").write_bytes((root / "srv/guest/initrd").read_bytes() + archive.finish())
    return "/shared/initrd"


def test_a_whole_disk(metal: Machine, metal_spec: Spec) -> None:
    refused = metal.kvmctl(f"create {metal_spec('web1', 'disks: [{path: /dev/vda}]')} -o json", exit=5).json["error"]
    [reason] = refused["reasons"]
    assert (reason["code"], "/ is on vda" in reason["message"]) == ("host-needs-device", True)
    metal.run(["sh", "-c", f"printf '{FROM_HOST}' >{DISK}"])
    cmdline = COMMAND_LINE.replace("pci=lastbus=0", "work=devices")
    boot = {"kernel": "/srv/guest/kernel", "initrd": initrd(metal), "cmdline": cmdline}
    metal.kvmctl(f"create {metal_spec('web1', json.dumps({'boot': boot, 'disks': [{'path': DISK}]}))} --start")
    log = metal.shared / "web1.log"
    until_said(log, READY, seconds=GUEST_SECONDS)
    assert f"disk says {FROM_HOST}" in log.read_text()
    assert metal.run(f"head -c {2 * BLOCK} {DISK}").stdout == FROM_HOST + WRITTEN
    # Only one VM can run with it; and none while the host swaps to it.
    metal.kvmctl(f"create {metal_spec('web2', json.dumps({'disks': [DISK]}))}")
    error = metal.kvmctl("start web2 -o json", exit=5).json["error"]
    assert [reason["code"] for reason in error["reasons"]] == ["device-in-use"]
    metal.kvmctl("stop web1 --force --timeout 1")
    metal.run(f"mkswap {DISK}")
    metal.run(f"swapon {DISK}")
    try:
        error = metal.kvmctl("start web2 -o json", exit=5).json["error"]
    finally:
        metal.run(f"swapoff {DISK}")
    assert [reason["message"] for reason in error["reasons"]] == [f"the host needs {DISK}: it swaps to nvme0n1"]
