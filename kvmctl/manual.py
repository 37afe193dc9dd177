"""The words of the manual that no declaration says: what kvmctl is, hosts, output, files; how a spec is written.

Plain text in the shapes that `roff.body` knows. Commands, options, keys of specs, exit codes and error codes are not
here: they are read from where they are declared.
"""

from __future__ import annotations

DATE = "2026-11-23"
"""The date on the pages: of the version they belong to and not from the clock, so that they can be made again."""

DESCRIPTION = """
kvmctl manages the virtual machines (VMs) of KVM hosts. It reads specs, short YAML files that say what a VM is, writes
libvirt domain XML, and does what people do with a VM: create, start, look, place, migrate, stop, delete.

It speaks to plain libvirt, on this machine or another. It has no daemon and no state file of its own: what it must
remember of a VM is kept in the metadata of the VM's own domain. VMs that were made by other tools are listed, shown,
started and exported like its own.

The language of specs is described in kvmctl-spec(5).
"""

EXAMPLES = """
Write a spec, look whether it is right, make the VM, and start it:

\b
kvmctl init > web1.yaml
kvmctl validate web1.yaml
kvmctl create web1.yaml --start

Look what stands in the way of moving a VM to another host, then move it:

\b
kvmctl migrate web1 host2 --check
kvmctl migrate web1 host2

See what there is, sit down at its serial console (leave with `^]`), and shut it down:

\b
kvmctl list
kvmctl console web1
kvmctl stop web1

Stop every running VM of a host, and pull the plug of those that have not stopped after a minute:

\b
kvmctl -H host2 list --running -o name | xargs -r kvmctl -H host2 stop --force --timeout 60

Host, name and state of all VMs of all hosts, for a script:

\b
kvmctl list --all-hosts -o json | jq -r '.[] | "\\(.host) \\(.name) \\(.state)"'
"""

HOSTS = """
A command talks to one host; `list` takes several. It is the first of these:

\b
 1. -H HOST, --host HOST
 2. KVMCTL_HOST in the environment
 3. default_host in the configuration file
 4. LIBVIRT_DEFAULT_URI in the environment
 5. qemu:///system, where its socket is there and lets us in
 6. qemu:///session, where a libvirt daemon is installed, and not for root
 7. the embedded host

HOST is a name from the configuration file, a libvirt URI such as `qemu+ssh://root@host2/system`, or the word
`embedded`.

The embedded host is libvirt's QEMU driver inside kvmctl's own process, so it needs no daemon and no setup. Its VMs go
on running when the command ends, and the next command finds them. Commands use it one after the other: each waits for
the one before it, with a limit. It has no libvirt networks, storage pools or host devices: disks are files, networking
is QEMU's user mode.

A host across the network is best reached with qemu+ssh, which checks host keys, or with TLS (qemu://). Plain TCP is
warned about. Parts of a URI that run commands or switch checks off are refused in the configuration file, unless the
host's entry says `allow_unsafe_uri: true`.
"""

OUTPUT = """
The answer goes to standard output and nothing else does; all that is said to a person goes to standard error. `-o`
chooses the form of the answer:

`table`
    For people: columns, humane units. The default.

`wide`
    The same with more columns.

`json`, `yaml`
    For programs: raw values. Sizes are bytes, times are seconds or ISO 8601 in UTC, unknown values are null.

`name`
    Names alone, one per line.

A list is an array of objects. A command that works on one thing prints one object, and an array, in the order given,
when several were named. Each object of a VM has at least `name`, `uuid`, `state` and `host`. The state is one of
running, paused, stopped, saved, crashed, migrating. Names and meaning of the fields are kept from version to version;
each command's page lists its own.

With `-o json` or `-o yaml` an error is printed to standard output as an object as well:

\b
{"error": {"code": "vm-not-found", "message": "...", "hint": "...", "exit_code": 3}}

It has `vm` where it is about one VM. Where a spec is wrong it has `where`, a list of objects with `file`, `line`,
`column`, `path`, `message` and `hint`. When some of several VMs failed, each of these stands in the array as an object
with `name` and `error`.

Colour is used on a terminal only.
"""

ENVIRONMENT = """
KVMCTL_HOST
    The host to talk to when `-H` is not given.

KVMCTL_CONFIG
    The configuration file, instead of the one below FILES.

KVMCTL_STATE_DIR
    The directory for what must outlive a command, instead of ~/.local/state/kvmctl.

LIBVIRT_DEFAULT_URI
    The host, where neither `-H`, `KVMCTL_HOST` nor the configuration names one.

LIBVIRT_DEBUG, LIBVIRT_LOG_FILTERS, LIBVIRT_LOG_OUTPUTS
    libvirt's own log, on standard error or where they say. It is silent unless one of them is set.

NO_COLOR
    If set to anything, no colour is used.

XDG_CONFIG_HOME, XDG_STATE_HOME
    Where the files below FILES are looked for, instead of ~/.config and ~/.local/state.

XDG_DATA_HOME
    On qemu:///session, new disks are made in libvirt/images below it, or below ~/.local/share.
"""

