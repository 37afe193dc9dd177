"""`kvmctl pin auto` and `kvmctl pin pool`, on libvirt's test driver: 2 nodes of 8 CPUs without SMT."""

from __future__ import annotations

import libvirt
import pytest

from kvmctl.errors import Conflict, Refused
from kvmctl.host.connection import Host
from kvmctl.host.placing import check_alone
from kvmctl.host.targets import Target
from kvmctl.spec.metadata import NAMESPACE
from kvmctl.spec.xmltext import canonical, parse
from tests.commands.conftest import HOST, XML, Vms
from tests.conftest import InProcess

VCPUS = "<vcpu>{}</vcpu>"
ONE_SOCKET, TWO_SOCKETS = (
    f"<topology sockets='{sockets}' dies='1' cores='{cores}' threads='1'/>" for sockets, cores in ((1, 2), (2, 1))
)
SEEING = (
    "<metadata><k:vm xmlns:k='{}'><k:spec>cpu: {{pin: auto, topology: {}}}</k:spec></k:vm></metadata>"
    "<vcpu>2</vcpu><cpu><topology sockets='2' cores='1' threads='1'/></cpu>"
)
PINS = "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='{}'/></cputune>"


def test_a_plan_is_made_and_kept(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", more=VCPUS.format(3))
    done = run("pin auto web1 --exclusive --threads own_core --policy spread -o json").json
    assert done["state"] == "stopped"
    assert done["dry_run"] is False
    assert done["exclusive"] is True
    assert done["cost"] == done["bound"]
    chosen = [vcpu["cpu"] for vcpu in done["vcpus"]]
    assert len(set(chosen)) == 3
    assert len({cpu // 8 for cpu in chosen}) == 1
    xml = domain.XMLDesc()
    assert all(f"<vcpupin vcpu='{number}' cpuset='{cpu}'/>" in xml for number, cpu in enumerate(chosen))
    assert f'xmlns:kvmctl="{NAMESPACE}"' in xml
    assert 'exclusive="yes"' in xml
    again = run("pin auto web1 -o json").json
    assert again["exclusive"] is True
    assert [vcpu["cpu"] for vcpu in again["vcpus"]] == chosen
    assert run("pin auto web1 --no-exclusive -o json").json["exclusive"] is False
    assert 'exclusive="yes"' not in domain.XMLDesc()


def test_a_dry_run_draws_the_plan_and_changes_nothing(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", more=VCPUS.format(2))
    before = domain.XMLDesc()
    run("stop --force test")  # which was promised more memory than there is
    shown = run("pin auto web1 --dry-run --nodes 1 --stopped ignore")
    assert "+web1:0" in shown.stdout
    assert "node 1" in shown.stdout
    assert "no placement is better" in shown.stdout
    assert shown.stderr == "web1: would be pinned to 8,9\n"
    assert domain.XMLDesc() == before
    assert run("pin auto web1 --dry-run -o json").json["dry_run"] is True


def test_what_was_pinned_by_hand_beside_it_stays(run: InProcess, vms: Vms) -> None:
    placement = f"<metadata><k:vm xmlns:k='{NAMESPACE}'><k:placement pin='auto' by_hand='{{}}'/></k:vm></metadata>"
    pins = "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='3'/></cputune>"
    domain = vms.define("web1", more=placement.format("emulator") + pins)
    assert run("pin auto web1 --cpus 8 -o json").json["vcpus"][0]["cpu"] == 8
    assert "<emulatorpin cpuset='3'/>" in domain.XMLDesc()
    assert 'by_hand="emulator"' in domain.XMLDesc()
    run("pin set web1 --vcpu 0=9")
    assert "by_hand" not in domain.XMLDesc()
    run("stop --force test")  # which was promised more memory than there is
    run("pin auto web1 --stopped ignore --nodes 1")
    assert "<emulatorpin cpuset='3'/>" not in domain.XMLDesc()
    assert "nodeset='1'" in domain.XMLDesc()
    run("pin auto web1 --nodes 0")
    assert "nodeset='0'" in domain.XMLDesc(), "where it may be this time binds no other"


def test_a_guest_sees_its_new_place(run: InProcess, vms: Vms) -> None:
    other = vms.define("web2", more=SEEING.format(NAMESPACE, "2"))
    domain = vms.conn.defineXML(XML.format(name="web1", more=SEEING.format(NAMESPACE, "auto")).replace("1024", "65536"))
    run("stop --force test")  # which was promised more memory than there is
    run("pin auto web1 web2 --stopped ignore --cpus 2-3")
    assert ONE_SOCKET in domain.XMLDesc()
    assert TWO_SOCKETS in other.XMLDesc(), "its spec gives its topology"
    domain.create()
    seen = "its guest sees the new place from its next boot on"
    assert seen not in run("pin auto web1 --next-boot -o json").json["notes"]
    assert seen in run("pin auto web1 --cpus 3,9 -o json").json["notes"]
    later = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert TWO_SOCKETS in later
    assert "<memnode cellid='1' mode='strict' nodeset='1'/>" in later
    assert ONE_SOCKET in domain.XMLDesc()
    run("pin auto web1 --next-boot --cpus 11-12")
    later = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    assert ONE_SOCKET in later
    assert "<cell " not in later
    assert "<memory mode='strict' nodeset='1'/>" in later


def test_a_place_that_is_lost_leaves_all_as_it_was(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = vms.define("web1", more=SEEING.format(NAMESPACE, "auto"))
    before = canonical(parse(domain.XMLDesc()))

    def lost(*arguments: object, **options: object) -> None:
        assert ONE_SOCKET in domain.XMLDesc()
        raise Refused("nothing-fits", "somebody was faster")

    monkeypatch.setattr("kvmctl.host.moving.check_alone", lost)
    run("pin auto web1", exit=5)
    assert canonical(parse(domain.XMLDesc())) == before


def test_what_may_be_used_is_bounded(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=VCPUS.format(2))
    chosen = run("pin auto web1 --cpus 5,11-12 -o json").json["vcpus"]
    assert [vcpu["cpu"] for vcpu in chosen] == [11, 12]
    assert "not a set of CPUs" in run("pin auto web1 --cpus x", exit=2).stderr
    assert "--now and --next-boot" in run("pin auto web1 --now --next-boot", exit=2).stderr


def test_exclusive_cpus_are_left_alone(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=VCPUS.format(7))
    vms.define("web2", more=VCPUS.format(7))
    vms.define("web3", more=VCPUS.format(4))
    first = {vcpu["cpu"] for vcpu in run("pin auto web1 --exclusive -o json").json["vcpus"]}
    second = {vcpu["cpu"] for vcpu in run("pin auto web2 --exclusive -o json").json["vcpus"]}
    assert not first & second
    error = run("pin auto web3 -o json", exit=5).json["error"]
    assert error["code"] == "nothing-fits"
    assert "web1" in error["message"]
    assert "kvmctl pin" in error["hint"]
    third = {vcpu["cpu"] for vcpu in run("pin auto web3 --stopped ignore -o json").json["vcpus"]}
    assert third & (first | second)


def test_a_vm_does_not_start_where_another_is_alone(run: InProcess, vms: Vms) -> None:
    alone = vms.define("alone", more=VCPUS.format(1))
    cpu = run("pin auto alone --exclusive -o json").json["vcpus"][0]["cpu"]
    vms.define("late", more=PINS.format(cpu))
    run("start late")
    run("stop --force late")
    alone.create()
    for verb in ("start", "restart"):
        error = run(f"{verb} late -o json", exit=6).json["error"]
        assert error["code"] == "cpus-taken"
        assert f"CPUs {cpu} are alone's alone" in error["message"]
        assert vms.state("late") == 5
    vms.conn.lookupByName("late").create()
    assert run("start late -o json").json["changed"] is False
    assert run("restart --force late --timeout 0.1 -o json").json["state"] == "running", "it may stay where it was"


def test_near_a_device_that_is_not_there(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    assert run("pin auto web1 --near 0000:99:00.0 -o json", exit=3).json["error"]["code"] == "device-not-found"


def test_only_now_needs_a_running_vm(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    assert run("pin auto web1 --now -o json", exit=5).json["error"]["code"] == "vm-not-running"
    run("pin auto web1 --next-boot")


@pytest.mark.parametrize("named", [HOST, ""])
def test_the_pool_keeps_off_exclusive_cpus(named: str, run: InProcess, vms: Vms) -> None:
    vms.define("alone", more=VCPUS.format(2))
    floating = vms.define("web1")
    taken = {vcpu["cpu"] for vcpu in run("pin auto alone --exclusive -o json").json["vcpus"]}
    answer = run(f"pin pool {named} -o json").json
    assert answer["host"] == HOST
    assert "web1" in answer["changed"]
    assert set(answer["vms"]) == {"web1", "test"}
    assert not taken & _cpus(answer["cpus"])
    assert f"<vcpupin vcpu='0' cpuset='{answer['cpus']}'/>" in floating.XMLDesc()
    run("pin auto alone --no-exclusive")
    assert _cpus(run("pin pool -o json").json["cpus"]) == set(range(16))
    left = run("pin pool --off -o json").json
    assert left["cpus"] is None
    assert left["vms"] == []
    assert "vcpupin" not in floating.XMLDesc()
    assert NAMESPACE not in floating.XMLDesc()


def test_what_floats_follows_when_cpus_are_given_back_or_changed(run: InProcess, vms: Vms) -> None:
    vms.define("alone", "also", more=VCPUS.format(1))
    floating = vms.define("web1")
    run("pin auto alone --exclusive --cpus 0")
    run("pin auto also --exclusive --cpus 1")
    run("pin pool")

    def pool() -> set[int]:
        return _cpus(floating.XMLDesc().partition("<vcpupin vcpu='0' cpuset='")[2].partition("'")[0])

    assert pool() == {*range(2, 16)}
    assert "  web1: its vCPUs float over 0,2-8,10-15 now\n" in run("pin set alone --vcpu 0=9").stderr
    assert pool() == {0, *range(2, 16)} - {9}
    run("pin set alone --vcpu 0=8 --dry-run")
    run("pin set alone --shares 100")
    assert pool() == {0, *range(2, 16)} - {9}
    assert "web1: its vCPUs float over 0,2-15 now" in run("pin clear alone -o json").json["notes"]
    assert pool() == {0, *range(2, 16)}
    assert "  web1: its vCPUs float over 0-15 now\n" in run("delete also").stderr
    assert pool() == {*range(16)}


def test_a_vm_that_cannot_be_moved_is_told(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    vms.define("alone", more=VCPUS.format(1))
    vms.define("web1")
    run("pin auto alone --exclusive")
    run("pin pool")

    def gone(self: object, uuid: str) -> None:
        raise libvirt.libvirtError("it went away")

    monkeypatch.setattr(libvirt.virConnect, "lookupByUUIDString", gone)
    said = run("delete alone").stderr
    assert said.startswith("alone: deleted\n")
    assert "  web1: its threads could not be moved: " in said


def test_two_plans_for_one_cpu(vms: Vms) -> None:
    own = f"<metadata><k:vm xmlns:k='{NAMESPACE}'><k:placement exclusive='yes'/></k:vm></metadata>"
    vms.define("web1", more=own + PINS.format(3))
    uuid = vms.define("web2", more=PINS.format(3)).UUIDString()
    host = Host(Target(HOST, HOST), vms.conn, events=False)
    for new, hint in ((False, "kvmctl pin auto web2"), (True, "create it again; ")):
        with pytest.raises(Conflict, match="web1's alone") as caught:
            check_alone(host, uuid, new=new)
        assert (caught.value.code, caught.value.hint[: len(hint)]) == ("cpus-taken", hint)


def _cpus(text: str) -> set[int]:
    from kvmctl.spec.kinds import parse_cpus

    return set(parse_cpus(text))
