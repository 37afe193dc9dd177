"""What domain capabilities say of the CPUs of guests, as libvirt of different ages writes them."""

from __future__ import annotations

from xml.etree import ElementTree

from kvmctl.host.guest_cpus import GuestCpus, Model, read

NEW = """
<domainCapabilities><cpu>
  <mode name='host-passthrough' supported='yes'/>
  <mode name='maximum' supported='no'/>
  <mode name='host-model' supported='yes'>
    <model fallback='forbid'>EPYC</model><vendor>AMD</vendor><maxphysaddr mode='passthrough' limit='40'/>
    <feature policy='require' name='x2apic'/><feature policy='disable' name='vme'/>
  </mode>
  <mode name='custom' supported='yes'>
    <model usable='yes' vendor='unknown' canonical='qemu64-v1'>qemu64</model>
    <model usable='no' vendor='Intel' deprecated='yes'>core2duo</model>
    <blockers model='core2duo'><feature name='ss'/><feature name='vme'/></blockers>
    <model usable='unknown' vendor='AMD'>EPYC</model>
  </mode>
</cpu></domainCapabilities>
"""
OLD = """
<domainCapabilities><cpu>
  <mode name='host-passthrough' supported='no'/>
  <mode name='host-model' supported='no'/>
  <mode name='custom' supported='yes'><model usable='no'>Haswell</model><model usable='yes'>Conroe</model></mode>
</cpu></domainCapabilities>
"""


def found(text: str) -> GuestCpus:
    return read(ElementTree.fromstring(text), arch="x86_64", accelerator="kvm")


def test_what_guests_can_have() -> None:
    cpus = found(NEW)
    assert (cpus.arch, cpus.accelerator, cpus.host_passthrough, cpus.maximum) == ("x86_64", "kvm", True, False)
    assert cpus.host_model is not None
    assert (cpus.host_model.model, cpus.host_model.vendor) == ("EPYC", "AMD")
    assert cpus.host_model.features == {"vme": "disable", "x2apic": "require"}
    assert cpus.models == (
        Model(name="core2duo", usable=False, vendor="Intel", deprecated=True, blockers=("ss", "vme")),
        Model(name="EPYC", usable=None, vendor="AMD"),
        Model(name="qemu64", usable=True, stands_for="qemu64-v1", blockers=()),
    )


def test_an_older_libvirt_does_not_say_what_is_missing() -> None:
    cpus = found(OLD)
    assert (cpus.host_model, cpus.host_passthrough) == (None, False)
    assert [(model.name, model.usable, model.blockers) for model in cpus.models] == [
        ("Conroe", True, ()),
        ("Haswell", False, None),
    ]


def test_a_host_that_says_nothing() -> None:
    for text in (None, "<domainCapabilities/>"):
        nothing = read(text and ElementTree.fromstring(text), arch="", accelerator="tcg")  # type: ignore[arg-type]
        assert (nothing.host_model, nothing.models) == (None, ())
