"""libvirt's errors in our own terms: which class and code, what a person reads, what to do next.

Decides by libvirt's error code where that says enough, else by its text. Nothing here calls libvirt.
"""

from __future__ import annotations

from kvmctl.errors import Conflict, HostUnreachable, KvmctlError, NotFound, Refused, TimedOut, UsageError
from kvmctl.host.library import libvirt
from kvmctl.host.remedies import remedy
from kvmctl.host.targets import EMBEDDED_URI

PREFIXES = (
    "internal error: ",
    "operation failed: ",
    "operation aborted: ",
    "Requested operation is not valid: ",
    "unsupported configuration: ",
    "invalid argument: ",
    "argument unsupported: ",
    "XML error: ",
    "authentication failed: ",
    "authentication unavailable: ",
    "access denied: ",
    "Timed out during operation: ",
    "Operation not supported: ",
    "this function is not supported by the connection driver: ",
    "Domain not found: ",
    "Network not found: ",
    "Storage pool not found: ",
    "Storage volume not found: ",
    "Cannot recv data: ",
    "Cannot write data: ",
    "process exited while connecting to monitor: ",
)
"""What libvirt puts before the sentence that matters."""

DRIVER = (
    "install it: libvirt-daemon-driver-qemu and qemu-system-x86 on Debian, libvirt-daemon-driver-qemu and qemu-kvm on "
    "Fedora, libvirt and qemu-base on Arch; or name another host with -H"
)

LOST = (
    "end of file while reading",
    "connection reset by peer",
    "client socket is closed",
    "broken pipe",
    "received hangup",
    "keepalive timeout",
    "connection closed",
    "socket is closed",
    "input/output error on socket",
)


def lost(host: str = "", vm: str = "") -> HostUnreachable:
    """The error for a daemon, or the way to it, that went away."""
    return HostUnreachable(
        "host-unreachable", _at(host, "the connection to the host was lost"), hint="kvmctl host check says more", vm=vm
    )


def translate(problem: libvirt.libvirtError, *, vm: str = "", doing: str = "", host: str = "") -> KvmctlError:
    """The error to raise. `doing` completes "cannot …"; `host` is named where the host itself is at fault."""
    code = problem.get_error_code()
    said = plain(problem)
    text = said.lower()
    told = f"cannot {doing}: {said}" if doing else said
    if is_connection_loss(problem):
        return lost(host, vm)
    if code in AUTHORISATION:
        return _not_authorised(said, host, vm)
    if "no space left on device" in text or "disk quota exceeded" in text:
        return Refused("no-space", told, hint="df -h on the host shows which file system is full", vm=vm)
    if "'mdevctl'" in text and code == libvirt.VIR_ERR_SYSTEM_ERROR:
        what = f"cannot {doing or 'do it'}: {_at(host, 'libvirt does not find the program mdevctl')}"
        return Refused("resource-missing", what, hint="install the package mdevctl on the host", vm=vm)
    if code == libvirt.VIR_ERR_OPERATION_INVALID or code == libvirt.VIR_ERR_OPERATION_FAILED:
        if "is not running" in text or "not active" in text:
            return Refused("vm-not-running", "is not running", hint=f"kvmctl start {vm or 'VM'}", vm=vm)
        if "is already running" in text or "is already active" in text or "domain is running" in text:
            return Refused("vm-running", "is running", hint=f"kvmctl stop {vm or 'VM'}", vm=vm)
        if "already exists with uuid" in text or "is already defined with uuid" in text:
            return Conflict("vm-exists", said, hint="choose another name, or delete that VM", vm=vm)
    if "unsupported flags" in text:
        return Refused("not-supported", f"cannot {doing or 'do it'}: its libvirt has no such option", vm=vm)
    if code in BY_CODE:
        kind, name, hint = BY_CODE[code]
        return kind(name, told, hint=hint, vm=vm)
    return KvmctlError("libvirt-failed", told, hint=remedy(said), vm=vm)


