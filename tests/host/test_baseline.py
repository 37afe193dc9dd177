"""The CPU that hosts share, computed by libvirts of different ages, and the hosts that a spec may name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from kvmctl.errors import HostUnreachable, KvmctlError
from kvmctl.host import baseline as module
from kvmctl.host.baseline import Baseline, baseline, hosts_of_spec
from kvmctl.host.connection import Host
from kvmctl.host.targets import Target
from kvmctl.parallel import Work

CAPABILITIES = """<capabilities><host><cpu><arch>{arch}</arch></cpu></host>
<guest><arch name='{arch}'><domain type='qemu'/></arch></guest></capabilities>"""
OFFER = """<domainCapabilities><cpu><mode name='host-model' supported='yes'><model>{model}</model>
<vendor>{vendor}</vendor>{features}</mode></cpu></domainCapabilities>"""
SHARED = "<cpu mode='custom'><model>Haswell</model><vendor>Intel</vendor><feature policy='disable' name='rtm'/></cpu>"


def problem(text: str, domain: int = libvirt.VIR_FROM_CPU) -> libvirt.libvirtError:
    error = libvirt.libvirtError(text)
    error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, domain, text, 2, None, None, None, 0, 0)
    return error


class Connection:
    """A host that knows the features `known`, computes `answer`, and runs what `runs` says."""

    def __init__(self, *, version: int = 9_000_000, model: str = "Haswell", features: tuple[str, ...] = ()) -> None:
        self.version = version
        self.model = model
        self.features = features
        self.vendor = "Intel"
        self.arch = "x86_64"
        self.unknown: frozenset[str] = frozenset()
        self.answer = SHARED
        self.runs: Callable[[str], int] = lambda cpu: libvirt.VIR_CPU_COMPARE_SUPERSET
        self.computed: list[str] | None = None

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt's name
        return CAPABILITIES.format(arch=self.arch)

    def getLibVersion(self) -> int:  # noqa: N802
        return self.version

    def getDomainCapabilities(self, emulator: None, arch: str, machine: str, kind: str, flags: int) -> str:  # noqa: N802
        assert (emulator, arch, machine, kind) == (None, self.arch, "q35", "qemu")
        features = "".join(f"<feature policy='require' name='{name}'/>" for name in self.features)
        return OFFER.format(model=self.model, vendor=self.vendor, features=features)

    def baselineHypervisorCPU(  # noqa: N802
        self, emulator: None, arch: str, machine: str, kind: str, cpus: list[str], flags: int
    ) -> str:
        assert flags == libvirt.VIR_CONNECT_BASELINE_CPU_MIGRATABLE
        self.computed = cpus
        named = {feature.get("name") for cpu in cpus for feature in ElementTree.fromstring(cpu).findall("feature")}
        if named & self.unknown:
            raise problem(f"Unknown CPU feature {min(map(str, named & self.unknown))}")
        return self.answer

    def compareHypervisorCPU(  # noqa: N802
        self, emulator: None, arch: str, machine: str, kind: str, cpu: str, flags: int
    ) -> int:
        return self.runs(cpu)


Hosts = Callable[..., list[Target]]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """`hosts(host1=Connection())`: hosts that can be connected to."""
    known: dict[str, Connection] = {}

    @contextmanager
    def connect(target: Target, **more: Any) -> Iterator[Host]:
        if target.name not in known:
            raise HostUnreachable("host-unreachable", f"{target.name}: no answer")
        yield Host(target, known[target.name], events=False)

    monkeypatch.setattr(module, "connect", connect)

    def add(**connections: Connection) -> list[Target]:
        known.update(connections)
        return [Target(name, f"qemu+ssh://{name}/system") for name in connections]

    return add


def shared(targets: list[Target], **more: str) -> Baseline:
    return baseline(targets, Work(60, threading.Event()), **more)


def refused(targets: list[Target], **more: str) -> KvmctlError:
    with pytest.raises(KvmctlError) as caught:
        shared(targets, **more)
    return caught.value


def test_what_a_spec_says_of_it(hosts: Hosts) -> None:
    found = shared(hosts(host1=Connection(), host2=Connection()))
    assert found == Baseline(model="Haswell", features={"rtm": "disable"}, arch="x86_64", accelerator="tcg")


def test_the_newest_libvirt_computes(hosts: Hosts) -> None:
    old = Connection(version=9_000_000)
    new = Connection(version=11_003_000, model="Skylake-Client", features=("new-one",))
    old.unknown = frozenset({"new-one"})
    assert shared(hosts(old=old, new=new)).model == "Haswell"
    assert old.computed is None
    models = [ElementTree.fromstring(cpu).findtext("model") for cpu in new.computed or ()]
    assert models == ["Haswell", "Skylake-Client"]


def test_an_answer_that_a_host_cannot_run_is_not_taken(hosts: Hosts) -> None:
    old, new = Connection(), Connection(version=11_003_000)
    new.answer = "<cpu><model>Haswell-v9</model></cpu>"

    def runs(cpu: str) -> int:
        if "Haswell-v9" in cpu:
            raise problem("Unknown CPU model Haswell-v9")
        return int(libvirt.VIR_CPU_COMPARE_IDENTICAL)

    old.runs = runs
    assert shared(hosts(old=old, new=new)).model == "Haswell"
    old.answer = new.answer
    error = refused(hosts(old=old, new=new))
    assert (error.code, error.exit_code) == ("no-common-cpu", 5)
    assert error.message == "no CPU is common to old, new"
    assert [line.strip() for line in error.details] == [
        "new: finds Haswell-v9, which cannot run on old",
        "old: finds Haswell-v9, which cannot run on old",
    ]


def test_a_host_that_does_less(hosts: Hosts) -> None:
    weak = Connection()
    weak.runs = lambda cpu: libvirt.VIR_CPU_COMPARE_INCOMPATIBLE
    assert "cannot run on weak" in refused(hosts(weak=weak, strong=Connection())).details[0]


def test_nobody_can_compute_it(hosts: Hosts) -> None:
    one, two = Connection(features=("a",)), Connection(features=("b",))
    one.unknown, two.unknown = frozenset("b"), frozenset("a")
    error = refused(hosts(one=one, two=two))
    assert error.code == "no-common-cpu"
    assert [line.strip() for line in error.details] == ["one: Unknown CPU feature b", "two: Unknown CPU feature a"]


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("vendor", "AMD", "different vendors: host1 has Intel, host2 has AMD"),
        ("arch", "i686", "different kinds: host1 has x86_64, host2 has i686"),
    ],
)
def test_hosts_that_cannot_share(hosts: Hosts, attribute: str, value: str, said: str) -> None:
    other = Connection()
    setattr(other, attribute, value)
    error = refused(hosts(host1=Connection(), host2=other))
    assert error.code == "no-common-cpu"
    assert said in error.message


def test_guests_of_another_architecture(hosts: Hosts) -> None:
    error = refused(hosts(host1=Connection()), arch="aarch64")
    assert error.code == "no-common-cpu"
    assert "x86_64, and the guest's is aarch64" in error.message


def test_a_host_without_kvm(hosts: Hosts) -> None:
    error = refused(hosts(host1=Connection()), accelerator="kvm")
    assert error.code == "no-common-cpu"
    assert "host1 cannot run guests by KVM" in error.message


def test_a_host_that_does_not_answer(hosts: Hosts) -> None:
    targets = [*hosts(host1=Connection()), Target("gone", "qemu+ssh://gone/system")]
    assert (refused(targets).code, refused(targets).exit_code) == ("host-unreachable", 7)


def test_a_connection_that_is_lost_is_no_answer(hosts: Hosts) -> None:
    lost = Connection()

    def runs(cpu: str) -> int:
        raise problem("client socket is closed", libvirt.VIR_FROM_RPC)

    lost.runs = runs
    with pytest.raises(libvirt.libvirtError, match="closed"):  # `connect` makes our own error of it
        shared(hosts(host1=lost))


# -- the hosts that a spec names --------------------------------------------------------------------


def test_hosts_of_a_spec_are_those_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("hosts: {host2: 'qemu+ssh://host2/system'}\n")
    monkeypatch.setenv("KVMCTL_CONFIG", str(file))
    assert [target.uri for target in hosts_of_spec(["host2"])] == ["qemu+ssh://host2/system"]
    with pytest.raises(KvmctlError) as caught:
        hosts_of_spec(["host3"])
    assert (caught.value.code, caught.value.exit_code) == ("host-not-found", 3)


@pytest.mark.parametrize("uri", ["qemu+ssh://host2/system", "qemu+ext:///system?command=/tmp/x"])
def test_a_spec_names_no_uri(uri: str) -> None:
    with pytest.raises(KvmctlError) as caught:
        hosts_of_spec([uri])
    assert (caught.value.code, caught.value.exit_code) == ("unsafe-uri", 5)
    assert "config.yaml" in caught.value.hint
