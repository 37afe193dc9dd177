"""libvirt's errors, in our own terms: each with the exit code and the words it should have."""

from __future__ import annotations

import libvirt
import pytest

from kvmctl.errors import KvmctlError
from kvmctl.host import messages
from kvmctl.host.connection import translated

INVALID = libvirt.VIR_ERR_OPERATION_INVALID
SYSTEM = libvirt.VIR_ERR_SYSTEM_ERROR
QEMU = libvirt.VIR_FROM_QEMU
RPC = libvirt.VIR_FROM_RPC


def problem(code: int, text: str, domain: int = QEMU) -> libvirt.libvirtError:
    made = libvirt.libvirtError(text)
    made.err = (code, domain, text, 2, None, None, None, 0, 0)
    return made


@pytest.mark.parametrize(
    ("code", "text", "exit_code", "name", "message"),
    [
        (INVALID, "Requested operation is not valid: domain is not running", 5, "vm-not-running", "is not running"),
        (INVALID, "Requested operation is not valid: domain is already running", 5, "vm-running", "is running"),
        (
            libvirt.VIR_ERR_OPERATION_FAILED,
            "operation failed: domain 'a' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
            *(6, "vm-exists", "domain 'a' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f"),
        ),
        (libvirt.VIR_ERR_NO_DOMAIN, "Domain not found: gone", 3, "vm-not-found", "cannot start it: gone"),
        (libvirt.VIR_ERR_NO_NETWORK, "Network not found: x", 3, "network-not-found", "cannot start it: x"),
        (libvirt.VIR_ERR_NO_STORAGE_POOL, "Storage pool not found: x", 3, "pool-not-found", "cannot start it: x"),
        (
            SYSTEM,
            "unable to write to '/x.qcow2': No space left on device",
            *(5, "no-space", "cannot start it: unable to write to '/x.qcow2': No space left on device"),
        ),
        (
            SYSTEM,
            "Cannot find 'mdevctl' in path: No such file or directory",
            *(5, "resource-missing", "cannot start it: host2: libvirt does not find the program mdevctl"),
        ),
        (
            libvirt.VIR_ERR_OPERATION_TIMEOUT,
            "Timed out during operation: cannot acquire state change lock",
            *(8, "timed-out", "cannot start it: cannot acquire state change lock"),
        ),
        (
            libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
            "unsupported configuration: no such machine",
            *(5, "not-supported", "cannot start it: no such machine"),
        ),
        (libvirt.VIR_ERR_AUTH_FAILED, "authentication failed: no", 7, "not-authorised", "host2: not authorised: no"),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "internal error: process exited while connecting to monitor:\n qemu: bad",
            *(1, "libvirt-failed", "cannot start it: qemu: bad"),
        ),
    ],
)
def test_what_a_host_refuses(code: int, text: str, exit_code: int, name: str, message: str) -> None:
    with pytest.raises(KvmctlError) as caught, translated(vm="web1", doing="start it", host="host2"):
        raise problem(code, text)
    error = caught.value
    assert (error.exit_code, error.code, error.message, error.vm) == (exit_code, name, message, "web1")
    assert "\n" not in error.message


@pytest.mark.parametrize(
    "text",
    [
        "End of file while reading data: Input/output error",
        "Cannot recv data: Connection reset by peer",
        "Cannot write data: Broken pipe",
        "internal error: client socket is closed",
        "internal error: received hangup event on socket",
        "internal error: connection closed due to keepalive timeout",
    ],
)
def test_a_lost_connection(text: str) -> None:
    error = messages.translate(problem(SYSTEM, text, RPC), host="host2")
    assert (error.exit_code, error.code) == (7, "host-unreachable")
    assert error.message == "host2: the connection to the host was lost"
    # The same words from the host itself are about something else: a migration, a disk on the network.
    assert messages.translate(problem(SYSTEM, text, QEMU)).code == "libvirt-failed"


