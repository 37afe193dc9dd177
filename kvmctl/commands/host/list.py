"""`kvmctl host list`: the hosts that are configured, and whether they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kvmctl import parallel
from kvmctl.columns import Field
from kvmctl.commands.host import _hosts
from kvmctl.options import command

if TYPE_CHECKING:
    from kvmctl.app import App
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Outcome, Work

SECONDS = 20.0

FIELDS = (
    Field("name"),
    Field("state"),
    Field("hypervisor"),
    Field("libvirt"),
    Field("vms_running", "RUNNING", right=True),
    Field("vms_total", "VMS", right=True),
    Field("error", show=lambda error: error or ""),
    Field("uri", "URI", wide=True),
)


@command("list")
@click.pass_obj
def list_(app: App) -> None:
    """List the configured hosts, and whether they answer.

    The hosts of config.yaml, and the one that commands talk to if none is named; with -H only those named. All are
    asked at the same time. A host that does not answer is part of the answer: its state is unreachable, and the exit
    code is 0 all the same.

    With -o json it prints an array of objects with the fields name, uri, state (reachable or unreachable), error (why
    not, or null), hypervisor and libvirt (versions), vms_running, vms_total and default (it is the one that commands
    talk to).

    \b
    Exit codes:
      0  listed
      2  the configuration file is wrong
    """
    from kvmctl.host.targets import configured

    chosen = app.targets()
    targets = chosen if app.settings.hosts else list(dict.fromkeys([*configured(), *chosen]))
    outcomes = _hosts.ask(app, targets, _glance, seconds=SECONDS)
    hosts = [
        {**(outcome.value or _silent(outcome)), "default": outcome.thing in chosen and not app.settings.hosts}
        for outcome in outcomes
    ]
    app.output.items(hosts, FIELDS)


def _glance(target: Target, work: Work) -> dict[str, Any]:
    from kvmctl.host.description import glance

    return glance(target, work)


def _silent(outcome: Outcome[Target, dict[str, Any]]) -> dict[str, Any]:
    from kvmctl.host.description import out_of_reach

    assert outcome.error is not None
    return out_of_reach(outcome.thing, parallel.as_error(outcome.error).message)
