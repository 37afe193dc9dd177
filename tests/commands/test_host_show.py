"""`kvmctl host show --cpu` and `--baseline`. What real hosts say is in tests/lab and tests/metal."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kvmctl.commands.host.show import show
from kvmctl.host import baseline, guest_cpus
from kvmctl.host.baseline import Baseline
from kvmctl.host.targets import Target
from tests.commands.conftest import HOST, Vms
from tests.commands.test_show import keys, words
from tests.conftest import InProcess

CPU = {
    "name": "host1",
    "uri": "qemu:///system",
    "arch": "x86_64",
    "vendor": "AMD",
    "model": "EPYC",
    "features": ["aes", "svm"],
    "accelerator": "kvm",
    "host_model": {"model": "EPYC", "vendor": "AMD", "features": {"vme": "disable", "x2apic": "require"}},
    "host_passthrough": True,
    "maximum": False,
    "models": [
        {"name": name, "usable": usable, "vendor": None, "deprecated": False, "stands_for": full, "blockers": blockers}
        for name, usable, full, blockers in (
            ("486", False, "486-v1", ["vme"]),
            ("486-v1", False, None, None),
            ("qemu64", True, "qemu64-v1", []),
            ("qemu64-v1", True, None, []),
        )
    ],
}


def test_a_host_that_says_little(run: InProcess, vms: Vms) -> None:
    shown = run("host show --cpu -o json").json
    assert (shown["name"], shown["arch"], shown["accelerator"]) == (HOST, "i686", "tcg")
    assert (shown["host_model"], shown["models"], shown["features"]) == (None, [], [])
    assert (shown["host_passthrough"], shown["maximum"]) == (False, False)
    assert keys(shown) <= words(show.help or "")


def test_several_hosts(run: InProcess, vms: Vms, tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_text("<node/>")
    other = f"test://{tmp_path}/empty.xml"
    assert [host["name"] for host in run(f"host show --cpu {HOST} {other} -o json").json] == [HOST, other]


def test_for_people(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_cpus, "describe", lambda target, work: CPU)
    lines = [line.split(maxsplit=1) for line in run("host show --cpu").stdout.splitlines()]
    assert lines == [
        ["host1"],
        ["CPU", "x86_64, AMD, EPYC"],
        ["features", "2 (-o wide shows them)"],
        [],
        ["guests", "run by KVM"],
        ["host-model", "EPYC +x2apic -vme"],
        ["passthrough", "yes"],
        ["maximum", "no"],
        ["models", "qemu64"],
        ["not", "usable     2 models (-o wide says what the host lacks for them)"],
    ]
    wide = run("host show --cpu -o wide").stdout
    assert "aes svm" in wide
    assert ["486", "no", "-", "486-v1", "vme"] in [line.split() for line in wide.splitlines()]


def test_a_baseline_is_a_piece_of_a_spec(run: InProcess, vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(targets: list[Target], work: object) -> Baseline:
        assert [target.name for target in targets] == [HOST, "test:///other"]
        return Baseline(model="Haswell", features={"rtm": "disable"}, arch="x86_64", accelerator="kvm")

    monkeypatch.setattr(baseline, "baseline", answer)
    line = f"host show --baseline {HOST} test:///other"
    shown = run(line).stdout
    assert yaml.safe_load(shown) == {"cpu": {"model": "Haswell", "features": {"rtm": "disable"}}}
    run("validate -", input=f"name: web1\nmemory: 1GiB\n{shown}")
    document = run(f"{line} -o json").json
    assert (document["model"], document["hosts"]) == ("Haswell", [HOST, "test:///other"])
    assert keys(document) - {"rtm"} <= words(show.help or "")


def test_no_baseline_with_a_host_that_does_not_say(run: InProcess, vms: Vms) -> None:
    refused = run("host show --baseline -o json", exit=5).json["error"]
    assert refused["code"] == "not-supported"
    assert "does not say which CPU it gives to guests" in refused["message"]


def test_one_of_the_two(run: InProcess, vms: Vms) -> None:
    assert run("host show --cpu --baseline -o json", exit=2).json["error"]["code"] == "usage"
