"""What libvirt gives back after define reads as the same spec: the second law on libvirt's own echo.

On libvirt's test driver, which parses, fills in and formats domains with the code of the real drivers. What the spec
says must come back as it was said; what libvirt adds is its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from hypothesis import HealthCheck, assume, given, settings

from kvmctl.spec.declare import declarations, default_of, is_bare
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmlio import domain_of, vm_of
from kvmctl.spec.xmltext import parse, render
from tests.spec.strategies import VMS
from tests.spec.test_laws import mapped, on_host

tried: Counter[str] = Counter()


def differences(said: Any, echoed: Any, path: str = "") -> list[str]:
    """What was said and did not come back; what was not said may be anything."""
    found: list[str] = []
    for name, declared in declarations(type(said)).items():
        mine, theirs = getattr(said, name), getattr(echoed, name, None)
        here = f"{path}.{name}"
        if mine == default_of(type(said), name) or mine in (False, "default"):
            continue
        if declared.cls is None or is_bare(declared, mine):
            found += [] if mine == theirs else [f"{here}: {mine!r} != {theirs!r}"]
        elif not declared.many:
            found += differences(mine, theirs, here)
        else:
            for item in mine:
                candidates: list[list[str]] = [differences(item, other, f"{here}[]") for other in theirs or ()]
                found += sorted(candidates, key=len)[0] if candidates else [f"{here}: {item!r} is gone"]
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(VMS)
def check(vm: Vm) -> None:
    # The test driver is for i686 guests of type test; a UUID and a name of its own are taken.
    settled = replace(on_host(replace(vm, arch="i686", machine=None, uuid=None, name="echo")), accelerator=None)
    document = domain_of(settled)
    document.set("type", "test")
    connection = libvirt.open("test:///default")
    tried["all"] += 1
    try:
        domain = connection.defineXMLFlags(render(document), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    except libvirt.libvirtError:
        tried["refused"] += 1
        assume(False)
    else:
        echo = vm_of(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
        # The driver lives as long as anybody holds one of its VMs, a failed example's traceback for one.
        domain.undefine()
        assert differences(mapped(settled), echo) == []
    finally:
        connection.close()


def test_what_is_defined_reads_back_as_the_same_spec() -> None:
    libvirt.registerErrorHandler(lambda context, error: None, None)
    tried.clear()
    check()
    assert tried["all"] - tried["refused"] > 50, f"libvirt refused too many of the generated specs: {tried}"


def test_a_difference_is_seen() -> None:
    said = Vm(name="a", description="one")
    assert differences(said, Vm(name="a", description="two", title="more")) == [".description: 'one' != 'two'"]


@pytest.mark.parametrize("name", ["minimal", "web", "boot-order"])
def test_golden_cases_come_back(name: str) -> None:
    text = (Path(__file__).parent.parent / "cases" / f"{name}.xml").read_text().partition("<!--")[0]
    document = parse(text)
    said = vm_of(document)
    document.set("type", "test")
    os_type = document.find("os/type")
    assert os_type is not None
    os_type.attrib.clear()
    document.remove(document.find("cpu"))  # type: ignore[arg-type]
    connection = libvirt.open("test:///default")
    domain = connection.defineXML(render(document))
    echo = vm_of(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    domain.undefine()
    said = replace(said, accelerator=None, arch=None, machine=None, cpu=said.cpu and replace(said.cpu, model=None))
    assert differences(said, echo) == []
