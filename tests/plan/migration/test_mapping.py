"""Rules of --map: read, applied to definitions, and refused where they map nothing."""

from __future__ import annotations

import pytest

from kvmctl.errors import UsageError
from kvmctl.plan.migration import mapping
from kvmctl.spec.xmltext import canonical, parse

DOMAIN = """\
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web1</name>
  <title>/var/lib/a</title>
  <metadata><kvmctl:vm xmlns:kvmctl='https://example.org/1'>disks: [/var/lib/a/web1.qcow2]</kvmctl:vm></metadata>
  <os>
    <type machine='q35'>hvm</type>
    <loader readonly='yes'>/usr/share/OVMF/OVMF_CODE.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/a/web1.fd</nvram>
    <cmdline>/var/lib/a/init</cmdline>
  </os>
  <devices>
    <emulator>/usr/bin/qemu</emulator>
    <disk type='file' device='disk'>
      <source file='/var/lib/a/web1.qcow2'/>
      <backingStore type='file'><format type='qcow2'/><source file='/var/lib/a/images/base.qcow2'/></backingStore>
      <target dev='vda' bus='virtio'/>
      <serial>/var/lib/a</serial>
    </disk>
    <disk type='block' device='disk'><source dev='/dev/vg/data'/><target dev='vdb'/></disk>
    <disk type='volume' device='disk'><source pool='fast' volume='v.raw'/><target dev='vdc'/></disk>
    <disk type='network' device='disk'><source protocol='rbd' name='fast/v'/><target dev='vdd'/></disk>
    <filesystem type='mount'><source dir='/var/lib/ab'/><target dir='/var/lib/a'/></filesystem>
    <interface type='network'><source network='lan'/></interface>
    <interface type='bridge'><source bridge='lan'/></interface>
    <serial type='file'><source path='/var/lib/a/log/web1.log'/><target port='0'/></serial>
    <graphics type='vnc'><listen type='network' network='lan'/></graphics>
    <channel type='unix'><source mode='bind' path='/run/a.sock'/><target type='virtio' name='/var/lib/a'/></channel>
  </devices>
</domain>
"""


def mapped(**replaced: str) -> str:
    """The document with texts replaced, as `canonical` has it."""
    text = DOMAIN
    for old, new in replaced.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return canonical(parse(text))


def expect(maps: dict[str, str], replaced: dict[str, str]) -> None:
    assert canonical(parse(mapping.mapped(DOMAIN, maps))) == mapped(**replaced)


def test_no_rule_changes_nothing() -> None:
    expect({}, {})


def test_a_path_and_what_lies_below_it() -> None:
    expect(
        {"/var/lib/a": "/srv/b"},
        {
            ">/var/lib/a/web1.fd<": ">/srv/b/web1.fd<",
            "'/var/lib/a/web1.qcow2'": "'/srv/b/web1.qcow2'",
            "'/var/lib/a/images/base.qcow2'": "'/srv/b/images/base.qcow2'",
            "'/var/lib/a/log/web1.log'": "'/srv/b/log/web1.log'",
        },
    )


def test_the_longest_path_counts() -> None:
    expect(
        {
            "/": "/mnt",
            "/usr": "/usr",
            "/dev": "/dev",
            "/run": "/run",
            "/var/lib/a/images": "/images",
            "/var/lib/a": "/b",
        },
        {
            ">/var/lib/a/web1.fd<": ">/b/web1.fd<",
            "'/var/lib/a/web1.qcow2'": "'/b/web1.qcow2'",
            "'/var/lib/a/images/base.qcow2'": "'/images/base.qcow2'",
            "'/var/lib/a/log/web1.log'": "'/b/log/web1.log'",
            "'/var/lib/ab'": "'/mnt/var/lib/ab'",
        },
    )


@pytest.mark.parametrize(
    ("rule", "new", "old_xml", "new_xml"),
    [
        ("network:lan", "lan2", "<interface type='network'><source network='lan'", None),
        ("bridge:lan", "br7", "<source bridge='lan'/>", "<source bridge='br7'/>"),
        ("pool:fast", "slow", "<source pool='fast' volume", "<source pool='slow' volume"),
        ("/usr/bin/qemu", "/opt/qemu", "<emulator>/usr/bin/qemu<", "<emulator>/opt/qemu<"),
        ("/dev/vg", "/dev/other", "dev='/dev/vg/data'", "dev='/dev/other/data'"),
    ],
)
def test_one_kind_alone(rule: str, new: str, old_xml: str, new_xml: str | None) -> None:
    replaced = (
        {old_xml: new_xml}
        if new_xml
        else {
            old_xml: old_xml.replace("'lan'", "'lan2'"),
            "<listen type='network' network='lan'/>": "<listen type='network' network='lan2'/>",
        }
    )
    expect({rule: new}, replaced)


