"""Two real KVM hosts on one machine: each a libvirtd of its own in namespaces of its own, joined by a cable.

`Lab()` starts them in seconds; `close()`, or the death of this process in any way, takes them and all they ran away.
Addresses may be the same in every lab, since nothing outside the namespaces sees them; directories are unique.
Guests are emulated; both hosts see one file system. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import libvirt

from tests.environment import PATH, ROOT, isolated
from tests.place import Place
from tests.results import Command, words

NAMES = ("host1", "host2")
INIT = Path(__file__).with_name("init.py")
START_SECONDS = 60.0
FORGET = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class LabError(Exception):
    """The lab cannot be started; the message says why."""


def missing() -> str:
    """Why there can be no lab here, or nothing."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    programs = ("unshare", "nsenter", "ip", "libvirtd", "qemu-system-x86_64", "sshd", "ssh", "ssh-keygen", "dnsmasq")
    absent = [name for name in programs if not shutil.which(name, path=PATH)]
    return f"needs {', '.join(absent)}: 'make test' installs them" if absent else ""


class Host(Place):
    """One KVM host. `directory` holds its files, and is seen from outside too."""

    program = (sys.executable, "-m", "kvmctl")

    def __init__(self, name: str, address: str, directory: Path) -> None:
        self.name = name
        self.address = address
        self.directory = directory
        self.home = directory / "home"
        self.images = directory / "lib/images"
        self._init: subprocess.Popen[bytes] | None = None
        self.pid = 0
        """The process whose namespaces are the host's."""

    # -- addresses ----------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """As the other host reaches it."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def ssh_uri(self) -> str:
        return f"qemu+ssh://root@{self.name}/system"

    @property
    def outside_uri(self) -> str:
        """As a process outside the namespaces reaches it."""
        return f"qemu+unix:///system?socket={self.directory}/run/libvirt/libvirt-sock"

    @property
    def network(self) -> str:
        """The XML of its default network."""
        return NETWORK.format(number=self.address.rsplit(".", 1)[1])

    # -- commands inside ----------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Isolated, with the host's own home; `host1`, `host2` and `host2-ssh` are aliases in its config.yaml."""
        # An embedded host needs a short path for its sockets.
        return {**isolated(os.environ, self.home), "PYTHONPATH": str(ROOT), "KVMCTL_STATE_DIR": "/run/kvmctl"}

    def enter(self) -> list[str]:
        """The words before a command that bring it into the host's namespaces."""
        spaces = ["--mount", "--net", "--uts", "--ipc", "--pid"]
        # Its root and working directory too: in a chroot they are not those of the namespace.
        return ["nsenter", "--target", str(self.pid), *spaces, "--root", "--wd", "--"]

    def start(
        self, command: Command, *, env: Mapping[str, str] | None = None, **attributes: Any
    ) -> subprocess.Popen[bytes]:
        """A command in the host's namespaces, running. `inner()` gives the process itself, behind nsenter."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **attributes}
        return subprocess.Popen([*self.enter(), *words(command)], env={**self.environment, **(env or {})}, **pipes)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        kill_inner(process)

    # -- processes ----------------------------------------------------------------------------------

    def processes(self) -> Iterator[tuple[int, int, list[str]]]:
        """The host's processes: the id outside, the id inside, the command line."""
        space = Path(f"/proc/{self.pid}/ns/pid").readlink()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "ns/pid").readlink() != space:
                    continue
                status = (entry / "status").read_text()
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # ended meanwhile
            inside = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1]
            yield int(entry.name), int(inside), arguments

    def qemu_pid(self, vm: str) -> int:
        """The QEMU of a VM; an error if it does not run."""
        return self.qemus()[vm]

    def qemus(self) -> dict[str, int]:
        """VM name -> process id, as seen from outside."""
        found = {}
        for pid, _, arguments in self.processes():
            if "qemu-system" in arguments[0] and "-name" in arguments:
                named = arguments[arguments.index("-name") + 1]
                found[named.removeprefix("guest=").split(",")[0]] = pid
        return found

    @property
    def libvirtd_pid(self) -> int:
        try:
            inside = int((self.directory / "run/libvirtd.pid").read_text())
        except (OSError, ValueError):
            return 0
        found = (pid for pid, own, arguments in self.processes() if own == inside and "libvirtd" in arguments[0])
        return next(found, 0)

    # -- the daemon ---------------------------------------------------------------------------------

    def start_libvirtd(self, *, wait: bool = True) -> None:
        self.run("libvirtd --daemon --listen --pid-file /run/libvirtd.pid", timeout=START_SECONDS)
        if wait:
            self.answers()

    def answers(self) -> None:
        """Wait until the daemon answers: the first call comes back when it is ready."""
        done = self.run("virsh --connect qemu:///system uri", check=False, timeout=START_SECONDS)
        if done.returncode:
            log = (self.directory / "log/libvirtd.log").read_text(errors="replace")
            raise LabError(f"libvirtd of {self.name} does not answer: {done.stderr}\n{log[-3000:]}")

    def stop_libvirtd(self, number: int = signal.SIGTERM) -> None:
        """End the daemon, and wait until it has ended; VMs go on."""
        pid = self.libvirtd_pid
        if not pid:
            return
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, number)
        for _ in range(500):
            if not self.libvirtd_pid:
                return
            time.sleep(0.02)
        raise LabError(f"libvirtd of {self.name} did not end")

    def restart_libvirtd(self) -> None:
        self.stop_libvirtd()
        self.start_libvirtd()

    def clean(self) -> None:
        """No VM, no disk, a daemon that answers: as before the test, whatever the test did."""
        for pid in self.qemus().values():
            os.kill(pid, signal.SIGKILL)
        pid = self.libvirtd_pid
        if pid:
            os.kill(pid, signal.SIGCONT)
        else:
            self.start_libvirtd()
        connection = libvirt.open(self.outside_uri)
        remove_vms(connection)
        for secret in connection.listAllSecrets():
            secret.undefine()
        _only_default(connection.listAllStoragePools(), lambda: connection.storagePoolDefineXML(POOL))
        _only_default(connection.listAllNetworks(), lambda: connection.networkDefineXML(self.network))
        connection.close()
        shutil.rmtree(self.directory / "run/kvmctl", ignore_errors=True)
        for file in self.images.iterdir():
            file.unlink() if not file.is_dir() else shutil.rmtree(file)

    # -- start and end ------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start PID 1 in new namespaces; `init.py` does the rest and ends with us."""
        space = ["unshare", "--mount", "--net", "--uts", "--pid", "--ipc", "--fork", "--kill-child"]
        command = [*space, "--mount-proc", "--propagation", "private", "/usr/bin/env", "python3", str(INIT)]
        self._init = subprocess.Popen(
            [*command, self.name, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C on the terminal is not for it
            env={**os.environ, "PATH": PATH},
        )

    def booted(self) -> None:
        """Wait until PID 1 has prepared the namespaces."""
        assert self._init is not None
        assert self._init.stdout is not None
        if self._init.stdout.readline() != b"ready\n":
            raise LabError(f"{self.name} did not start; what init.py says above tells why")
        self.pid = child_of(self._init.pid)

    def close(self) -> None:
        if self._init is not None:
            with self._init:  # closes the pipes, which is what PID 1 ends at, and waits
                self.pid = 0


def remove_vms(connection: libvirt.virConnect) -> None:
    """End and forget every VM of a host."""
    for domain in connection.listAllDomains():
        with contextlib.suppress(libvirt.libvirtError):  # it may go by itself meanwhile
            if domain.isActive():
                domain.destroy()
        with contextlib.suppress(libvirt.libvirtError):  # it went if it was not persistent
            domain.undefineFlags(FORGET)


def _only_default(things: list[Any], define: Callable[[], Any]) -> None:
    """Of pools or networks, remove all but `default`; define and start that one if need be."""
    for thing in things:
        if thing.name() != "default":
            persistent = thing.isPersistent()  # what is not goes when it is stopped
            if thing.isActive():
                thing.destroy()
            if persistent:
                thing.undefine()
    default = next((thing for thing in things if thing.name() == "default"), None) or define()
    if not default.isActive():
        default.create()
    if not default.autostart():
        default.setAutostart(True)


def child_of(pid: int) -> int:
    """The one child of a process; 0 if it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def inner(process: subprocess.Popen[bytes]) -> int:
    """The id of what nsenter runs: signals are for that process."""
    for _ in range(500):
        pid = child_of(process.pid)
        if pid:
            return pid
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise ProcessLookupError(f"{process.args!r} has ended")


def kill_inner(process: subprocess.Popen[bytes]) -> None:
    pid = child_of(process.pid)
    if pid:
        os.kill(pid, signal.SIGKILL)
    process.kill()


def _keys(place: Path) -> Path:
    """One key for the daemons and one for the users, made for this lab alone."""
    for name in ("daemon", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place / name)], check=True)
    return place


class Lab:
    """Both hosts, the cable between them, and the keys they trust each other with."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kvmctl-lab-"))
        self.directory.chmod(0o755)
        self.hosts = tuple(
            Host(name, f"10.77.0.{number}", self.directory / name) for number, name in enumerate(NAMES, start=1)
        )
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            keys = _keys(Path(place))
            for host in self.hosts:
                self._furnish(host, keys)
                host.boot()
        for host in self.hosts:
            host.booted()
        one, two = self.hosts
        ends = (("netns", str(one.pid)), ("netns", str(two.pid)))
        subprocess.run(
            ["ip", "link", "add", "cable", *ends[0], "type", "veth", "peer", "name", "cable", *ends[1]],
            check=True,
            env={**os.environ, "PATH": PATH},
        )
        for host in self.hosts:
            host.run(f"ip addr add {host.address}/24 dev cable")
            host.run("ip link set cable up")
            sshd = shutil.which("sshd", path=PATH)
            host.run([str(sshd), "-f", host.directory / "sshd_config"])
        for host in self.hosts:
            host.start_libvirtd(wait=False)
        for host in self.hosts:
            host.answers()

    def _furnish(self, host: Host, keys: Path) -> None:
        """Everything the host finds when it starts."""
        for name in ("etc/qemu/networks/autostart", "etc/storage/autostart", "etc/pki", "lib/images", "log", "cache"):
            (host.directory / name).mkdir(parents=True)
        for name in ("run/libvirt", "run/sshd", "run/lock", "home/.ssh", "home/.config/kvmctl"):
            (host.directory / name).mkdir(parents=True, mode=0o755)
        for name, text in self._files(host, keys):
            (host.directory / name).write_text(text)
        (host.home / ".ssh").chmod(0o700)
        shutil.copy(keys / "user", host.home / ".ssh/id_ed25519")
        shutil.copy(keys / "user.pub", host.directory / "authorized_keys")
        shutil.copy(keys / "daemon", host.directory / "sshd_key")
        for kind, name in (("qemu/networks", "default.xml"), ("storage", "default.xml")):
            (host.directory / "etc" / kind / "autostart" / name).symlink_to(f"/etc/libvirt/{kind}/{name}")

    def _files(self, host: Host, keys: Path) -> Iterator[tuple[str, str]]:
        everyone = "".join(f"{other.address} {other.name}\n" for other in self.hosts)
        yield "hosts", f"127.0.0.1 localhost\n{everyone}"
        own = f"root:x:0:0:root:{host.home}:/bin/sh\n"
        others = [line for line in Path("/etc/passwd").read_text().splitlines(True) if not line.startswith("root:")]
        yield "passwd", own + "".join(others)
        yield "shadow", "root:*:19000:0:99999:7:::\n"
        yield "etc/libvirtd.conf", LIBVIRTD.format(uuid=uuid.uuid5(uuid.NAMESPACE_DNS, host.name), address=host.address)
        yield "etc/qemu.conf", QEMU.format(address=host.address)
        yield "etc/qemu/networks/default.xml", host.network
        yield "etc/storage/default.xml", POOL
        yield "sshd_config", SSHD.format(address=host.address, directory=host.directory)
        daemon = (keys / "daemon.pub").read_text()
        names = ",".join(name for other in self.hosts for name in (other.name, other.address))
        yield "home/.ssh/known_hosts", f"{names} {daemon}"
        aliases = "".join(f"  {other.name}: {{uri: '{other.uri}'}}\n" for other in self.hosts)
        yield "home/.config/kvmctl/config.yaml", f"hosts:\n{aliases}  host2-ssh: {{uri: '{self.hosts[1].ssh_uri}'}}\n"

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        shutil.rmtree(self.directory, ignore_errors=True)


LIBVIRTD = """\
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
listen_addr = "{address}"
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
"""

# As root and without confinement, since there is neither systemd nor AppArmor in the namespaces.
QEMU = """\
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
migration_address = "{address}"
migration_host = "{address}"
migrate_tls_x509_cert_dir = "/etc/libvirt/pki"
"""

# Mode 'open' touches no firewall, which small kernels do not have.
NETWORK = """\
<network>
  <name>default</name>
  <uuid>6b766d63-746c-4000-8000-000000000001</uuid>
  <forward mode='open'/>
  <bridge name='virbr0'/>
  <ip address='192.168.12{number}.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.12{number}.2' end='192.168.12{number}.254'/></dhcp>
  </ip>
</network>
"""

# Without a UUID, libvirtd would make up another at each start, and not know its own running pool again.
POOL = """\
<pool type='dir'>
  <name>default</name>
  <uuid>6b766d63-746c-4000-8000-000000000002</uuid>
  <target><path>/var/lib/libvirt/images</path></target>
</pool>
"""

SSHD = """\
ListenAddress {address}
HostKey {directory}/sshd_key
AuthorizedKeysFile {directory}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""
