"""`kvmctl pin show`, `set` and `clear`, on libvirt's test driver: it pins emulators and memory, and no vCPU that runs.

Its host has 2 nodes with 8 CPUs each.
"""

from __future__ import annotations

import json
import re
from typing import Any

import libvirt
import pytest

from kvmctl.commands.pin.show import show
from kvmctl.spec.metadata import NAMESPACE
from tests.commands.conftest import HOST, Vms
from tests.commands.test_show import keys, words
from tests.conftest import InProcess

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
PINNED = """
<metadata><k:vm xmlns:k='{namespace}'>{placement}<k:spec>name: x</k:spec></k:vm></metadata>
<vcpu current='2'>3</vcpu><iothreads>1</iothreads>
<cputune>
  <shares>512</shares><global_period>50000</global_period><global_quota>75000</global_quota>
  <vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='9'/><emulatorpin cpuset='0-1'/>
  <iothreadpin iothread='1' cpuset='4'/><vcpusched vcpus='0' scheduler='fifo' priority='10'/>
</cputune>
<numatune><memory mode='strict' nodeset='0'/></numatune>
"""


def pinned(placement: str = "") -> str:
    return PINNED.format(namespace=NAMESPACE, placement=placement)


def later(vms: Vms, name: str = "web1") -> str:
    """What the definition says of CPUs, memory and placement."""
    text = vms.conn.lookupByName(name).XMLDesc(INACTIVE)
    found = re.findall(
        r"<vcpu .*?</vcpu>|<cputune>.*?</cputune>|<numatune>.*?</numatune>|<\S+:placement.*?>", text, re.S
    )
    return re.sub(r"\s*\n\s*", "", "".join(found))


def live(vms: Vms, name: str = "web1") -> str:
    text: str = vms.conn.lookupByName(name).XMLDesc(0)
    return text


# -- show ---------------------------------------------------------------------------------------------


def test_where_a_stopped_vm_will_be(run: InProcess, vms: Vms) -> None:
    domain = vms.define("web1", more=pinned("<k:placement policy='spread'/>"))
    shown = run("pin show web1 -o json").json
    assert (shown["name"], shown["uuid"], shown["state"], shown["host"]) == (
        "web1",
        domain.UUIDString(),
        "stopped",
        HOST,
    )
    assert (shown["host_cpus"], shown["persistent"], shown["process"]) == ("0-15", True, False)
    first, second, third = shown["vcpus"]
    assert (first["number"], first["online"], first["next_boot"], first["live"]) == (0, True, "1", None)
    assert first["scheduler"] == {"next_boot": "fifo:10", "live": None, "actual": None}
    assert (first["actual"], first["cpu"], first["node"], first["time"]) == (None, None, None, None)
    assert (second["next_boot"], third["next_boot"], third["online"]) == ("9", None, False)
    assert (shown["emulator"]["next_boot"], shown["emulator"]["threads"]) == ("0-1", [])
    assert [(thread["number"], thread["next_boot"]) for thread in shown["iothreads"]] == [(1, "4")]
    assert shown["memory"] == {
        "nodes": {"next_boot": "0", "live": None},
        "mode": {"next_boot": "strict", "live": None},
        "actual": None,
    }
    assert (shown["shares"]["next_boot"], shown["quota"]["next_boot"], shown["period_us"]["next_boot"]) == (
        512,
        150,
        50000,
    )
    assert shown["placement"] == {"policy": "spread"}
    assert {found["code"] for found in shown["findings"]} == {"spread-nodes", "helpers-on-vcpu-cores"}


def test_for_people(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=pinned("<k:placement policy='spread'/>"))
    said = run("pin show web1").stdout
    assert said.startswith("web1: stopped\n")
    for line in (
        "  memory         held to node 0 (strict)",
        "  shares         512",
        "  quota          150% together",
        "  period         50000 µs",
        "  placement      policy spread",
        "  THREAD      PIN  SCHEDULER",
        "  vCPU 0      1    fifo:10",
        "  vCPU 1      9    other",
        "  emulator    0-1  other",
        "  iothread 1  4    other",
        "  ! its vCPUs are on nodes 0-1, where 1 would do",
        "    kvmctl pin auto web1",
    ):
        assert line in said.splitlines()
    assert "vCPU 2" not in said
    wide = run("pin show web1 -o wide").stdout
    assert "vCPU 2 (off)  any" in wide
    assert run("pin show web1 -o name").stdout == "web1\n"