def translate_connect(problem: libvirt.libvirtError, *, host: str, uri: str) -> KvmctlError:
    """The error to raise where a host could not be connected to."""
    code = problem.get_error_code()
    said = plain(problem)
    text = said.lower()
    if "host key verification failed" in text or "remote host identification has changed" in text:
        return HostUnreachable(
            "host-unreachable",
            f"{host}: its ssh host key is not known, or not the one that is known",
            hint=f"run ssh {_login(uri)} once and compare the fingerprint it shows with the host's own",
        )
    if code in AUTHORISATION or "permission denied" in text:
        return _not_authorised(said, host, "", uri)
    if uri.startswith(EMBEDDED_URI) and "no connection driver available" in text:
        return HostUnreachable(
            "host-unreachable", f"{host}: libvirt's QEMU driver is not installed on this machine", hint=DRIVER
        )
    if uri.startswith(EMBEDDED_URI) and text.startswith(("failed to parse user", "failed to parse group")):
        name = said.rpartition(" ")[2].strip("'")
        return HostUnreachable(
            "host-unreachable",
            f"{host}: for root, libvirt's QEMU driver wants a user and a group named {name}, and there is none",
            hint=f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}",
        )
    if code == libvirt.VIR_ERR_NO_CONNECT or "no connection driver available" in text:
        return UsageError("usage", f"{host}: libvirt knows no such kind of host", hint="kvmctl list -H qemu:///system")
    wrong = code in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_CONFIG_UNSUPPORTED)
    if wrong or "unable to parse uri" in text:
        return UsageError("usage", f"{host}: {said}", hint="an example of a URI: qemu+ssh://root@host2/system")
    if talk := _talk(said):
        said = f"something there says '{talk}…' before libvirt can speak"
        hint = "is that the port of libvirtd?"
        if "+ssh" in uri:
            hint = (
                f"'ssh {_login(uri)} true' must print nothing: has the user a shell, and does it start without a word?"
            )
    elif "certificate" in text or "tls" in text:
        hint = "https://libvirt.org/kbase/tlscerts.html says which certificates go where"
    elif "cannot find 'ssh'" in text:
        hint = "install ssh: openssh-client on Debian, openssh-clients on Fedora, openssh on Arch"
    elif "command not found" in text or "no such file" in text:
        hint = "is libvirtd installed and running there? systemctl status libvirtd.socket virtqemud.socket"
    elif "name or service not known" in text or "could not resolve" in text or "name resolution" in text:
        hint = "check the name of the host"
    else:
        hint = f"kvmctl host check -H {host}"
    return HostUnreachable("host-unreachable", f"{host}: cannot connect: {said}", hint=hint)


def plain(problem: libvirt.libvirtError) -> str:
    """libvirt's sentence without what it puts before it, and on one line."""
    said = " ".join((problem.get_error_message() or str(problem)).split())
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if said.startswith(prefix) and len(said) > len(prefix):
                said, stripped = said[len(prefix) :], True
    # What ssh said comes before how the pipe to it ended.
    before, _, after = said.rpartition(": ")
    if before and after in ("Connection reset by peer", "Broken pipe") and " " in before:
        said = before
    return said.rstrip(".: ")


def is_connection_loss(problem: libvirt.libvirtError) -> bool:
    """True if the daemon or the way to it is gone, rather than the one operation refused."""
    text = (problem.get_error_message() or "").lower()
    own = problem.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
    return own and any(part in text for part in LOST)


def _not_authorised(said: str, host: str, vm: str, uri: str = "") -> KvmctlError:
    if "+ssh" in uri:
        hint = f"can you log in with: ssh {_login(uri)}"
    elif "polkit" in said.lower() or "permission denied" in said.lower() or uri.startswith("qemu:///"):
        hint = "be a member of the group libvirt: sudo usermod -aG libvirt $USER, then log in again"
    else:
        hint = ""
    return HostUnreachable("not-authorised", _at(host, f"not authorised: {said}"), hint=hint, vm=vm)


def _talk(said: str) -> str:
    """The first letters of a text that stood where the length of libvirt's answer should, or nothing."""
    number = said.partition("packet ")[2].partition(" bytes received from server too large")[0]
    if not number.isdecimal() or int(number) >= 2**32 - 4:
        return ""
    # libvirt has taken off the four bytes of the length itself.
    letters = (int(number) + 4).to_bytes(4).decode("ascii", errors="replace")
    return letters if letters.isprintable() and letters.isascii() else ""


def _login(uri: str) -> str:
    """The part of a URI that ssh would be given."""
    return uri.partition("://")[2].partition("/")[0].partition("?")[0] or "HOST"


def _at(host: str, message: str) -> str:
    return f"{host}: {message}" if host else message


AUTHORISATION = frozenset(
    (
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_ACCESS_DENIED,
    )
)

BY_CODE: dict[int, tuple[type[KvmctlError], str, str]] = {
    libvirt.VIR_ERR_NO_DOMAIN: (NotFound, "vm-not-found", "kvmctl list shows which there are"),
    libvirt.VIR_ERR_NO_NETWORK: (NotFound, "network-not-found", "virsh net-list --all shows which there are"),
    libvirt.VIR_ERR_NO_STORAGE_POOL: (NotFound, "pool-not-found", "virsh pool-list --all shows which there are"),
    libvirt.VIR_ERR_NO_STORAGE_VOL: (NotFound, "file-not-found", ""),
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: (Conflict, "disk-exists", "choose another name, or delete that volume"),
    libvirt.VIR_ERR_DOM_EXIST: (Conflict, "vm-exists", "choose another name, or delete that VM"),
    libvirt.VIR_ERR_OPERATION_TIMEOUT: (TimedOut, "timed-out", "something else works on this VM; try again later"),
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: (TimedOut, "timed-out", "is qemu-guest-agent running in the guest?"),
    libvirt.VIR_ERR_NO_SUPPORT: (Refused, "not-supported", ""),
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: (Refused, "not-supported", ""),
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: (Refused, "not-supported", ""),
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: (Refused, "not-supported", ""),
}
