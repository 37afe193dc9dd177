"""`kvmctl migrate`: move VMs to another host, running or not."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from kvmctl.columns import Field
from kvmctl.commands._complete import vms_and_host
from kvmctl.commands._migration import deed_of, move_options, wish_of
from kvmctl.commands._moved import called_off, recovered, sentence, show_checks
from kvmctl.commands._moves import Teller, shown
from kvmctl.commands._vms import each
from kvmctl.errors import Refused
from kvmctl.options import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work
    from kvmctl.plan.migration.wish import Wish

LONGEST = 30 * 86400.0
"""Seconds that a move may take where nobody sets a limit. The engine gives up one that stands still."""
LAST_SECONDS = 60.0
"""How long a move may take to come to its end, and to look at both hosts, when its time is over."""
CHECK_SECONDS = 120.0
STATUS_SECONDS = 30.0
MOVES = (
    *(Field(name) for name in ("name", "state", "host", "target", "phase")),
    *(Field("started", wide=True), Field("process", wide=True, right=True), Field("uuid", "UUID", wide=True)),
)


@command("migrate")
@click.argument("vms", nargs=-1, metavar="VM…", shell_complete=vms_and_host)
@click.argument("destination", required=False, metavar="HOST")
@click.option("--check", is_flag=True, help="Move nothing: say what stands in the way, and how it would go.")
@move_options
@click.option("--status", is_flag=True, help="Show the moves under way, and those that did not come to an end.")
@click.option("--cancel", is_flag=True, help="Call off the moves of VMs, which stay where they are.")
@click.option("--recover", is_flag=True, help="Bring moves to an end whose kvmctl was killed, or that came to a halt.")
@click.pass_obj
def migrate(app: App, /, vms: tuple[str, ...], destination: str | None, **options: Any) -> int:
    """Move VMs to another host.

    VM is a name or UUID, HOST a name from config.yaml or a libvirt URI. A running VM moves while it runs, and stands
    still for a moment. A stopped one moves as a definition. What is persistent is persistent there and gone here, with
    autostart and metadata; what is transient stays transient. Several VMs move one after the other.

    Both hosts are looked at first. All that stands in the way is told at once, each with its remedy, and nothing is
    moved then. How fast the guest writes and how fast the link is gives a forecast, and chooses the means; they can be
    chosen by hand, too. Two options say what is wanted: the longest pause, and a deadline. Where both cannot be kept,
    --on-deadline says what gives way:

    \b
    abort     stay here; the default
    postcopy  go over at once; what is missing follows when it is needed
    pause     hold the guest until all is there
    continue  miss the deadline

    Whatever breaks, exactly one copy of the VM runs. Both hosts are looked at before anything is said, and the exit
    code is true. A move can be called off at any time with Ctrl-C, also by TERM and HUP: the VM then runs here as
    before. If kvmctl itself is killed, --recover finishes; --status and --cancel work from another terminal.

    \b
      kvmctl migrate web1 host2 --check
      kvmctl migrate web1 web2 host2 --max-downtime 100ms
      kvmctl migrate web1 host2 --copy-disks --map network:lan=lan2
      kvmctl migrate --status

    --map takes what the VM has here and what it is to have there: an absolute path (of a file, or of a directory with
    what is below it), network:NAME, bridge:NAME or pool:NAME. Of several paths the longest counts. What is not in the
    VM's definition cannot be mapped.

    --copy-disks makes the disks that the hosts do not share on HOST, in the same directories and pools unless --map
    names others, and overwrites nothing. Of an image on top of another one the top alone is copied, where HOST has the
    same image below; else both become one. Memory goes when the disks are in sync. A CD is copied too if HOST has no
    such file, and so are the disks of a stopped VM, through the machine that runs kvmctl. The disks here are kept.

    A guest may write to its disks as fast as they are copied, or faster. Where that is seen before, or while they are
    copied, each of its writes waits until HOST has it, so that the copy comes to an end; copying is begun again for
    that. It needs libvirt 8.0 or later on both hosts.

    A disk that is encrypted with LUKS is decrypted here and encrypted anew on HOST, with the passphrase that the secret
    of the same UUID or usage has there, which may be another one; kvmctl never reads either. Between the hosts its
    content is plain text without --tls. A raw one is sent and written whole, since encryption shows no holes; qcow2
    stays sparse. The disks of a stopped VM go as they are, so that HOST needs the passphrase they have here.

    A network device of the host goes along: the guest is asked to let go of it, and gets the like of it on HOST, a free
    one with the same vendor and product. A team of it and a virtio card (team: in the spec) keeps the guest on the
    network meanwhile. Where the move fails it has its own device again. A device whose driver can save its state, one
    of vfio's for some cards, is kept and goes along to its like. Others have to be detached before.

    Memory is sent as it is, so over a network that is not private either --tls or --insecure is needed. Whether disks
    are shared is found out by looking from both hosts; where that cannot be, --unsafe takes your word for it.

    With --tls both QEMUs show certificates, from the directory that migrate_tls_x509_cert_dir in qemu.conf names, else
    from /etc/pki/libvirt-migrate if there is one, else from what default_tls_x509_cert_dir names, else from
    /etc/pki/qemu: ca-cert.pem, and client-cert.pem and client-key.pem on the host that the VM leaves, server-cert.pem
    and server-key.pem on HOST. Those of the host on which kvmctl runs are looked at first, with openssl: whether they
    are there, can be read by QEMU's user, are in time, signed by ca-cert.pem and for this use, and whether that of HOST
    is for the name or address that memory is sent to. libvirt shows no files of other hosts; the check says so.

    \b
    With -o json each line is one JSON object. First come events, as they
    happen, with the fields event, time, vm and
      step, decision  what (a sentence)
      progress        phase (preparing, disks, precopy, postcopy,
                      postcopy-paused, finishing), elapsed_ms, total,
                      processed, remaining, rate, dirty_rate, iteration,
                      throttle, downtime_ms, disk_total, disk_processed,
                      disk_remaining, xbzrle_bytes, xbzrle_misses (0 where
                      nothing is known), ends_in_ms (forecast, or null)
    The last line is the result, or the error; an array for several VMs.
    A result has the fields
      name, uuid, state, host (where it is now), source
      total_ms        how long it took
      downtime_ms     how long the guest stood still; null if nobody saw it
      bytes           what was sent, disks included
      iterations      passes over the memory
      means           why it was sent as it was, in sentences
      decisions       what was changed under way, and why
      notes           what else is to be known
      forecast        what was said before: converges, total_ms,
                      downtime_ms, bytes, means; null where there was none
    With -o yaml the result comes alone.

    \b
    With --check and -o json it prints one object, or an array for several
    VMs, with the fields
      name, uuid, host (HOST), source
      verdict         the worst of: ok, note, warning, blocker
      findings        code, verdict, subject, what, hint
      means, forecast as above
    With --status it prints an array with the fields
      name, uuid, state, host
      target          null where another tool moves it
      phase           as in events, or unfinished: nobody is at it, and
                      --recover finishes it
      started         null for another tool's
      process         that does it, of a kvmctl on this machine, or null
    With --cancel and --recover it prints one object, or an array for several
    VMs, with the fields
      name, uuid, state, host (where it is now), source
      outcome         stayed or moved; null where no move was unfinished
      notes           what had to be done, in sentences

    \b
    Exit codes:
      0  moved; or the check found no blocker
      1  it failed, and the VM runs where it was
      2  the options are wrong, or contradict each other
      3  there is no such VM, or no such host
      5  something stands in the way, or it cannot be called off any more
      6  another kvmctl moves it already, or has left a move unfinished
      7  a host cannot be reached, or the link was lost; the message says
         where the VM is, or that --recover is needed
      8  the deadline was missed; the VM runs where it was
      9  some of several VMs were not moved
      130  called off; the VM runs where it was
    """
    deed, named, where = deed_of(vms, destination, options)
    source = app.target()
    app.warn_of(source)
    if where:
        wish = wish_of(options)
        target = _target(where)
        app.warn_of(target)
        return _check(app, source, target, named, wish) if deed == "check" else _move(app, source, target, named, wish)
    return {"status": _status, "cancel": _cancel, "recover": _recover}[deed](app, source, named)


def _target(where: str) -> Target:
    from kvmctl.host.targets import select

    [target] = select((where,))
    return target


def _move(app: App, source: Target, target: Target, vms: Sequence[str], wish: Wish) -> int:
    def deed(teller: Teller, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.migration.migrate import migrate as perform

        with teller.story(vm) as hear:
            return perform(source, target, vm, wish, hear=hear, work=work, timeout=app.settings.timeout)

    app.output.one_line()
    each(
        app,
        vms,
        deed,
        sentence=sentence,
        place=partial(shown, app.output),
        # Two would halve the link that each was measured with.
        at_once=1,
        seconds=LONGEST,
        grace=LAST_SECONDS,
    )
    return 0


def _check(app: App, source: Target, target: Target, vms: Sequence[str], wish: Wish) -> int:
    blocked: list[dict[str, Any]] = []

    def deed(_: None, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.migration.migrate import check

        return check(source, target, vm, wish, work=work, timeout=app.settings.timeout)

    def answer(items: Sequence[dict[str, Any]], single: bool) -> None:
        blocked.extend(item for item in items if item.get("verdict") == "blocker")
        show_checks(app.output, items, single=single)

    each(app, vms, deed, answer=answer, place=nullcontext, seconds=CHECK_SECONDS)
    return Refused.exit_code if blocked else 0


def _status(app: App, source: Target, vms: Sequence[str]) -> int:
    from kvmctl import parallel

    def ask(_: None, work: Work) -> list[dict[str, Any]]:
        from kvmctl.host.migration.jobs import status

        return status(source, vms)

    outcomes, left = parallel.run([None], ask, limit=app.settings.timeout or STATUS_SECONDS)
    app.abandoned = app.abandoned or left
    if outcomes[0].error is not None:
        raise parallel.as_error(outcomes[0].error)
    app.output.items(outcomes[0].value or [], MOVES)
    return 0


def _cancel(app: App, source: Target, vms: Sequence[str]) -> int:
    def deed(_: None, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.migration.jobs import cancel

        return cancel(source, vm, work)

    each(app, vms, deed, sentence=called_off, place=nullcontext, grace=LAST_SECONDS)
    return 0


def _recover(app: App, source: Target, vms: Sequence[str]) -> int:
    from kvmctl.host.migration.jobs import unfinished

    def deed(_: None, vm: str, work: Work) -> dict[str, Any]:
        from kvmctl.host.migration.jobs import recover

        return recover(source, vm, work)

    everything = vms or unfinished()
    if not everything:
        app.output.say("no move is unfinished")
        app.output.done([], single=False)
        return 0
    each(app, everything, deed, sentence=recovered, place=nullcontext, grace=LAST_SECONDS)
    return 0