def test_a_block_device_that_becomes_a_file() -> None:
    block = "<disk type='block' device='disk'><source dev='/dev/vg/data'/>"
    file = "<disk type='file' device='disk'><source file='/srv/data.raw'/>"
    expect({"/dev/vg/data": "/srv/data.raw"}, {block: file})
    back = mapping.mapped(mapping.mapped(DOMAIN, {"/dev/vg/data": "/srv/data.raw"}), {"/srv/data.raw": "/dev/vg/data"})
    assert canonical(parse(back)) == mapped()


@pytest.mark.parametrize(
    ("texts", "maps"),
    [
        (["/var/lib/a=/srv/b"], {"/var/lib/a": "/srv/b"}),
        (["/var/lib/a/=/srv//b/"], {"/var/lib/a": "/srv/b"}),
        (["//a=//b"], {"/a": "/b"}),
        (["/a=/b=c"], {"/a": "/b=c"}),
        (
            ["network:lan=lan2", "bridge:br0=br1", "pool:a=b"],
            {"network:lan": "lan2", "bridge:br0": "br1", "pool:a": "b"},
        ),
        (["network:lan=network:lan2"], {"network:lan": "lan2"}),
        (["network:lan=a:b"], {"network:lan": "a:b"}),
        (["/a=/b", "/a=/b"], {"/a": "/b"}),
    ],
)
def test_rules_are_read(texts: list[str], maps: dict[str, str]) -> None:
    assert mapping.read(texts) == maps


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["/a"], "is not OLD=NEW"),
        (["=/b"], "is not OLD=NEW"),
        (["/a="], "is not OLD=NEW"),
        (["lan=lan2"], "network:NAME"),
        (["net:lan=lan2"], "network:NAME"),
        (["network:=lan2"], "network:NAME"),
        (["network:lan=network:"], "network:NAME"),
        (["/a=b"], "maps a path to what is none"),
        (["network:lan=/srv"], "maps network:lan to a path"),
        (["network:lan=bridge:br0"], "another kind"),
        (["/a=/b", "/a/=/c"], "names /a twice"),
    ],
)
def test_rules_that_are_none(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        mapping.read(texts)
    assert caught.value.code == "usage"
    assert said in caught.value.message


def test_every_rule_maps_something_in_some_definition() -> None:
    mapping.check([DOMAIN], {"/var/lib/a": "/b", "network:lan": "x", "bridge:lan": "x", "pool:fast": "x"})
    mapping.check(["<domain/>", DOMAIN], {"pool:fast": "x"})


@pytest.mark.parametrize(
    ("rule", "said", "hint"),
    [
        ("network:dmz", "no network 'dmz'", "it has lan"),
        ("bridge:br0", "no bridge 'br0'", "it has lan"),
        ("pool:slow", "no pool 'slow'", "it has fast"),
        ("/var/lib/b", "nothing at /var/lib/b", "it has /dev/vg/data, /run/a.sock"),
        ("/var/lib/a/web", "nothing at /var/lib/a/web", "it has /dev/vg/data, /run/a.sock"),
    ],
)
def test_a_rule_that_maps_nothing(rule: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        mapping.check([DOMAIN], {rule: "/x" if rule[0] == "/" else "x"})
    assert said in caught.value.message
    assert caught.value.hint.startswith(hint)


def test_a_rule_for_a_vm_that_has_none_of_it() -> None:
    with pytest.raises(UsageError) as caught:
        mapping.check(["<domain><devices/></domain>"], {"pool:a": "b"})
    assert caught.value.hint == "leave that --map out"


def test_a_path_alone() -> None:
    maps = {"/a": "/b", "/a/c": "/d", "network:a": "x"}
    assert [mapping.path(name, maps) for name in ("/a", "/a/x", "/a/c", "/a/c/y", "/ab", "/", "a")] == [
        "/b",
        "/b/x",
        "/d",
        "/d/y",
        "/ab",
        "/",
        "a",
    ]
    assert mapping.path("/x/y", {"/": "/mnt"}) == "/mnt/x/y"
    assert mapping.path("/x/y", {"/x": "/"}) == "/y"