def test_a_running_vm_and_its_next_boot(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True, more=pinned())
    vms.conn.defineXML(vms.conn.lookupByName("web1").XMLDesc(INACTIVE).replace("cpuset='9'", "cpuset='2-3,5,7'"))
    shown = run("pin show web1 -o json").json
    assert (shown["vcpus"][1]["live"], shown["vcpus"][1]["next_boot"]) == ("9", "2-3,5,7")
    assert shown["vcpus"][0]["cpu"] is None, "what the driver makes up is not shown"
    codes = {found["code"]: found for found in shown["findings"]}
    assert codes["next-boot-differs"]["what"] == "the next boot changes vCPU 1 from 9 to 2-3,5,7"
    said = run("pin show web1").stdout
    assert re.search(r"^  vCPU 1      9    2-3,5,7    other$", said, re.MULTILINE)
    assert max(map(len, said.splitlines())) <= 80


def test_long_sets_of_cpus_are_cut_short_in_tables(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more="<cputune><emulatorpin cpuset='0,2,4,6,8,10,12,14,15'/></cputune>")
    assert "emulator  0,2,4,6,8,10,12,14-15" in run("pin show web1").stdout
    vms.conn.lookupByName("web1").create()
    said = run("pin show web1 -o wide").stdout
    assert re.search(r"^  emulator  0,2,4,6,…  0,2,4,6,…  -", said, re.MULTILINE)
    assert "emulator  0,2,4,6,8,10,12,14-15" in run("pin show web1").stdout
    assert run("pin show web1 -o json").json["emulator"]["live"] == "0,2,4,6,8,10,12,14-15"


def test_every_field_is_documented(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True, more=pinned("<k:placement policy='spread'/>"))
    assert keys(run("pin show web1 -o json").json) <= words(show.help or "")


def test_several_and_none(run: InProcess, vms: Vms) -> None:
    vms.define("web1", "web2", more=pinned())
    assert [vm["name"] for vm in run("pin show web2 web1 -o json").json] == ["web2", "web1"]
    done = run("pin show web1 nothing -o json", exit=9)
    assert done.json[1]["error"]["code"] == "vm-not-found"
    assert run("pin show nothing -o json", exit=3).json["error"]["code"] == "vm-not-found"


def test_a_vm_without_a_definition(run: InProcess, vms: Vms) -> None:
    vms.transient("passing")
    shown = run("pin show passing -o json").json
    assert (shown["persistent"], shown["emulator"]["next_boot"]) == (False, None)
    assert "next boot" not in run("pin show passing").stdout


# -- set ----------------------------------------------------------------------------------------------


def test_pinning_a_stopped_vm(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more="<vcpu>4</vcpu><iothreads>1</iothreads>")
    options = (
        "--vcpu 0=4 --vcpu 1-3=5-7 --emulator 0-1 --iothread 1=2 --nodes 0 --mode preferred --shares 200 --quota 150%"
    )
    done = run(f"pin set web1 {options} --period 50ms --scheduler fifo:10 --emulator-scheduler batch -o json")
    assert later(vms) == (
        "<vcpu placement='static'>4</vcpu><cputune><shares>200</shares><global_period>50000</global_period>"
        "<global_quota>75000</global_quota><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='1' cpuset='5'/>"
        "<vcpupin vcpu='2' cpuset='6'/><vcpupin vcpu='3' cpuset='7'/><emulatorpin cpuset='0-1'/>"
        "<iothreadpin iothread='1' cpuset='2'/><emulatorsched scheduler='batch'/>"
        + "".join(f"<vcpusched vcpus='{number}' scheduler='fifo' priority='10'/>" for number in range(4))
        + "</cputune><numatune><memory mode='preferred' nodeset='0'/></numatune>"
    )
    item = done.json
    assert (item["name"], item["state"], item["changed"], item["dry_run"]) == ("web1", "stopped", True, False)
    assert (item["now"], item["next_boot"], item["postponed"]) == (False, True, [])
    assert item["set"] == {
        "vcpus": {"0": "4", "1": "5", "2": "6", "3": "7"},
        "emulator": "0-1",
        "iothreads": {"1": "2"},
        "nodes": "0",
        "mode": "preferred",
        "vcpu_schedulers": dict.fromkeys("0123", "fifo:10"),
        "emulator_scheduler": "batch",
        "shares": 200,
        "quota": 150,
        "period_us": 50000,
    }
    said = run(f"pin set web1 {options} --period 50ms --scheduler fifo:10").stderr
    assert said == "web1: is so already\n"


