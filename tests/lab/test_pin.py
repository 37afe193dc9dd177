"""`kvmctl pin` on a real libvirtd without cgroups: what the kernel does with QEMU's threads is looked at in /proc."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvmctl.spec.xmltext import canonical, parse
from tests.lab.guest import UP
from tests.lab.hosts import Host
from tests.lab.waiting import until, until_said
from tests.results import Result

FAULTS = Path(__file__).parent / "faults"
STEPS = 60
"""More libvirt calls than one `pin set` makes."""
EVERYTHING = "--vcpu 0=1 --vcpu 1=0 --emulator 1 --iothread 1=0 --nodes 0 --shares 300"
Spec = Callable[..., Path]
EVERYWHERE = frozenset(range(os.cpu_count() or 1))


def define(host: Host, spec: Spec, name: str = "web1", cpu: str = "count: 2, max: 3", more: str = "") -> None:
    """A VM with vCPUs and an iothread."""
    path = spec(name, more)
    path.write_text(path.read_text().replace("cpu: 1\n", f"cpu: {{{cpu}, iothreads: 1}}\n"))
    host.kvmctl(f"create {path}")


def threads(pid: int) -> dict[str, int]:
    """QEMU's threads by name; the first of a name."""
    found: dict[str, int] = {}
    for entry in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda entry: int(entry.name)):
        found.setdefault((entry / "comm").read_text().strip(), int(entry.name))
    return found


def affinities(host: Host, name: str = "web1") -> dict[str, set[int]]:
    return {thread: os.sched_getaffinity(tid) for thread, tid in threads(host.qemu_pid(name)).items()}


def policies(host: Host, name: str = "web1") -> dict[str, tuple[int, int]]:
    return {
        thread: (os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority)
        for thread, tid in threads(host.qemu_pid(name)).items()
    }


def tuned(host: Host, name: str = "web1", *, live: bool = False) -> str:
    """What the XML says of CPUs, memory and placement, without white space."""
    text = host.run(["virsh", "dumpxml", *([] if live else ["--inactive"]), name]).stdout
    parts = r"<vcpu .*?</vcpu>|<cputune>.*?</cputune>|<numatune>.*?</numatune>|<kvmctl:placement.*?>"
    return re.sub(r"\s*\n\s*", "", "".join(re.findall(parts, text, re.DOTALL)))


def test_pins_now_and_at_the_next_boot(host1: Host, guest_spec: Spec, tmp_path: Path) -> None:
    define(host1, guest_spec)
    host1.kvmctl("start web1")
    until_said(tmp_path / "web1.log", UP)
    done = host1.kvmctl("pin set web1 --vcpu 0-1=0-1 --vcpu 2=1 --emulator 1 --iothread 1=0")
    assert done.stderr.startswith(
        "web1: has vCPU 0 on 0, vCPUs 1-2 on 1, the emulator on 1, iothread 1 on 0; now and from the next boot on\n"
    )
    now = affinities(host1)
    assert (now["CPU 0/TCG"], now["CPU 1/TCG"], now["IO iothread1"]) == ({0}, {1}, {0})
    own = [cpus for name, cpus in now.items() if not name.startswith(("CPU", "IO iothread"))]
    assert own == [{1}] * len(own), "all of QEMU's own threads, not the first alone"
    assert len(own) > 1
    pins = (
        "<cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/><vcpupin vcpu='2' cpuset='1'/>"
        "<emulatorpin cpuset='1'/><iothreadpin iothread='1' cpuset='0'/></cputune>"
    )
    assert pins in tuned(host1)
    assert pins in tuned(host1, live=True)

    def show() -> Any:
        return host1.kvmctl("pin show web1 -o json").json

    shown = show()
    assert (shown["process"], [vcpu["actual"] for vcpu in shown["vcpus"]]) == (True, ["0", "1", None])
    assert [vcpu["online"] for vcpu in shown["vcpus"]] == [True, True, False]
    # It is where the thread ran last, and one that sleeps moves when it wakes: a reset wakes it for sure.
    host1.kvmctl("reset web1")
    until(lambda: [show()["vcpus"][0][key] for key in ("cpu", "node")] == [0, 0], "vCPU 0 runs on CPU 0")
    assert shown["vcpus"][0]["time"] > 0
    assert (shown["emulator"]["actual"], shown["iothreads"][0]["actual"]) == ("1", "0")
    assert {thread["actual"] for thread in shown["emulator"]["threads"]} == {"1"}
    assert sum(shown["memory"]["actual"].values()) > 32 * 2**20
    assert not {"next-boot-differs", "actual-differs"} & {found["code"] for found in shown["findings"]}
    host1.run("virsh setvcpus web1 3 --live")
    assert affinities(host1)["CPU 2/TCG"] == {1}, "plugged in later"
    host1.kvmctl("stop web1 --force --timeout 0.1")
    host1.kvmctl("start web1")
    assert affinities(host1)["CPU 1/TCG"] == {1}


