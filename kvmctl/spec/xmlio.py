"""`Vm` <-> `<domain>`: the two directions of the model, and `raw_xml` merged in last."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.declare import read, write
from kvmctl.spec.merge import merge
from kvmctl.spec.model.vm import Vm
from kvmctl.spec.xmltext import parse_raw


def vm_of(domain: Element) -> Vm:
    """What the model understands of a domain."""
    vm: Vm = read(Vm, domain)
    return vm


def domain_of(vm: Vm) -> Element:
    """The domain of a resolved VM, with its `raw_xml` merged in last."""
    domain = Element("domain")
    write(vm, domain)
    os_element = domain.find("os")
    if os_element is None:
        os_element = SubElement(domain, "os")
    if os_element.find("type") is None:
        SubElement(os_element, "type")
    os_type = os_element.find("type")
    assert os_type is not None
    os_type.text = "hvm"
    if vm.raw_xml:
        merge(domain, parse_raw(vm.raw_xml))
    return domain