FILES = """
~/.config/kvmctl/config.yaml
    The configuration file. All of it is optional:

\b
default_host: host2
hosts:
  host2:
    uri: qemu+ssh://root@host2/system
    migrate_uri: tcp://10.0.0.2    # how other hosts reach it, for migration
    allow_unsafe_uri: false        # true takes a URI that can run commands
    devices: {fast0: "serial:S4"}  # names for devices: pci: [{alias: fast0}]
  host3: qemu+ssh://root@host3/system

~/.local/state/kvmctl/migrations
    Moves to another host that are under way, or that were broken off and wait for `kvmctl migrate --recover`.

~/.local/state/kvmctl/embedded
    The embedded host: its VMs, and in images/ the disks that kvmctl made for them.
"""

COMPLETION = """
Completion for bash (4.4 or later), zsh and fish comes with kvmctl, and is found by these shells where kvmctl is
installed below /usr or /usr/local. Otherwise, load it at the start of the shell:

\b
eval "$(_KVMCTL_COMPLETE=bash_source kvmctl)"      # in ~/.bashrc
eval "$(_KVMCTL_COMPLETE=zsh_source kvmctl)"       # in ~/.zshrc, after compinit
_KVMCTL_COMPLETE=fish_source kvmctl | source       # in ~/.config/fish/config.fish

It completes commands, options and their values, VM names, hosts, and names of spec files.
"""

EXIT_STATUS = """
One of several that failed makes the exit status 9. When there was only one, the exit status is that of its error.
Every error has a stable code as well, which machine-readable output carries; see ERROR CODES.
"""

SPEC = """
A spec is a YAML file that says what a VM is. `kvmctl create` makes a VM of it, `kvmctl export` makes a spec of a VM,
`kvmctl validate` checks it, and `kvmctl xml` shows the libvirt XML that it stands for.

What a spec leaves out is settled when the VM is made, from what the host can do, or left to libvirt. Leaving a key out
is not a wish for its default of today.
"""

SPEC_EXAMPLES = """
A VM with a new disk, on the network that libvirt calls default:

\b
name: web1
cpu: 4
memory: 4GiB
disks:
  - size: 20GiB
networks: [default]

A disk on top of an image, an existing block device, a limit on what the VM may send, and a screen:

\b
name: web2
description: the other web server
cpu: {count: 4, max: 8, quota: 150%}
memory: {size: 4GiB, max: 16GiB}
firmware: uefi
boot: [disk, network]
autostart: true
disks:
  - image: /srv/images/debian-12.qcow2
    size: 40GiB
  - path: /dev/vg0/data
    format: raw
networks:
  - bridge: br0
    mac: 52:54:00:12:34:56
    limits: {outbound: 100MiB}
graphics: vnc

A guest that starts from a kernel on the host:

\b
name: test1
memory: 512MiB
boot:
  kernel: /boot/vmlinuz
  initrd: /boot/initrd.img
  cmdline: console=ttyS0
"""

SPEC_LANGUAGE = """
Sizes
    A number and one of the units B, KiB, MiB, GiB, TiB: `4GiB`, `1.5TiB`.

Sets of CPUs
    As Linux writes them: `0-3,8`.

Yes and no
    `true` and `false`.

Short forms
    Where a group has one key that matters most, its value may stand for the group: `memory: 4GiB` is
    `memory: {size: 4GiB}`. In some lists a single item may stand for the list: `graphics: vnc`. KEYS says where.

Unknown keys, keys that are given twice, values of the wrong kind and combinations that cannot be are errors. All
errors of a file are told at once, each with its file, line, column and key, and with what to write instead.

A spec is text in UTF-8, of at most 1 MiB. Several documents in a file, tags such as `!!python`, and merge keys (`<<`)
are refused.
"""

SPEC_TEMPLATES = """
With `template: NAME` a spec lies over a starter spec: one that comes with kvmctl, or a file where NAME has a slash or
ends in `.yaml`. Groups are merged key by key. Lists and values of the spec take the place of the template's, and a
null takes a key of the template away. `kvmctl init NAME` writes a starter spec to edit, with comments.

`--set KEY=VALUE` changes one key of a spec from the command line: `--set cpu.count=8`, `--set disks.vda.size=40GiB`,
`--set networks.0.network=lan`. An item of a list is called by its `name` or by its number, counted from 0.
"""
