"""The files of QEMU's TLS on this machine, with real certificates: where they are, who may read them, what they say."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kvmctl.host.migration import x509
from kvmctl.host.migration.credentials import credentials, directory, looked_at, obstacle, settings
from kvmctl.host.targets import Target
from kvmctl.plan.migration.credentials import Credentials
from tests.lab.certificates import Authority

DAY = 86400
NOBODY = 65534


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.sign("host1", "DNS:host1", "IP:10.77.0.1", "IP:fd00::1")
    made.sign("old", "DNS:host1", days=-1)
    made.sign("client", "DNS:host1", purpose="critical,clientAuth")
    return made


@pytest.fixture
def place(tmp_path: Path, authority: Authority) -> Path:
    found = tmp_path / "etc/pki/qemu"
    found.mkdir(parents=True)
    authority.lay(found, "host1")
    return found


def look(system: Path, user: int = 0, side: Any = "server") -> Credentials:
    return looked_at(side, system / "etc/libvirt/qemu.conf", user, user, system)


def test_what_certificates_say(tmp_path: Path, place: Path) -> None:
    found = look(tmp_path)
    assert (found.unseen, found.untrusted, found.user, found.verify) == ("", "", "root", True)
    assert [Path(file.path) for file in found.files] == [
        place / name for name in ("ca-cert.pem", "server-cert.pem", "server-key.pem")
    ]
    assert not any(file.missing or file.damaged or file.obstacle for file in found.files)
    assert found.authority is not None
    assert found.certificate is not None
    [above], [own] = found.authority.certificates, found.certificate.certificates
    assert above.authority
    assert not own.authority
    assert (above.subject, own.issuer, own.subject) == ("CN=authority", "CN=authority", "CN=host1")
    assert (own.common_name, own.names) == ("host1", ("host1", "10.77.0.1", "FD00:0:0:0:0:0:0:1"))
    assert own.begins <= time.time() < own.ends
    assert abs(own.ends - own.begins - 30 * DAY) < DAY
    assert own.usages == {"Digital Signature"}
    assert own.purposes == {"TLS Web Server Authentication", "TLS Web Client Authentication"}
    assert own.critical == frozenset()


def test_each_side_has_its_own(tmp_path: Path, place: Path, authority: Authority) -> None:
    authority.lay(place, "client")
    found = look(tmp_path, side="client").certificate
    assert found is not None
    assert found.path.endswith("/client-cert.pem")
    assert found.certificates[0].purposes == {"TLS Web Client Authentication"}
    assert "purposes" in found.certificates[0].critical


def test_out_of_time_is_no_distrust(tmp_path: Path, place: Path, authority: Authority) -> None:
    authority.lay(place, "old")
    found = look(tmp_path)
    assert found.certificate is not None
    assert found.certificate.certificates[0].ends < found.now
    assert found.untrusted == ""


def test_an_authority_of_the_same_name_is_another(tmp_path: Path, place: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    (place / "ca-cert.pem").write_bytes((other.directory / "authority.pem").read_bytes())
    assert look(tmp_path).untrusted


def test_several_in_one_file(tmp_path: Path, place: Path) -> None:
    """Also with what else people write into such files, and a key, which is none of our business."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    text = [(tmp_path / "other/other.key").read_text(), "some words\n", (tmp_path / "other/other.pem").read_text()]
    (place / "ca-cert.pem").write_text("".join([*text, (place / "ca-cert.pem").read_text()]))
    found = look(tmp_path)
    assert found.authority is not None
    assert [each.subject for each in found.authority.certificates] == [f"CN={other.name}", "CN=authority"]
    assert found.untrusted == ""


def test_what_is_not_there(tmp_path: Path, place: Path) -> None:
    (place / "server-key.pem").unlink()
    (place / "ca-cert.pem").unlink()
    found = look(tmp_path)
    assert [file.missing for file in found.files] == [True, False, True]
    assert (found.unseen, found.untrusted) == ("", "")
    assert found.certificate is not None
    assert found.certificate.certificates
    assert all(file.missing for file in look(tmp_path / "nowhere").files)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is none in it"),
        (b"\0" * 100, "there is none in it"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "what is in it cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n", "what is in it cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n" * 30000, "there is none in it"),
        (b"x" * (1 << 21), "it is far too large"),
    ],
)
def test_what_is_no_certificate(tmp_path: Path, place: Path, content: bytes, said: str) -> None:
    (place / "server-cert.pem").write_bytes(content)
    found = look(tmp_path).certificate
    assert found is not None
    assert (found.damaged, found.certificates) == (said, ())


def test_what_is_no_file(tmp_path: Path, place: Path) -> None:
    (place / "server-cert.pem").unlink()
    os.mkfifo(place / "server-cert.pem")
    found = look(tmp_path).certificate
    assert found is not None
    assert found.damaged == "it is not a file"