@pytest.mark.parametrize(
    ("text", "exit_code", "name", "hint"),
    [
        (
            "Cannot recv data: Host key verification failed.: Connection reset by peer",
            7,
            "host-unreachable",
            "ssh jo@h",
        ),
        ("Cannot recv data: Permission denied (publickey).: Connection reset by peer", 7, "not-authorised", "ssh jo@h"),
        (
            "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
            7,
            "host-unreachable",
            "libvirtd",
        ),
        ("Cannot recv data: sh: 1: nc: command not found: Connection reset by peer", 7, "host-unreachable", "libvirtd"),
        (
            "packet 1416128879 bytes received from server too large, want 33554432",
            *(7, "host-unreachable", "'ssh jo@h true' must print nothing"),
        ),
        ("packet 4294967290 bytes received from server too large, want 1", 7, "host-unreachable", "host check"),
        ("Cannot find 'ssh' in path: No such file or directory", 7, "host-unreachable", "openssh-client"),
        ("Unable to resolve address 'h' service '16509': Name or service not known", 7, "host-unreachable", "name"),
        (
            "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory",
            7,
            "host-unreachable",
            "certs",
        ),
        ("unable to connect to server at 'h:16509': Connection refused", 7, "host-unreachable", "host check"),
        ("internal error: Unable to parse URI qemu+ssh://jo@h/%%", 2, "usage", "qemu+ssh://"),
    ],
)
def test_a_host_that_cannot_be_connected_to(text: str, exit_code: int, name: str, hint: str) -> None:
    error = messages.translate_connect(problem(SYSTEM, text, RPC), host="h", uri="qemu+ssh://jo@h/system")
    assert (error.exit_code, error.code) == (exit_code, name)
    assert error.message.startswith("h: ")
    assert "Connection reset by peer" not in error.message, "that is only how the pipe to ssh ended"
    assert hint in error.hint


def test_a_socket_that_does_not_let_us_in() -> None:
    said = "Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied"
    error = messages.translate_connect(problem(SYSTEM, said, RPC), host="qemu:///system", uri="qemu:///system")
    assert (error.exit_code, error.code) == (7, "not-authorised")
    assert "group libvirt" in error.hint


def test_a_uri_of_no_driver() -> None:
    text = "no connection driver available for foo:///x"
    error = messages.translate_connect(problem(libvirt.VIR_ERR_NO_CONNECT, text), host="foo:///x", uri="foo:///x")
    assert error.exit_code == 2


def test_a_login_that_talks() -> None:
    text = "packet 1416128879 bytes received from server too large, want 33554432"
    assert (
        "'This…'" in messages.translate_connect(problem(SYSTEM, text, RPC), host="h", uri="qemu+ssh://h/system").message
    )


def test_a_machine_without_the_qemu_driver() -> None:
    """Only libvirt's Python module is installed; Debian packs the driver by itself."""
    uri = "qemu:///embed?root=/x"
    found = problem(libvirt.VIR_ERR_NO_CONNECT, f"no connection driver available for {uri}")
    error = messages.translate_connect(found, host="embedded", uri=uri)
    assert error.exit_code == 7
    assert "libvirt-daemon-driver-qemu" in error.hint


def test_a_machine_without_the_user_of_the_qemu_driver() -> None:
    """Debian 12 makes it with the daemon only."""
    found = problem(libvirt.VIR_ERR_INVALID_ARG, "invalid argument: Failed to parse user 'libvirt-qemu'")
    error = messages.translate_connect(found, host="embedded", uri="qemu:///embed?root=/x")
    assert error.exit_code == 7
    assert error.hint.startswith("useradd ") and error.hint.endswith(" libvirt-qemu")


def test_an_error_without_words() -> None:
    """libvirt raises some for which it has set no error."""
    silent = libvirt.libvirtError("virDomainCreate() failed")
    silent.err = None
    assert messages.translate(silent).message == "virDomainCreate() failed"
