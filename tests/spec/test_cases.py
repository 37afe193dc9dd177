"""Golden cases: `cases/NAME.yaml` beside its XML, `cases/errors/NAME.yaml` beside the exact words of its errors.

`pytest tests/spec/test_cases.py --regen` rewrites them; the difference is then for people to read.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from kvmctl.commands._specs import load
from kvmctl.errors import SpecError
from kvmctl.plan.facts import HostFacts, Pool
from kvmctl.plan.pci import guest_node
from kvmctl.plan.pci.choose import Taste, choose, has_devices
from kvmctl.plan.pci.facts import Mdev, MdevType
from kvmctl.plan.resolve import resolve
from kvmctl.plan.scsi import choose as scsi
from kvmctl.plan.usb import choose as usb
from kvmctl.spec.declare import declarations, walk
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.nodes import plain, read_nodes
from kvmctl.spec.xmltext import render
from tests.plan.pci.world import device, host
from tests.plan.scsi.world import disk, units
from tests.plan.usb.world import bus, stick

CASES = Path(__file__).parent.parent / "cases"
GOOD = sorted(CASES.glob("*.yaml"))
BAD = sorted((CASES / "errors").glob("*.yaml"))
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
FACTS = HostFacts(
    pools={name: Pool(name=name, type="dir", path=f"/pools/{name}") for name in ("default", "fast")}, known=False
)

CARD = "0000:3b:00.0"
FUNCTIONS = tuple(f"0000:3b:10.{number}" for number in range(4))
DEVICES = host(
    device(CARD, virtual_functions=FUNCTIONS, most_virtual_functions=7, interfaces=("eth0",), link_up=True),
    *(device(address, group=10 + number, physical_function=CARD) for number, address in enumerate(FUNCTIONS)),
    device("0000:3b:00.1", group=2, interfaces=("eth2",)),
    device("0000:41:00.0", "gpu", group=3),
    device("0000:41:00.1", "audio", group=3),
    device("0000:61:00.0", "nvme", group=4, numa_node=0, serial="SN-0"),
    device("0000:81:00.0", "nvme", group=5, numa_node=1, serial="SN-1"),
    device("0000:82:00.0", "nvme", group=6, numa_node=1, serial="SN-2", vendor="144d", product="a80a"),
    device("0000:83:00.0", "nvme", group=7, numa_node=1, serial="SN-3"),
    device("0000:84:00.0", "nvme", group=8, numa_node=0, serial="SN-4"),
    device("0000:85:00.0", "nvme", group=9, numa_node=0, serial="SN-5"),
    device("0000:a1:00.0", "gpu", group=20, mdev_types=(MdevType(id="nvidia-35", free=2),)),
    mdevs={
        uuid: Mdev(uuid=uuid, type="nvidia-35", parent="0000:a1:00.0", defined=True)
        for uuid in ("b2177883-f1bb-47f0-914d-32a22e3a8804", "c2177883-f1bb-47f0-914d-32a22e3a8804")
    },
)
STICKS = bus(
    stick("1-1.4", number=9, ids="0951:1666"),
    stick("2-1", number=3, ids="0403:6001"),
    stick("2-2", number=4, ids="0403:6001"),
)
UNITS = units(
    disk("2:0:0:0", "sdb", serial="SN-6"),
    disk("2:0:1:0", "sdc", serial="SN-7"),
    disk("2:0:2:0", "sdd", wwn="0x5000c500a1b2c3d4"),
    disk("2:0:3:0", "sde", links=("/dev/disk/by-id/wwn-0x5000c500a1b2c3d5",)),
)


def name(path: Path) -> str:
    return path.stem


def settled(path: Path) -> Vm:
    """The VM with the devices that it gets on a host of some."""
    vm = load(str(path))
    vm = replace(vm, usb=usb.choose(STICKS, vm.usb, start=False).entries)
    vm = replace(vm, scsi=scsi.choose(UNITS, vm.scsi, start=False).entries)
    numbers = count()
    taste = Taste(
        nodes=frozenset({1}),
        aliases={"fast0": "serial:SN-4"},
        new_uuid=lambda: f"00000000-0000-4000-8000-{next(numbers):012}",
    )
    if not has_devices(vm):
        return vm
    chosen = choose(vm, DEVICES, taste)
    return guest_node.settled(chosen.vm, chosen.homes)[0]


def compare(path: Path, text: str, regenerate: bool) -> None:
    if regenerate:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_a_spec_makes_its_xml(path: Path, regenerate: bool) -> None:
    resolved = resolve(settled(path), FACTS)
    volumes = "".join(f"<!-- {volume} -->\n" for volume in resolved.volumes)
    compare(path.with_suffix(".xml"), render(resolved.document()) + volumes, regenerate)


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_its_xml_is_valid_for_libvirt(path: Path, tmp_path: Path) -> None:
    document = tmp_path / "domain.xml"
    document.write_text(render(resolve(settled(path), FACTS).document()))
    done = subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, document], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", BAD, ids=name)
def test_mistakes_are_told_with_their_places(path: Path, regenerate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(SpecError) as caught:
        load(path.name)
    assert caught.value.exit_code == 4
    compare(path.with_suffix(".txt"), "\n".join((caught.value.message, *caught.value.details)) + "\n", regenerate)


def test_every_declared_field_stands_in_a_case() -> None:
    """The full case has each field of the language, so that none goes without a golden file."""
    document = plain(read_nodes((CASES / "full.yaml").read_bytes(), "full.yaml"))
    others = [plain(read_nodes(path.read_bytes(), path.name)) for path in GOOD]
    missing = [path for path, _ in walk(Vm) if not any(stands(Vm, document, path) for document in [document, *others])]
    assert missing == []


def stands(cls: type, document: object, path: str) -> bool:
    """Whether a document has a key, in its long form or as the bare value that stands for its group."""
    step, _, rest = path.partition(".")
    declared = declarations(cls)[step.removesuffix("[]")]
    if not isinstance(document, dict):
        return getattr(cls, "SHORTHAND", "") == step
    found = document.get(step.removesuffix("[]"))
    if found is None or not rest:
        return found is not None
    assert declared.cls is not None
    return any(stands(declared.cls, item, rest) for item in (found if isinstance(found, list) else [found]))