def test_how_firmly_memory_is_held(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    run("pin set web1 --nodes 1 --mode interleave")
    assert "<memory mode='interleave' nodeset='1'/>" in later(vms)
    assert "--nodes, which is missing" in run("pin set web1 --mode strict", exit=2).stderr
    run("pin set web1 --nodes 0")
    assert "<memory mode='interleave' nodeset='0'/>" in later(vms), "the mode is left as it is"


def test_what_people_are_told(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more="<vcpu>4</vcpu><iothreads>2</iothreads>")
    options = (
        "--vcpu 0-3=4-5 --emulator 0 --iothread 1-2=1-2 --nodes 0-1 --shares 7 --scheduler rr:1 --vcpu 0-1 --iothread 2"
    )
    assert run(f"pin set web1 {options}").stderr == (
        "web1: has vCPUs 0-3 on 4-5, the emulator on 0, iothread 1 on 1, iothread 2 on 2, memory on node 0-1, "
        "vCPUs 0-1 rr:1, iothread 2 rr:1, shares 7; from the next boot on\n"
        "  vCPUs: 4 vCPUs share CPUs 4-5, and wait for one another\n"
    )
    said = run("pin set web1 --shares none --quota none --scheduler other --emulator-scheduler idle").stderr
    assert said == "web1: has vCPUs 0-3 other, the emulator idle, no shares, no quota; from the next boot on\n"
    assert "sched" not in later(vms).replace("<emulatorsched scheduler='idle'/>", "").replace(
        "<iothreadsched iothreads='2' scheduler='rr' priority='1'/>", ""
    )


def test_a_dry_run_does_nothing(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=pinned())
    before = later(vms)
    done = run("pin set web1 --emulator 3 --dry-run -o json")
    assert (done.json["dry_run"], done.json["changed"]) == (True, True)
    assert (
        run("pin set web1 --emulator 3 --dry-run").stderr
        == "web1: would have the emulator on 3; from the next boot on\n"
    )
    assert run("pin clear web1 --dry-run").stderr == "web1: would float; from the next boot on\n"
    assert later(vms) == before


def test_a_running_vm_is_pinned_now_and_for_its_next_boot(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True)
    assert run("pin set web1 --emulator 3 --nodes 1").stderr.startswith(
        "web1: has the emulator on 3, memory on node 1; now and from the next boot on\n"
    )
    assert "<emulatorpin cpuset='3'/>" in later(vms)
    assert "<emulatorpin cpuset='3'/>" in live(vms)
    assert run("pin set web1 --emulator 4 --now").stderr == "web1: has the emulator on 4; now\n"
    assert run("pin set web1 --emulator 5 --next-boot").stderr == "web1: has the emulator on 5; from the next boot on\n"
    assert "<emulatorpin cpuset='5'/>" in later(vms)
    assert "<emulatorpin cpuset='4'/>" in live(vms)


def test_what_cannot_be_done_now_is_said(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True)
    assert run("pin set web1 --vcpu 0=3 --scheduler batch").stderr == (
        "web1: has vCPU 0 on 3, vCPU 0 batch; now, but for what follows, and from the next boot on\n"
        "  vCPU 0: at the next boot and not now, because its libvirt has no such option\n"
        "  the scheduler: at the next boot and not now, because only kvmctl on the host itself can, and libvirt has no "
        "call for it\n"
    )
    assert "<vcpupin vcpu='0' cpuset='3'/><vcpusched vcpus='0' scheduler='batch'/>" in later(vms)
    done = run("pin set web1 --vcpu 0=4 --now -o json", exit=5)
    assert done.json["error"]["code"] == "not-supported"
    assert "cpuset='4'" not in later(vms)


def test_everything_impossible_is_said_at_once(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more="<vcpu>2</vcpu>")
    before = later(vms)
    done = run(
        "pin set web1 --vcpu 2=0 --vcpu 0=16 --iothread 1=1 --nodes 2 --shares 0 --quota 1% --period 1ms -o json",
        exit=5,
    )
    error = done.json["error"]
    assert (error["code"], error["vm"], error["message"]) == (
        "impossible",
        "web1",
        "cannot be pinned like that, for 6 reasons",
    )
    assert {reason["code"] for reason in error["reasons"]} == {
        "no-such-vcpu",
        "no-such-iothread",
        "no-such-cpu",
        "no-such-node",
        "shares-out-of-range",
        "quota-too-small",
    }
    assert "  vCPU 0: the host has no CPU 16; it has 0-15\n    hint: kvmctl host topology" in done.stderr
    one = run("pin set web1 --vcpu 0=16", exit=5)
    assert "cannot be pinned like that: vCPU 0: the host has no CPU 16; it has 0-15\nhint: " in one.stderr
    assert later(vms) == before


def test_cpus_that_another_vm_has_alone(run: InProcess, vms: Vms) -> None:
    vms.define("owner", more=pinned("<k:placement exclusive='yes'/>"))
    vms.define("web1")
    done = run("pin set web1 --vcpu 0=9 -o json", exit=5)
    assert [reason["code"] for reason in done.json["error"]["reasons"]] == ["cpus-exclusive"]
    assert done.json["error"]["hint"].endswith("or --force")
    run("pin set web1 --vcpu 0=9 --force")
    assert "<vcpupin vcpu='0' cpuset='9'/>" in later(vms)
    codes = {found["code"] for found in run("pin show web1 -o json").json["findings"]}
    assert "exclusive-shared" in codes


def test_one_of_two_vms_fails_and_the_other_is_pinned(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more="<vcpu>1</vcpu>")
    vms.define("web2", more="<vcpu>2</vcpu>")
    done = run("pin set web1 web2 --vcpu 1=3 --emulator 1 -o json", exit=9)
    assert done.json[0]["error"]["code"] == "impossible"
    assert done.json[1]["set"] == {"vcpus": {"1": "3"}, "emulator": "1"}
    assert "cputune" not in later(vms, "web1")
    assert "<vcpupin vcpu='1' cpuset='3'/><emulatorpin cpuset='1'/>" in later(vms, "web2")


def test_a_placement_that_is_made_by_hand_is_left_there(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=pinned("<k:placement policy='spread' pin='auto' pooled='yes'/>"))
    said = run("pin set web1 --shares 3").stderr
    assert "by hand" not in said
    said = run("pin set web1 --emulator 3").stderr
    assert "its pins are made by hand now, so kvmctl no longer changes them by itself" in said
    assert run("pin show web1 -o json").json["placement"] == {"policy": "spread"}
    run("pin clear web1")
    run("pin set web1 --emulator 3")
    assert "<spec>name: x</spec>" in vms.conn.lookupByName("web1").metadata(
        2, NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "nothing is asked for"),
        ("--vcpu 0", "name the threads that --scheduler is for"),
        ("--vcpu x=1", "--vcpu: 'x' is not a set of CPUs"),
        ("--vcpu 0=", "--vcpu: '' is not a set of CPUs"),
        ("--vcpu 0=1 --vcpu 0-1=2", "--vcpu 0 is given twice"),
        ("--emulator 3-1", "--emulator: '3-1' is not a set of CPUs"),
        ("--nodes all", "--nodes: 'all' is not a set of "),
        ("--mode strict", "--nodes, which is missing"),
        ("--scheduler fifo", "fifo and rr have a priority"),
        ("--scheduler batch:1", "fifo and rr have a priority"),
        ("--scheduler rr:100", "100 is out of range"),
        ("--scheduler best", "'best' is not one of other, batch, idle, fifo, rr"),
        ("--emulator-scheduler fifo", "--emulator-scheduler: fifo and rr have a priority"),
        ("--shares -1", "-1 is out of range"),
        ("--quota 1.5", "is not a percentage"),
        ("--period 5", "is not a time"),
        ("--emulator 1 --now --next-boot", "--now and --next-boot exclude each other"),
    ],
)
def test_wrong_options(run: InProcess, vms: Vms, options: str, said: str) -> None:
    vms.define("web1")
    assert said in run(f"pin set web1 {options}", exit=2).stderr
    assert "cputune" not in later(vms)