def test_schedulers_now_and_at_the_next_boot(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec)
    host1.kvmctl("start web1")
    host1.kvmctl("pin set web1 --scheduler fifo:10 --vcpu 1 --emulator-scheduler batch")
    for _ in range(2):
        now = policies(host1)
        assert (now["CPU 0/TCG"], now["CPU 1/TCG"]) == ((os.SCHED_OTHER, 0), (os.SCHED_FIFO, 10))
        assert (now["qemu-system-x86"], now["IO iothread1"]) == ((os.SCHED_BATCH, 0), (os.SCHED_OTHER, 0))
        shown = host1.kvmctl("pin show web1 -o json").json
        assert shown["vcpus"][1]["scheduler"]["actual"] == "fifo:10"
        assert "next-boot-differs" not in {found["code"] for found in shown["findings"]}
        host1.kvmctl("stop web1 --force --timeout 0.1")
        host1.kvmctl("start web1")
    host1.kvmctl("pin set web1 --scheduler other")
    assert policies(host1)["CPU 1/TCG"] == (os.SCHED_OTHER, 0)
    assert "<vcpusched" not in tuned(host1)


def test_what_cannot_be_had_without_cgroups(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec)
    host1.kvmctl("start web1")
    said = host1.kvmctl("pin set web1 --nodes 0 --shares 200").stderr
    assert said == (
        "web1: has memory on node 0, shares 200; now, but for what follows, and from the next boot on\n"
        "  memory: at the next boot and not now, because cgroup cpuset controller is not mounted\n"
        "  shares have no effect without cgroups, which libvirt does not have on this host\n"
    )
    assert "<memory mode='strict' nodeset='0'/>" in tuned(host1)
    assert "<shares>200</shares>" in tuned(host1)
    before = tuned(host1)
    done = host1.kvmctl("pin set web1 --quota 50% --emulator 0 -o json", exit=5)
    assert [reason["code"] for reason in done.json["error"]["reasons"]] == ["no-cgroups"]
    # From another host nothing is known before libvirt refuses; then all is as before, too.
    far = Host.kvmctl(host1, f"-H {host1.uri} pin set web1 --quota 50% --emulator 0 -o json", exit=5)
    assert "would not start with one: cgroup CPU controller is not mounted" in far.json["error"]["message"]
    assert tuned(host1) == before
    assert affinities(host1)["qemu-system-x86"] == EVERYWHERE
    done = host1.kvmctl("pin set web1 --nodes 0 --now -o json", exit=5)
    assert done.json["error"]["code"] == "not-supported"
    host1.kvmctl("stop web1 --force --timeout 0.1")
    host1.kvmctl("start web1")


def test_everything_is_taken_away(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec)
    host1.kvmctl("start web1")
    exported = host1.kvmctl("export web1").stdout
    host1.kvmctl("pin set web1 --vcpu 0-2=0 --emulator 1 --iothread 1=0 --nodes 0 --scheduler batch")
    assert "pin:" in host1.kvmctl("export web1").stdout
    assert host1.kvmctl("pin clear web1").stderr == "web1: floats over the whole host, now and from the next boot on\n"
    now = affinities(host1)
    assert set(map(frozenset, now.values())) == {EVERYWHERE}
    assert {policy for policy, _ in policies(host1).values()} == {os.SCHED_OTHER}
    assert host1.kvmctl("export web1").stdout == exported
    shown = host1.kvmctl("pin show web1 -o json").json
    assert [found["code"] for found in shown["findings"]] == ["vcpus-float"]
    assert host1.kvmctl("pin clear web1").stderr == "web1: has no pins\n"


