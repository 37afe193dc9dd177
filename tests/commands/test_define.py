"""init, validate, xml, schema, create, export: on libvirt's test driver where a host is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import kvmctl
from tests.conftest import InProcess

TEMPLATES = sorted(path.stem for path in (Path(kvmctl.__file__).parent / "templates").glob("*.yaml"))
CASES = Path(__file__).parent.parent / "cases"
HOST = "-H test:///default"
MISTAKES = """\
name: web1
cpu: {count: many}
memmory: 4GiB
memory: 4GB
disks:
  - {path: /srv/a.raw, bus: virtoi}
  - {path: /srv/b.img}
networks: default
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "web1.yaml"
    path.write_text("name: web1\nmemory: 1GiB\naccelerator: tcg\n")
    return path


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_gives_a_spec_that_is_right(run: InProcess, tmp_path: Path, template: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(run(f"init {template} --name x1").stdout)
    assert f"{path}: x1: no mistakes" in run(["validate", path]).stderr
    assert "<name>x1</name>" in run(["xml", "--offline", path]).stdout


def test_init_writes_a_new_file_and_never_over_one(run: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "web1.yaml"
    done = run(["init", "minimal", "--name", "web1", "--file", path, "-o", "json"])
    assert done.json == {"name": "web1", "template": "minimal", "file": str(path), "spec": path.read_text()}
    before = path.read_text()
    assert run(["init", "--file", path, "-o", "json"], exit=6).json["error"]["code"] == "file-exists"
    assert path.read_text() == before
    assert "did you mean" in run("init minmal", exit=3).stderr or "minimal" in run("init minmal", exit=3).stderr
    assert run("init linux --name ../x", exit=4).stdout == ""
    assert (
        run(["init", "--file", tmp_path / "none" / "x.yaml", "-o", "json"], exit=1).json["error"]["code"]
        == "write-failed"
    )


def test_a_template_lies_below_a_spec(run: InProcess, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("template: minimal\ncpu: 3\nmemory: 1GiB\n")
    (tmp_path / "top.yaml").write_text("name: top\ntemplate: ./base.yaml\nmemory: 2GiB\n")
    xml = run(["xml", "--offline", tmp_path / "top.yaml"]).stdout
    assert '<memory unit="KiB">2097152</memory>' in xml
    assert ">3</vcpu>" in xml
    assert "top-vda.qcow2" in xml
    (tmp_path / "base.yaml").write_text("template: base.yaml\n")
    assert "templates lie below each other" in run(["validate", tmp_path / "top.yaml"], exit=4).stderr
    (tmp_path / "base.yaml").write_text("cpu: none\n")
    assert "base.yaml:1:6: cpu: expected a whole number" in run(["validate", tmp_path / "top.yaml"], exit=4).stderr
    assert (
        "there is no template 'lnux'"
        in run(["validate", tmp_path / "top.yaml", "--set", "template=lnux"], exit=4).stderr
    )


def test_all_mistakes_at_once_for_people_and_for_programs(run: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(MISTAKES)
    done = run(["validate", path, "-o", "json"], exit=4)
    error = done.json["error"]
    assert (error["code"], error["exit_code"]) == ("spec-invalid", 4)
    found = [(place["line"], place["column"], place["path"]) for place in error["where"]]
    assert found == [
        (2, 14, "cpu.count"),
        (3, 1, "memmory"),
        (4, 9, "memory"),
        (6, 29, "disks[0].bus"),
        (7, 12, "disks[1].path"),
        (8, 11, "networks"),
    ]
    assert all(place["file"] == str(path) for place in error["where"])
    assert "did you mean 'virtio'?" in done.stderr
    assert f"{path}:6:29: disks[0].bus: 'virtoi' is not one of" in done.stderr
    good = tmp_path / "good.yaml"
    good.write_text("name: x\nmemory: 1GiB\n")
    both = run(["validate", good, path, path], exit=4)
    assert "2 specs have 12 mistakes" in both.stderr


def test_validate_tells_programs_what_is_right(run: InProcess, spec: Path) -> None:
    assert run(["validate", spec, "-o", "json"]).json == {"name": "web1", "file": str(spec), "valid": True}
    assert run(["validate", spec, spec, "-o", "name"]).stdout == "web1\nweb1\n"
    assert run(["validate", spec, "-q"]).stderr == ""
    assert "-: s1: no mistakes" in run("validate -", input="name: s1\nmemory: 1GiB\n").stderr


@pytest.mark.parametrize("setting", ["cpu", "=4", ".=1", "cpu.count.more=1", "name=[", "disks.7.size=1GiB"])
def test_a_wrong_setting_is_told(run: InProcess, spec: Path, setting: str) -> None:
    done = run(["validate", spec, "--set", setting], exit=None)
    assert done.exit_code in (2, 4)
    assert setting.partition("=")[0] in done.stderr


def test_settings_change_any_key(run: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nmemory: 1GiB\ndisks: [{name: vda, size: 1GiB}]\n")
    changed = ["--set", "cpu.count=3", "--set", "disks.vda.bus=sata", "--set", "networks=[{user: true}]"]
    xml = run(["xml", "--offline", path, "--set", "name=y", *changed]).stdout
    for part in ("<name>y</name>", ">3</vcpu>", 'bus="sata"', '<interface type="user">'):
        assert part in xml


def test_without_a_host_it_is_said_that_pins_are_chosen_on_one(run: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nmemory: 1GiB\ncpu: {count: 2, pin: auto, topology: auto}\n")
    done = run(["xml", "--offline", path])
    assert "decided on a host, by 'kvmctl create': pin: auto, topology: auto" in done.stderr
    assert "vcpupin" not in done.stdout
    assert 'pin="auto"' in done.stdout


def test_the_schema_is_json_and_has_every_key(run: InProcess) -> None:
    schema = json.loads(run("schema").stdout)
    assert schema["properties"]["name"]["description"]
    assert set(run("schema -o json").json["properties"]) == set(schema["properties"])
    assert run("schema -o yaml").stdout.startswith("$schema: ")


def test_the_schema_accepts_every_case_and_refuses_unknown_keys(run: InProcess) -> None:
    check = Draft202012Validator(json.loads(run("schema").stdout))
    for path in CASES.glob("*.yaml"):
        document = {key: value for key, value in yaml.safe_load(path.read_text()).items() if value is not None}
        problems = list(check.iter_errors(texts(document)))
        assert problems == [], (path, problems)
    assert list(check.iter_errors({"nam": "x"}))


def texts(value: Any) -> Any:
    """YAML mappings may have numbers as keys; JSON's have not."""
    if isinstance(value, dict):
        return {str(key): texts(item) for key, item in value.items()}
    return [texts(item) for item in value] if isinstance(value, list) else value


def test_create_makes_a_vm(run: InProcess, spec: Path) -> None:
    done = run(f"{HOST} create {spec} --start -o json")
    assert (done.json["name"], done.json["state"], done.json["disks"]) == ("web1", "running", [])
    assert "web1: created and started" in done.stderr


def test_a_dry_run_makes_nothing(run: InProcess, spec: Path) -> None:
    done = run(f"{HOST} create {spec} --dry-run")
    assert "<name>web1</name>" in done.stdout
    assert "web1: would be created" in done.stderr
    item = run(f"{HOST} create {spec} --dry-run -o json").json
    assert (item["dry_run"], item["state"], item["uuid"]) == (True, None, None)
    assert run(f"{HOST} create {spec} --dry-run --set name=test", exit=6).stdout == ""


def test_a_name_or_uuid_that_is_taken_is_a_conflict(run: InProcess, spec: Path) -> None:
    done = run(f"{HOST} create {spec} --set name=test -o json", exit=6)
    assert done.json["error"]["code"] == "vm-exists"
    assert done.json["error"]["vm"] == "test"
    taken = "6695eb01-f6a4-8304-79aa-97f2502e193f"
    assert "leave out uuid" in run(f"{HOST} create {spec} --set uuid={taken}", exit=6).stderr


def test_libvirts_own_vm_is_exported_whole(run: InProcess, tmp_path: Path) -> None:
    text = run(f"{HOST} export test").stdout
    path = tmp_path / "again.yaml"
    assert f"wrote {path}" in run(f"{HOST} export test --file {path}").stderr
    assert path.read_text() == text
    assert run(["validate", path, "-q"]).stderr == ""
    assert "/guest/diskimage1" in run(["xml", "--offline", path]).stdout
    assert run(f"{HOST} export test -o json").json["name"] == "test"
    assert len(run(f"{HOST} export test --short").stdout) < len(text)
    assert run(f"{HOST} export tset", exit=3).stderr.count("did you mean 'test'?") == 1


def test_xml_of_a_vm_is_libvirts_own(run: InProcess) -> None:
    assert run(f"{HOST} xml test").stdout.startswith("<domain type='test'")
    assert run(f"{HOST} xml test --next-boot -o json").json["state"] == "running"


@pytest.mark.parametrize("option", ["--start", "--dry-run"])
def test_specs_are_checked_before_any_host_is_asked(run: InProcess, tmp_path: Path, option: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(MISTAKES)
    assert run(["-H", "qemu+tcp://127.0.0.1:1/system", "create", path, option], exit=4).stdout == ""


@pytest.mark.parametrize("name", ["\udcff", "a\0b", "é" * 400, "-x", "../test", " "])
@pytest.mark.parametrize("verb", ["start", "show", "delete", "export", "xml", "console"])
def test_names_that_nobody_can_have_are_simply_not_found(run: InProcess, verb: str, name: str) -> None:
    if verb == "xml" and "/" in name:
        return  # that is a file
    done = run(["-H", "test:///default", verb, "-o", "json", "--", name], exit=3)
    assert done.json["error"]["code"] == "vm-not-found"
