"""Which host a command talks to, and what a configuration may say. No libvirt is called."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kvmctl.errors import NotFound, Refused, UsageError
from kvmctl.host import targets
from kvmctl.host.targets import Target, configured, select

TWO_HOSTS = """\
default_host: two
hosts:
  one: qemu+ssh://root@one/system
  two: {uri: "qemu+ssh://root@two/system", migrate_uri: "tcp://10.0.0.2"}
"""


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the configuration file, which is not there yet."""
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("KVMCTL_CONFIG", str(path))
    return path


@pytest.fixture
def system_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system daemon's socket would be."""
    path = tmp_path / "libvirt-sock"
    monkeypatch.setattr(targets, "SYSTEM_SOCKETS", (str(path),))
    return path


@pytest.fixture(autouse=True)
def _nothing_is_here(system_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No daemon runs or is installed, and we are nobody, until a test says otherwise."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(targets, "DAEMONS", ("no-such-daemon",))


def uris(*names: str, every: bool = False) -> list[str]:
    return [target.uri for target in select(names, every=every)]


def test_without_anything_it_is_the_embedded_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVMCTL_STATE_DIR", "/srv/a b%")
    [target] = select(())
    assert (target.name, target.embedded) == ("embedded", True)
    assert target.uri == "qemu:///embed?root=/srv/a%20b%25/embedded"


def test_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jo")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert targets.state_directory() == Path("/home/jo/.local/state/kvmctl")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert targets.state_directory() == Path("/var/state/kvmctl")
    monkeypatch.setenv("KVMCTL_STATE_DIR", "/srv/kvmctl")
    assert targets.state_directory() == Path("/srv/kvmctl")


def test_the_configuration_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
    assert targets.config_file() == Path("/etc/xdg/kvmctl/config.yaml")


def test_the_users_own_daemon_comes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = tmp_path / "no-such-daemon"
    daemon.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert uris() != ["qemu:///session"], "it cannot be run"
    daemon.chmod(0o755)
    assert uris() == ["qemu:///session"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert uris() != ["qemu:///session"], "root has no daemon of its own"


def test_the_system_daemon_comes_before_that(system_socket: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(system_socket))
        assert uris() != ["qemu:///system"], "nobody listens"
        server.listen()
        assert uris() == ["qemu:///system"]
        system_socket.chmod(0o000)
        refused = not os.access(system_socket, os.W_OK)  # not for the real root
        assert refused is (uris() != ["qemu:///system"])


def test_a_socket_of_another_namespace_is_tried(system_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container /proc/net/unix does not list it."""
    monkeypatch.setattr(targets, "_is_listened_to", lambda path: False)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(system_socket))
        assert uris() != ["qemu:///system"]
        server.listen()
        assert uris() == ["qemu:///system"]


def test_the_environment_and_the_default_come_before_that(
    system_socket: Path, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(system_socket))
        server.listen()
        monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
        assert uris() == ["test:///default"]
        configuration.write_text(TWO_HOSTS)
        [target] = select(())
        assert (target.name, target.migrate_uri) == ("two", "tcp://10.0.0.2")
        monkeypatch.setenv("KVMCTL_HOST", "one")
        assert uris() == ["qemu+ssh://root@one/system"]
        assert uris("embedded", "test:///x") == [targets.embedded_target().uri, "test:///x"]


def test_a_host_named_twice_is_one(configuration: Path) -> None:
    configuration.write_text(TWO_HOSTS)
    assert [target.name for target in select(("two", "one", "two"))] == ["two", "one"]


def test_every_host(configuration: Path) -> None:
    assert select((), every=True) == select(())
    configuration.write_text(TWO_HOSTS)
    assert [target.name for target in select((), every=True)] == ["one", "two"] == [t.name for t in configured()]


def test_a_name_that_nobody_knows(configuration: Path) -> None:
    configuration.write_text(TWO_HOSTS)
    with pytest.raises(NotFound) as caught:
        select(("twoo",))
    assert caught.value.code == "host-not-found"
    assert caught.value.hint == "did you mean 'two'?"
    assert str(configuration) in caught.value.message


@pytest.mark.parametrize("name", ["qemu:///system\n", "qemu+ssh://a b/system"])
def test_what_is_no_uri(name: str) -> None:
    with pytest.raises(UsageError):
        select((name,))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- a list\n", 1, "must be a mapping"),
        ("hosts:\n  a: {uri: 'x:///'}\n  a: {uri: 'y:///'}\n", 3, "'a' is given twice"),
        ("host: {}\n", 1, "unknown key 'host'"),
        ("hosts:\n  a:\n    urI: x\n", 3, "unknown key 'urI'"),
        ("hosts:\n  a: {migrate_uri: x}\n", 2, "has no uri"),
        ("hosts:\n  a: [qemu:///system]\n", 2, "must be a mapping"),
        ("hosts:\n  a: {uri: }\n", 2, "must be text"),
        ("hosts:\n  a: just words\n", 2, "is not a libvirt URI"),
        ("hosts:\n  embedded: qemu:///system\n", 2, "cannot be the name of a host"),
        ("hosts:\n  '-x': qemu:///system\n", 2, "cannot be the name of a host"),
        ("hosts:\n  a: {uri: 'qemu:///system', allow_unsafe_uri: perhaps}\n", 2, "must be true or false"),
        ("hosts: {}\n\ndefault_host: nobody\n", 3, "hosts has no 'nobody'"),
        ("hosts:\n\tx: y\n", 2, "not YAML"),
        ("hosts: [\n", 2, "not YAML"),
    ],
)
def test_a_wrong_configuration(configuration: Path, text: str, line: int, said: str) -> None:
    configuration.write_text(text)
    with pytest.raises(UsageError) as caught:
        select(())
    assert caught.value.code == "bad-config"
    assert caught.value.message.startswith(f"{configuration}:{line}: ")
    assert said in caught.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x: " + b"y" * (1 << 20), None])
def test_a_configuration_that_cannot_be_read(configuration: Path, content: bytes | None) -> None:
    configuration.mkdir() if content is None else configuration.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        select(("alias",))
    assert caught.value.code == "bad-config"


@pytest.mark.parametrize("text", ["", "hosts:\n", "# nothing\n"])
def test_an_empty_configuration(configuration: Path, text: str) -> None:
    configuration.write_text(text)
    assert configured() == []


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ext:///system?command=/bin/x",
        "QEMU+EXT:///system",
        "qemu+ssh://host/system?command=/bin/x",
        "qemu+ssh://host/system?keyfile=/k&%63ommand=/bin/x",
        "qemu+ssh://host/system?keyfile=/k;netcat=/bin/x",
        "qemu+ssh://host/system?no_verify=1",
        "qemu+libssh2://host/system?known_hosts_verify=auto",
        "qemu+libssh2://host/system?known_hosts_verify=ignore",
        "qemu+ssh://host/system?some_day=1",
        "qemu+ssh://-oProxyCommand=x/system",
        "qemu+ssh://root@-oProxyCommand=x/system",
    ],
)
def test_a_configured_uri_that_is_code_is_refused(configuration: Path, uri: str) -> None:
    configuration.write_text(f"hosts:\n  a: {{uri: '{uri}'}}\n")
    with pytest.raises(Refused) as caught:
        select(("a",))
    assert caught.value.code == "unsafe-uri"
    assert f"{configuration}:2" in caught.value.message
    configuration.write_text(f"hosts:\n  a: {{uri: '{uri}', allow_unsafe_uri: true}}\n")
    assert uris("a") == [uri]
    assert uris(uri) == [uri], "what the user types is the user's choice"


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://root@host:2222/system?keyfile=/k&no_tty=1",
        "qemu+libssh2://host/system?known_hosts_verify=normal&known_hosts=/k",
        "qemu+unix:///system?socket=/run/x",
        "qemu+tls://host/system?pkipath=/pki",
        "qemu:///embed?root=/srv",
    ],
)
def test_a_configured_uri_that_is_harmless(configuration: Path, uri: str) -> None:
    configuration.write_text(f"hosts:\n  a: '{uri}'\n")
    assert uris("a") == [uri]


@pytest.mark.parametrize(
    ("uri", "count"),
    [
        ("qemu+tcp://10.0.0.1/system", 1),
        ("QEMU+TCP://root@host:16509/system", 1),
        ("qemu+tcp://[fe80::1]/system", 1),
        ("qemu+tcp://localhost/system", 0),
        ("qemu+tcp://127.0.0.1:16509/system", 0),
        ("qemu+tcp://[::1]:16509/system", 0),
        ("qemu+tcp:///system", 0),
        ("qemu+ssh://10.0.0.1/system", 0),
    ],
)
def test_plain_tcp_is_warned_about(uri: str, count: int) -> None:
    assert len(Target(uri, uri).warnings) == count


def test_a_daemon_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its VMs are not those of the embedded host that is used instead."""
    dead = tmp_path / "libvirt-sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(dead))
    monkeypatch.setattr(targets, "SYSTEM_SOCKETS", (str(dead),))
    monkeypatch.setattr(targets, "DAEMONS", ())
    (target,) = targets.select(())
    assert target.embedded
    assert "qemu:///system does not answer" in target.warnings[0]