def test_a_stopped_vm_and_one_without_a_definition(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec)
    said = host1.kvmctl("pin set web1 --vcpu 0=1 --iothread 1=0").stderr
    assert said == "web1: has vCPU 0 on 1, iothread 1 on 0; from the next boot on\n"
    host1.kvmctl("start web1")
    assert affinities(host1)["CPU 0/TCG"] == {1}
    host1.run("virsh undefine web1")
    assert host1.kvmctl("pin set web1 --vcpu 0=0 --scheduler idle").stderr == (
        "web1: has vCPU 0 on 0, vCPUs 0-2 idle; now\n"
    )
    assert affinities(host1)["CPU 0/TCG"] == {0}
    assert policies(host1)["CPU 1/TCG"] == (os.SCHED_IDLE, 0)
    assert host1.run("virsh list --all --persistent --name").stdout.split() == [], "it got no definition"
    assert host1.kvmctl("pin clear web1").stderr == "web1: floats over the whole host, now\n"
    assert affinities(host1)["CPU 0/TCG"] == EVERYWHERE


def test_one_of_two_vms_fails(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec, "web1")
    define(host1, guest_spec, "web2", "count: 1")
    host1.kvmctl("start web1 web2")
    done = host1.kvmctl("pin set web1 web2 --vcpu 1=0 --emulator 0 -o json", exit=9)
    assert done.json[0]["set"] == {"vcpus": {"1": "0"}, "emulator": "0"}
    assert done.json[1]["error"]["reasons"][0]["code"] == "no-such-vcpu"
    assert affinities(host1, "web1")["CPU 1/TCG"] == {0}
    assert set(map(frozenset, affinities(host1, "web2").values())) == {EVERYWHERE}
    assert "cputune" not in tuned(host1, "web2")


def test_what_is_wrong_with_two_vms_on_one_cpu(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec, "web1", "count: 1")
    define(host1, guest_spec, "web2", "count: 1")
    host1.kvmctl("start web1")
    host1.kvmctl("pin set web1 web2 --vcpu 0=0")
    shown = {found["code"]: found["what"] for found in host1.kvmctl("pin show web1 -o json").json["findings"]}
    assert shown["shared-cpus"] == "shares CPU 0 with web2 (stopped)"
    os.sched_setaffinity(threads(host1.qemu_pid("web1"))["CPU 0/TCG"], {1})
    os.sched_setaffinity(threads(host1.qemu_pid("web1"))["IO iothread1"], {1})
    said = host1.kvmctl("pin show web1").stdout
    assert re.search(r"^  vCPU 0      0    1  ", said, re.MULTILINE)
    assert "the kernel has vCPU 0 on 1 instead of 0 and iothread 1 on 1 instead of" in " ".join(said.split())
    host1.kvmctl("pin clear web1")
    assert set(map(frozenset, affinities(host1).values())) == {EVERYWHERE}


def test_from_another_host(host1: Host, host2: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec)
    host1.kvmctl("start web1")
    done = host2.kvmctl("-H host1 pin set web1 --vcpu 0=1 --emulator 0 --iothread 1=1 --scheduler batch")
    assert "the scheduler: at the next boot and not now, because only kvmctl on the host itself can" in done.stderr
    assert affinities(host1)["CPU 0/TCG"] == {1}
    shown = host2.kvmctl("-H host1 pin show web1 -o json").json
    assert (shown["process"], shown["memory"]["actual"], shown["emulator"]["actual"]) == (False, None, None)
    assert (shown["vcpus"][0]["actual"], shown["vcpus"][0]["cpu"], shown["iothreads"][0]["actual"]) == ("1", 1, "1")
    assert "only root on the host itself" in " ".join(host2.kvmctl("-H host1 pin show web1").stdout.split())
    assert policies(host1)["CPU 0/TCG"] == (os.SCHED_OTHER, 0)
    assert "<vcpusched vcpus='0' scheduler='batch'/>" in tuned(host1)


def test_on_the_embedded_host(host1: Host, guest_spec: Spec) -> None:
    path = guest_spec("web1")
    path.write_text(path.read_text().replace("cpu: 1\n", "cpu: 2\n"))
    host1.kvmctl(f"-H embedded create {path} --start")
    host1.kvmctl("-H embedded pin set web1 --vcpu 0-1=0-1 --emulator 0 --scheduler rr:5")
    now = affinities(host1)
    assert (now["CPU 0/TCG"], now["CPU 1/TCG"], now["qemu-system-x86"]) == ({0}, {1}, {0})
    assert policies(host1)["CPU 1/TCG"] == (os.SCHED_RR, 5)
    shown = host1.kvmctl("-H embedded pin show web1 -o json").json
    assert (shown["process"], shown["vcpus"][1]["actual"]) == (True, "1")
    done = host1.kvmctl("-H embedded pin set web1 --quota 50% -o json", exit=5)
    assert [reason["code"] for reason in done.json["error"]["reasons"]] == ["no-cgroups"]
    host1.kvmctl("-H embedded pin clear web1")
    assert set(map(frozenset, affinities(host1).values())) == {EVERYWHERE}
    host1.kvmctl("-H embedded delete web1 --force")


