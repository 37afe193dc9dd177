"""An mdev as libvirt writes it, which is read as its UUID alone; and what is no entry of `pci:`."""

from __future__ import annotations

import pytest

from kvmctl.errors import Refused
from kvmctl.plan.pci.addressed import addressed
from kvmctl.spec.declare import write
from kvmctl.spec.model.pci import Pci, has_assigned, is_assigned, name_of, selector
from kvmctl.spec.xmlio import vm_of
from kvmctl.spec.xmltext import canonical, parse

UUID = "c2177883-f1bb-47f0-914d-32a22e3a8804"
HOSTDEV = (
    "<hostdev mode='subsystem' type='mdev' managed='no' model='{model}' display='on'>"
    f"<source><address uuid='{UUID.upper()}'/></source>{{more}}</hostdev>"
)


def domain(model: str = "vfio-pci", more: str = "") -> str:
    return f"<domain><name>web1</name><devices>{HOSTDEV.format(model=model, more=more)}</devices></domain>"


def test_libvirts_own_writing_is_read_and_stays() -> None:
    document = parse(domain())
    vm = vm_of(document)
    assert vm.pci == (Pci(mdev=UUID),)
    write(vm, document)
    assert canonical(document) == canonical(parse(domain()))


@pytest.mark.parametrize(("model", "more"), [("vfio-ccw", ""), ("vfio-pci", "<boot order='1'/>")])
def test_what_the_keys_do_not_tell_is_left_alone(model: str, more: str) -> None:
    document = parse(domain(model, more))
    hostdev = document.find("devices/hostdev")
    assert hostdev is not None
    assert not is_assigned(hostdev)
    assert has_assigned(document)
    assert name_of(hostdev) == UUID


def test_words() -> None:
    assert selector("mdev:nvidia-35") == Pci(mdev="nvidia-35")
    assert selector(UUID.upper()) == selector(f"mdev:{UUID}") == Pci(mdev=UUID)
    for word in ("mdev:", "mdev:a/b", f"mdev:{'x' * 200}"):
        with pytest.raises(ValueError, match="write"):
            selector(word)


def test_a_type_must_be_settled_first() -> None:
    assert addressed(Pci(device=f"mdev:{UUID}")) == Pci(mdev=UUID)
    with pytest.raises(Refused, match="mdev: nvidia-35"):
        addressed(Pci(mdev="nvidia-35"))