def test_without_means(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "server-key.pem").unlink()
    monkeypatch.setattr(x509, "PATH", str(tmp_path))
    found = look(tmp_path)
    assert found.unseen == "there is no openssl, which reads them"
    assert found.remedy
    assert [file.missing for file in found.files] == [False, False, True]  # that is seen nevertheless
    (tmp_path / "openssl").write_text("#!/bin/sh\necho unknown option >&2\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    assert look(tmp_path).unseen == "this openssl does not tell of them: unknown option"
    (tmp_path / "openssl").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(x509, "SECONDS", 0.2)
    assert "timed out" in look(tmp_path).unseen


@pytest.mark.parametrize("name", ["qemu.conf", "ca-cert.pem", "server-key.pem"])
@pytest.mark.usefixtures("place")
def test_what_only_root_may_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> Any:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return os.stat(path) if name != "qemu.conf" else ""

    monkeypatch.setattr(Path, "read_text" if name == "qemu.conf" else "stat", refuse)
    found = look(tmp_path)
    assert found.unseen.endswith(f"/{name}: Permission denied")
    assert "root" in found.remedy
    assert found.files == ()


def test_who_may_read_them(place: Path, tmp_path: Path) -> None:
    key = place / "server-key.pem"
    for part in (tmp_path / "etc", tmp_path / "etc/pki", place):
        part.chmod(0o755)
    mine, groups = os.geteuid(), frozenset({os.getegid()})
    other = mine + 1 if mine else NOBODY
    key.chmod(0o640)
    assert obstacle(key, other, groups, tmp_path) == ""
    assert obstacle(key, other, frozenset({other}), tmp_path) == str(key)
    key.chmod(0o604)
    assert obstacle(key, other, groups, tmp_path) == str(key)  # the group has less than others
    assert obstacle(key, other, frozenset({other}), tmp_path) == ""
    place.chmod(0o700)
    assert obstacle(key, other, frozenset({other}), tmp_path) == str(place)
    assert obstacle(key, 0, frozenset(), tmp_path) == ""
    found = look(tmp_path, user=NOBODY)
    assert {file.obstacle for file in found.files} == {str(place)}


def test_qemu_conf(tmp_path: Path) -> None:
    configuration = tmp_path / "qemu.conf"
    assert settings(configuration) == {}
    configuration.write_text(
        "# migration_host = \"no\"\n  migration_host='a'  # why\nmigrate_tls_x509_verify=0\n"
        'default_tls_x509_cert_dir = "/first"\ndefault_tls_x509_cert_dir = "/second"\nlist = [ "x" ]\nbroken = "\n'
    )
    assert settings(configuration) == {
        "migration_host": "a",
        "migrate_tls_x509_verify": "0",
        "default_tls_x509_cert_dir": "/first",
    }


def test_where_they_are(tmp_path: Path) -> None:
    assert directory({}, tmp_path) == tmp_path / "etc/pki/qemu"
    everywhere = {"default_tls_x509_cert_dir": "/all"}
    assert directory(everywhere, tmp_path) == Path("/all")
    (tmp_path / "etc/pki/libvirt-migrate").mkdir(parents=True)
    assert directory(everywhere, tmp_path) == tmp_path / "etc/pki/libvirt-migrate"
    assert directory({**everywhere, "migrate_tls_x509_cert_dir": "/this"}, tmp_path) == Path("/this")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", True),
        ("default_tls_x509_verify = 0", False),
        ("default_tls_x509_verify = 0\nmigrate_tls_x509_verify = 1", True),
        ("migrate_tls_x509_verify = 0", False),
    ],
)
def test_who_must_show_one(tmp_path: Path, said: str, expected: bool) -> None:
    (tmp_path / "etc/libvirt").mkdir(parents=True)
    (tmp_path / "etc/libvirt/qemu.conf").write_text(f'{said}\nmigration_host = "10.0.0.7"\n')
    found = look(tmp_path)
    assert (found.verify, found.host) == (expected, "10.0.0.7")


@pytest.mark.parametrize(
    "uri",
    ["qemu+ssh://root@host2/system", "qemu+tcp://localhost/system", "qemu:///system?socket=/x", "test:///default"],
)
def test_of_another_machine_nothing_is_seen(uri: str) -> None:
    host: Any = SimpleNamespace(target=Target("host2", uri), embedded=False)
    assert credentials(host, "server") is None


def test_of_a_session_the_user_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    (tmp_path / "libvirt").mkdir()
    (tmp_path / "libvirt/qemu.conf").write_text(f'default_tls_x509_cert_dir = "{place}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    host: Any = SimpleNamespace(target=Target("host1", "qemu:///session"), embedded=False)
    found = credentials(host, "client")
    assert found is not None
    assert found.certificate is not None
    assert found.certificate.path == str(place / "client-cert.pem")
    assert not any(file.obstacle for file in found.files)


@pytest.mark.parametrize(("label", "user"), [("+64055:+994", "64055"), ("+0:+0", "root"), ("", "root")])
def test_libvirt_tells_whom_qemu_runs_as(
    monkeypatch: pytest.MonkeyPatch, label: str, user: str, tmp_path: Path
) -> None:
    monkeypatch.setattr("kvmctl.host.migration.credentials.ROOT", tmp_path)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {0: SimpleNamespace(pw_name="root")}[number])
    models = f"<secmodel><model>apparmor</model></secmodel><secmodel><model>dac</model><baselabel>{label}</baselabel>"
    text = f"<capabilities><host>{models}</secmodel></host></capabilities>"
    conn = SimpleNamespace(getCapabilities=lambda: text)
    host: Any = SimpleNamespace(target=Target("host1", "qemu:///system"), embedded=False, conn=conn, name="host1")
    found = credentials(host, "server")
    assert found is not None
    assert found.user == user