def test_a_vm_that_hangs_is_shown(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec)
    host1.kvmctl("start web1")
    os.kill(host1.qemu_pid("web1"), signal.SIGSTOP)
    shown = host1.kvmctl("pin show web1 -o json").json
    assert shown["iothreads"][0]["actual"] is not None
    os.kill(host1.qemu_pid("web1"), signal.SIGCONT)


SECRET = """<graphics type='vnc' port='-1' autoport='yes' passwd='geheim'/>"""
QEMU = """<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<qemu:env name='KEPT' value='1'/></qemu:commandline>"""
FOREIGN = "<metadata><app:note xmlns:app='urn:app' at='1'>kept &amp; well</app:note></metadata>"


def test_what_a_new_definition_must_keep(host1: Host, guest_spec: Spec) -> None:
    define(host1, guest_spec, more="autostart: true")
    text = host1.run("virsh dumpxml --inactive web1").stdout
    text = re.sub(r"<metadata.*</metadata>", FOREIGN, text, flags=re.DOTALL)
    text = text.replace("</devices>", f"{SECRET}</devices>").replace("</domain>", f"{QEMU}</domain>")
    host1.run("virsh define /dev/stdin", input=text)
    host1.run("virsh snapshot-create-as web1 first", check=False)
    host1.kvmctl("start web1")
    host1.run("virsh managedsave web1")
    before = host1.run("virsh dumpxml --inactive --security-info web1").stdout
    assert "passwd='geheim'" in before
    host1.kvmctl("pin set web1 --scheduler batch --shares 300")
    after = host1.run("virsh dumpxml --inactive --security-info web1").stdout
    tune = re.search(r"  <cputune>.*</cputune>\n", after, re.DOTALL)
    assert tune is not None
    assert canonical(parse(after.replace(tune[0], ""))) == canonical(parse(before))
    host1.kvmctl("pin clear web1")
    host1.kvmctl("pin set web1 --shares none")
    again = host1.run("virsh dumpxml --inactive --security-info web1").stdout
    assert canonical(parse(again)) == canonical(parse(before))
    assert "managed save:   yes" in re.sub(" {2,}", "   ", host1.run("virsh dominfo web1").stdout.lower())
    assert "autostart:   enable" in re.sub(" {2,}", "   ", host1.run("virsh dominfo web1").stdout.lower())


def faulty(host: Host, command: str, kind: str, at: int, log: Path) -> Result:
    env = {
        "PYTHONPATH": f"{FAULTS}:{host.environment['PYTHONPATH']}",
        "FAULT": kind,
        "FAULT_AT": str(at),
        "FAULT_LOG": str(log),
    }
    log.write_text("")
    return host.kvmctl(command, exit=None, env=env)


def all_of(host: Host) -> Any:
    return tuned(host), tuned(host, live=True), affinities(host), policies(host)


@pytest.mark.parametrize("kind", ["error", "interrupt"])
@pytest.mark.parametrize("command", [f"pin set web1 {EVERYTHING} --scheduler batch", "pin clear web1"])
def test_all_or_nothing_at_every_call(host1: Host, guest_spec: Spec, tmp_path: Path, kind: str, command: str) -> None:
    define(host1, guest_spec)
    host1.kvmctl("pin set web1 --vcpu 0-2=0 --emulator 0 --iothread 1=1 --nodes 0")
    host1.kvmctl("start web1")
    host1.kvmctl("pin set web1 --scheduler idle")
    before, undone = all_of(host1), 0
    for at in range(1, STEPS):
        done = faulty(host1, command, kind, at, tmp_path / "calls")
        if done.exit_code == 0:
            break
        assert done.exit_code == (1 if kind == "error" else 130)
        assert "could not be undone" not in done.stderr
        assert all_of(host1) == before, (tmp_path / "calls").read_text()
        undone += 1
    assert undone >= (3 if kind == "error" else 6)
    assert at < STEPS - 1
    assert all_of(host1) != before
