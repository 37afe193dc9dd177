"""What CPUs guests can have on real hosts, and which one they share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kvmctl.spec.xmltext import parse
from tests.lab.hosts import Host
from tests.lab.test_first_light import WHERE


@pytest.mark.parametrize("where", WHERE)
def test_what_a_cpu_offers(where: str, host1: Host, host2: Host) -> None:
    shown = host1.kvmctl(f"host show --cpu {WHERE[where]} -o json").json
    assert (shown["arch"], shown["accelerator"]) == ("x86_64", "tcg")
    assert {"sse2", "lm"} <= set(shown["features"])
    assert shown["host_model"]["model"]
    assert (shown["host_passthrough"], shown["maximum"]) == (False, True)
    usable = {model["name"]: model["usable"] for model in shown["models"]}
    assert usable["qemu64"] is True
    assert False in usable.values()


def test_the_cpu_that_hosts_share_runs_on_both(host1: Host, host2: Host, guest_spec: Callable[..., Path]) -> None:
    found = host1.kvmctl("host show --baseline host1 host2-ssh")
    cpu = yaml.safe_load(found.stdout)["cpu"]
    spec = guest_spec("web1")
    written = yaml.safe_load(spec.read_text())
    spec.write_text(yaml.safe_dump({**written, "cpu": {**cpu, "count": 1}}))
    for host in ("host1", "host2"):
        host1.kvmctl(f"create {spec} --start -H {host}")
        xml = host1.kvmctl(f"xml web1 -H {host}").stdout
        assert f">{cpu['model']}</model>" in xml


def test_a_spec_names_the_hosts_that_share(host1: Host, host2: Host, guest_spec: Callable[..., Path]) -> None:
    found = host1.kvmctl("host show --baseline host1 host2 -o json").json
    spec = guest_spec("web1")
    spec.write_text(spec.read_text().replace("cpu: 1", "cpu: {count: 1, model: {baseline: [host1, host2]}}"))
    for host in ("host1", "host2", "embedded"):
        host1.kvmctl(f"create {spec} -H {host}")
        cpu = parse(host1.kvmctl(f"xml web1 -H {host}").stdout).find("cpu")
        assert cpu is not None
        assert cpu.findtext("model") == found["model"]
        policies = {feature.get("name"): feature.get("policy") for feature in cpu.findall("feature")}
        assert policies == found["features"]


def test_a_baseline_with_a_host_that_is_gone(host1: Host, host2: Host) -> None:
    host2.stop_libvirtd()
    refused = host1.kvmctl("host show --baseline host1 host2 -o json", exit=7).json["error"]
    assert refused["code"] == "host-unreachable"