def test_now_and_next_boot_need_what_they_change(run: InProcess, vms: Vms) -> None:
    vms.define("web1")
    vms.transient("passing")
    assert run("pin set web1 --emulator 1 --now -o json", exit=5).json["error"]["code"] == "vm-not-running"
    assert run("pin clear passing --next-boot -o json", exit=5).json["error"]["code"] == "not-supported"
    assert run("pin set passing --emulator 1").stderr == "passing: has the emulator on 1; now\n"
    assert "<emulatorpin cpuset='1'/>" in live(vms, "passing")
    assert run("pin set nothing --emulator 1", exit=3).stdout == ""


# -- clear --------------------------------------------------------------------------------------------


def test_everything_is_taken_away_but_shares_and_quota(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more=pinned("<k:placement policy='spread' exclusive='yes'/>"))
    assert run("pin clear web1").stderr == "web1: floats over the whole host, from the next boot on\n"
    assert later(vms) == (
        "<vcpu placement='static' current='2'>3</vcpu><cputune><shares>512</shares>"
        "<global_period>50000</global_period><global_quota>75000</global_quota></cputune>"
    )
    exported = run("export web1 -o json").json
    assert not {"pin", "emulator_pin", "iothread_pin", "placement", "scheduler"} & exported["cpu"].keys()
    assert "numa" not in exported
    assert "pin" not in json.dumps(exported.get("raw_xml") or "")
    done = run("pin clear web1 -o json").json
    assert (done["changed"], done["now"], done["next_boot"], done["pooled"]) == (False, False, True, False)
    assert run("pin clear web1").stderr == "web1: has no pins\n"
    assert keys(done) <= words(_help("clear"))


