"""`kvmctl list`: the VMs of one or many hosts. The command that is called most, so it imports next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl import parallel
from kvmctl.columns import Field
from kvmctl.errors import PartialFailure
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Outcome, Work

HOST_SECONDS = 30.0
"""How long a host gets to answer."""
QUEUE_SECONDS = 75.0
"""The embedded host may have to be waited for."""

STOPPED = ("stopped", "saved")
FIELDS = (
    Field("name"),
    Field("state"),
    Field("host"),
    Field("uuid", "UUID", wide=True),
    Field("id", "ID", wide=True, right=True),
    Field("reason", wide=True),
)
OF_ONE_HOST = tuple(Field(field.key, field.heading, wide=field.key not in ("name", "state")) for field in FIELDS)


@command("list")
@click.option("--running", is_flag=True, help="Only VMs that a QEMU process runs for, paused ones too.")
@click.option("--stopped", is_flag=True, help="Only VMs that are stopped or saved.")
@click.option("--all-hosts", is_flag=True, help="The VMs of all hosts in config.yaml.")
@click.pass_obj
def list_(app: App, running: bool, stopped: bool, all_hosts: bool) -> None:
    """List VMs.

    All VMs of the host, running or not; with several hosts (-H a -H b, or --all-hosts) all are asked at the same
    time. A host that cannot be reached costs its own error line, not the answer of the others, and the exit code is
    then 9.

    \b
      kvmctl list
      kvmctl list --running -H host1 -H host2 -o wide

    With -o json it prints an array of objects with the fields name, uuid, state (running, paused, stopped, saved,
    crashed or migrating), host, reason (in words, or null) and id (the number of a running VM, or null), by host and
    name.

    \b
    Exit codes:
      0  all hosts have answered
      7  the only host did not answer, or does not let us in
      8  it did not answer in time
      9  some of several hosts did not answer
    """
    targets = app.targets(every=all_hosts)
    for target in targets:
        app.warn_of(target)
    several = len(targets) > 1

    def tell(outcome: Outcome[Target, list[dict[str, Any]]]) -> None:
        if outcome.error is not None and several:
            app.output.failure(parallel.as_error(outcome.error))

    def vms(target: Target, work: Work) -> list[dict[str, Any]]:
        from kvmctl.host.connection import connect
        from kvmctl.host.domains import list_vms

        with connect(target, timeout=app.settings.timeout, readonly=True, work=work) as host:
            return list_vms(host)

    seconds = QUEUE_SECONDS if any(target.embedded for target in targets) else HOST_SECONDS
    outcomes, left = parallel.run(targets, vms, limit=app.settings.timeout or seconds, on_finish=tell)
    app.abandoned = app.abandoned or left
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failed and not several:
        raise parallel.as_error(failed[0])
    found = [vm for outcome in outcomes for vm in outcome.value or ()]
    if running != stopped:
        found = [vm for vm in found if (vm["state"] in STOPPED) == stopped]
    app.output.items(found, FIELDS if several else OF_ONE_HOST)
    if failed:
        raise PartialFailure("partial-failure", f"{len(failed)} of {len(outcomes)} hosts did not answer")
