"""Pinning a VM: now and for the next boot, all of it or nothing."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import libvirt
import pytest

from kvmctl.errors import Conflict, Interrupted, KvmctlError, Refused
from kvmctl.host.connection import connect
from kvmctl.host.pinning import apply, set_placement
from kvmctl.host.redefining import redefine
from kvmctl.host.targets import Target
from kvmctl.host.undoing import Undo
from kvmctl.parallel import Work
from kvmctl.plan.placement.pins import Pins, pins_of, placement_of
from kvmctl.spec.metadata import NAMESPACE, SPEC, VM
from kvmctl.spec.xmltext import canonical, parse
from tests.commands.conftest import HOST, Vms
from tests.host.pinned import CONFIG, LIVE, Domain, host
from tests.host.test_topology import refusal

WANTED = Pins(
    vcpus={0: frozenset({4}), 3: frozenset({5})},
    emulator=frozenset({0, 1}),
    iothreads={1: frozenset({2})},
    nodes=frozenset({1}),
)
BEFORE = (
    "<cputune><vcpupin vcpu='0' cpuset='3'/><emulatorpin cpuset='7'/></cputune>"
    "<numatune><memory mode='restrictive' nodeset='0'/></numatune>"
)
UNABLE = refusal(libvirt.VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: cgroup cpuset is not mounted")
BROKEN = refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "cannot set CPU affinity")


def both(domain: Domain) -> tuple[str, str]:
    return canonical(domain.live), canonical(domain.config)


def pin(domain: Domain, pins: Pins = WANTED, *, live: bool = True, config: bool = True, **more: Any) -> tuple[str, ...]:
    return apply(host(domain), domain, pins, live=live, config=config, **more)


def test_now_and_for_the_next_boot() -> None:
    domain = Domain(BEFORE)
    assert pin(domain) == ()
    for document in (domain.live, domain.config):
        assert pins_of(document) == Pins(**{**vars(WANTED), "mode": "restrictive"})
    assert {call[0] for call in domain.calls} >= {"pinVcpuFlags", "pinEmulator", "pinIOThread", "setNumaParameters"}
    assert "defineXML" not in {call[0] for call in domain.calls}, "there are finer calls"


@pytest.mark.parametrize(("live", "config"), [(True, False), (False, True)])
def test_one_of_the_two_alone(live: bool, config: bool) -> None:
    domain = Domain(BEFORE)
    was = both(domain)
    pin(domain, live=live, config=config)
    changed = [now != then for now, then in zip(both(domain), was)]
    assert changed == [live, config]


def test_what_is_not_given_is_left_alone() -> None:
    domain = Domain(BEFORE)
    pin(domain, Pins(emulator=frozenset({1})))
    assert {call[0] for call in domain.calls} == {"pinEmulator", "XMLDesc"}
    assert pin(Domain(BEFORE), Pins()) == ()


def test_memory_that_is_held_nowhere_can_be_moved_again() -> None:
    domain = Domain()
    pin(domain, Pins(nodes=frozenset({1})))
    assert pins_of(domain.live).mode == "restrictive"
    assert pins_of(domain.config).mode == "strict"
    moded = Domain()
    pin(moded, Pins(nodes=frozenset({1}), mode="preferred"), live=False)
    assert pins_of(moded.config).mode == "preferred"


@pytest.mark.parametrize("broken", ["pinEmulator", "pinIOThread", "setNumaParameters", ("pinVcpuFlags", CONFIG),
                                    ("setNumaParameters", CONFIG)])  # fmt: skip
@pytest.mark.parametrize("before", [BEFORE, ""])
def test_a_failure_undoes_what_was_done(broken: Any, before: str) -> None:
    domain = Domain(before)
    was = canonical(domain.config)
    domain.refuse[broken] = BROKEN
    with pytest.raises(KvmctlError) as caught:
        pin(domain)
    assert caught.value.message == "cannot pin it: cannot set CPU affinity"
    assert caught.value.details == ()
    assert canonical(domain.config) == was
    everywhere = frozenset(range(8))
    pins = pins_of(domain.live)
    assert (pins.vcpus or {}).get(0, everywhere) == (frozenset({3}) if before else everywhere)
    assert (pins.vcpus or {}).get(3, everywhere) == everywhere
    assert (pins.emulator or everywhere) == (frozenset({7}) if before else everywhere)
    assert (pins.nodes or frozenset({0, 1})) == (frozenset({0}) if before else frozenset({0, 1}))


def test_what_cannot_be_undone_is_told() -> None:
    domain = Domain(BEFORE)
    domain.refuse["pinEmulator"] = BROKEN

    def lost() -> None:
        if domain.calls[-1][2:] == (0, frozenset({3})):
            raise refusal(libvirt.VIR_ERR_SYSTEM_ERROR, "gone")

    domain.refuse["pinVcpuFlags"] = lost
    with pytest.raises(KvmctlError) as caught:
        pin(domain)
    assert caught.value.details == ("and it could not be undone: cannot undo what was done: gone",)


def test_an_interruption_undoes_what_was_done() -> None:
    domain = Domain(BEFORE)
    was = both(domain)
    cancelled = threading.Event()
    domain.refuse["pinEmulator"] = cancelled.set
    with pytest.raises(Interrupted):
        pin(domain, Pins(vcpus={0: frozenset({4})}, emulator=frozenset({1})), work=Work(60, cancelled))
    assert both(domain) == was


def test_what_cannot_be_done_live_comes_with_the_next_boot() -> None:
    domain = Domain(BEFORE)
    domain.refuse["setNumaParameters", LIVE] = UNABLE
    assert pin(domain) == ("memory: at the next boot and not now, because cgroup cpuset is not mounted",)
    assert pins_of(domain.live).nodes == frozenset({0})
    assert pins_of(domain.config).nodes == frozenset({1})


def test_what_cannot_be_done_live_is_refused_where_nothing_else_is_asked_for() -> None:
    domain = Domain(BEFORE)
    was = canonical(domain.config)
    domain.refuse["setNumaParameters", LIVE] = UNABLE
    with pytest.raises(Refused) as caught:
        pin(domain, config=False)
    assert (caught.value.code, caught.value.vm) == ("not-supported", "web1")
    assert caught.value.message == "cannot change memory while it runs: cgroup cpuset is not mounted"
    assert "--next-boot" in caught.value.hint
    assert pins_of(domain.live).emulator == frozenset({7})
    assert canonical(domain.config) == was


def test_a_vm_that_stops_meanwhile_is_no_vm_that_cannot() -> None:
    domain = Domain(BEFORE)

    def stop() -> None:
        domain.running = False
        raise refusal(libvirt.VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: domain is not running")

    domain.refuse["pinEmulator", LIVE] = stop
    with pytest.raises(Refused) as caught:
        pin(domain)
    assert caught.value.code == "vm-not-running"


def test_a_driver_without_finer_calls_is_given_a_definition() -> None:
    domain = Domain(BEFORE)
    no = refusal(libvirt.VIR_ERR_INVALID_ARG, "unsupported flags (0x2) in function testDomainPinVcpuFlags")
    domain.refuse["pinVcpuFlags"] = no
    notes = pin(domain)
    assert notes[0] == "vCPU 0: at the next boot and not now, because its libvirt has no such option"
    assert pins_of(domain.config).vcpus == {0: frozenset({4}), 3: frozenset({5})}


# -- a part of something larger -----------------------------------------------------------------------


def test_it_is_undone_with_what_comes_after_it() -> None:
    domain = Domain(BEFORE)
    was = canonical(domain.config)

    def several_deeds() -> None:
        with Undo("web1") as undo:
            pin(domain, undo=undo)
            set_placement(domain, {"policy": "spread"}, live=True, config=True, undo=undo)
            assert placement_of(domain.config) == {"policy": "spread"}
            raise KvmctlError("libvirt-failed", "no")

    with pytest.raises(KvmctlError, match="no"):
        several_deeds()
    assert placement_of(domain.config) is None
    assert placement_of(domain.live) is None
    domain.config.remove(domain.config.find("metadata"))  # type: ignore[arg-type]
    assert canonical(domain.config) == was


# -- the wish that is kept ----------------------------------------------------------------------------

KEPT = f"<metadata><k:vm xmlns:k='{NAMESPACE}'><k:spec>name: web1\n</k:spec></k:vm></metadata>"


def test_a_wish_is_kept_beside_the_spec() -> None:
    domain = Domain(KEPT)
    set_placement(domain, {"policy": "spread", "pin": "auto"}, live=True, config=True)
    for document in (domain.live, domain.config):
        assert placement_of(document) == {"policy": "spread", "pin": "auto"}
        assert document.findtext(f"metadata/{VM}/{SPEC}") == "name: web1\n"
    calls = len(domain.calls)
    set_placement(domain, {"pin": "auto", "policy": "spread"}, live=True, config=True)
    assert len(domain.calls) == calls, "it is kept already"
    set_placement(domain, {"policy": "compact"}, live=False, config=True)
    assert placement_of(domain.config) == {"policy": "compact"}
    assert placement_of(domain.live) == {"policy": "spread", "pin": "auto"}
    set_placement(domain, None, live=True, config=True)
    assert placement_of(domain.config) is None
    assert domain.config.findtext(f"metadata/{VM}/{SPEC}") == "name: web1\n"


def test_our_element_goes_with_the_last_that_is_in_it() -> None:
    domain = Domain()
    set_placement(domain, None, live=True, config=True)
    assert domain.calls == []
    set_placement(domain, {"policy": "spread"}, live=False, config=True)
    set_placement(domain, None, live=False, config=True)
    assert domain.config.find(f"metadata/{VM}") is None


# -- definitions --------------------------------------------------------------------------------------


def test_a_definition_is_changed_only_if_something_changes() -> None:
    domain = Domain(BEFORE)
    assert redefine(domain, lambda document: None) is False
    assert "defineXML" not in {call[0] for call in domain.calls}
    assert redefine(domain, lambda document: document.set("type", "qemu")) is True
    assert domain.config.get("type") == "qemu"
    assert domain.live.get("type") == "kvm"


def test_what_somebody_else_changes_at_the_same_moment_is_not_lost() -> None:
    domain = Domain()
    reads = iter(range(100))

    def meanwhile() -> None:
        if next(reads) == 1:  # between the reading and the writing
            domain.config.find("vcpu").text = "3"  # type: ignore[union-attr]

    domain.refuse["XMLDesc"] = meanwhile
    assert redefine(domain, lambda document: document.set("type", "qemu")) is True
    assert (domain.config.get("type"), domain.config.findtext("vcpu")) == ("qemu", "3")


def test_a_definition_that_never_rests_is_left_alone() -> None:
    domain = Domain()
    reads = iter(range(100))
    domain.refuse["XMLDesc"] = lambda: domain.config.set("type", f"t{next(reads)}")
    with pytest.raises(Conflict) as caught:
        redefine(domain, lambda document: document.set("id", "1"))
    assert caught.value.code == "state-changed"
    assert "defineXML" not in {call[0] for call in domain.calls}


def test_a_vm_without_a_definition_gets_none() -> None:
    with pytest.raises(Refused) as caught:
        redefine(Domain(persistent=False), lambda document: document.set("type", "qemu"))
    assert caught.value.code == "not-supported"


def test_on_libvirt_s_test_driver() -> None:
    wanted = Pins(vcpus={0: frozenset({1})}, emulator=frozenset({2}), nodes=frozenset({1}))
    with closing(Vms()) as vms, connect(Target(HOST, HOST)) as here:
        domain = vms.define("web1", running=True, more="<vcpu>2</vcpu>")
        notes = apply(here, domain, wanted, live=True, config=True)
        set_placement(domain, {"policy": "spread"}, live=True, config=True)
        now, later = (parse(domain.XMLDesc(flags)) for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE))
    assert notes == ("vCPU 0: at the next boot and not now, because its libvirt has no such option",)
    assert pins_of(later) == Pins(**{**vars(wanted), "iothreads": {}, "mode": "strict"})
    assert (pins_of(now).emulator, pins_of(now).nodes) == (frozenset({2}), frozenset({1}))
    assert placement_of(now) == placement_of(later) == {"policy": "spread"}