def test_a_running_vm_is_let_go(run: InProcess, vms: Vms) -> None:
    vms.define("web1", running=True)
    run("pin set web1 --emulator 3 --nodes 1")
    before = live(vms)
    run("pin clear web1 --next-boot")
    assert "emulatorpin" not in later(vms)
    assert live(vms) == before
    run("pin clear web1 --now -o json")
    shown = run("pin show web1 -o json").json
    assert shown["memory"]["nodes"] == {"next_boot": None, "live": "0-1"}
    assert "<emulatorpin cpuset='3'/>" not in live(vms)


def test_a_vm_of_the_pool_goes_back_to_the_pool(run: InProcess, vms: Vms) -> None:
    vms.define("owner", more=pinned("<k:placement exclusive='yes'/>"))
    vms.define(
        "web1",
        more="<vcpu cpuset='3'>2</vcpu>" + pinned("<k:placement policy='spread' pooled='yes'/>").partition("<vcpu")[0],
    )
    done = run("pin clear web1 -o json").json
    assert done["pooled"] is True
    pool = "0,2-8,10-15"
    kept, _, pins = later(vms).partition("<vcpu ")
    assert kept.endswith(':placement pooled="yes"/>')
    assert pins == (
        f"placement='static'>2</vcpu><cputune><vcpupin vcpu='0' cpuset='{pool}'/><vcpupin vcpu='1' cpuset='{pool}'/>"
        f"<emulatorpin cpuset='{pool}'/></cputune>"
    )
    assert run("pin clear web1").stderr == "web1: has no pins\n"


def test_clearing_several(run: InProcess, vms: Vms) -> None:
    vms.define("web1", "web2", more=pinned())
    done = run("pin clear web1 nothing web2 -o json", exit=9)
    assert [vm.get("changed") for vm in done.json] == [True, None, True]
    assert run("pin clear web1 --now --next-boot", exit=2).stdout == ""


def _help(name: str) -> str:
    from kvmctl.commands.pin.clear import clear
    from kvmctl.commands.pin.set import set_

    commands: dict[str, Any] = {"clear": clear, "set": set_}
    return commands[name].help or ""


def test_what_set_answers_is_documented(run: InProcess, vms: Vms) -> None:
    vms.define("web1", more="<vcpu>1</vcpu><iothreads>1</iothreads>")
    options = "--vcpu 0=1 --emulator 1 --iothread 1=1 --nodes 0 --mode strict --scheduler batch --vcpu 0 --iothread 1"
    done = run(f"pin set web1 {options} --emulator-scheduler idle --shares 5 --quota 50% -o json").json
    assert keys(done) <= words(_help("set"))
