"""The root command, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

import click

from kvmctl import __version__
from kvmctl.app import App
from kvmctl.commands import REGISTRY, SECTIONS
from kvmctl.errors import Interrupted, KvmctlError, UsageError
from kvmctl.lazy import LazyGroup
from kvmctl.options import shared_options


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"kvmctl {__version__}")
        ctx.exit()


root = LazyGroup(
    name="kvmctl",
    help="A command-line VM manager for KVM hosts.",
    epilog="Every command has --help and a manual page: man kvmctl-create. Specs: man kvmctl-spec.",
    registry=REGISTRY,
    sections=SECTIONS,
    params=[
        *shared_options(),
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version."
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(app: App, arguments: list[str]) -> int:
    """Run one command line and return its exit code; every error has been told when it returns."""
    try:
        app.settings.preview(arguments)
        outcome = root.main(arguments, prog_name="kvmctl", standalone_mode=False, obj=app)
        code = outcome if isinstance(outcome, int) else 0
        app.output.flush()
        return code
    except (BrokenPipeError, SystemExit):
        # Whoever reads our answer has read enough: `kvmctl list | head -1`. Click says it by SystemExit.
        app.output.discard()
        return 0
    except (KeyboardInterrupt, click.exceptions.Abort):
        error: KvmctlError = Interrupted("interrupted", "interrupted")
    except click.ClickException as problem:
        if type(problem).__name__ == "NoArgsIsHelpError":  # Click 8.2 and later; 8.1 shows the help by itself
            click.echo(problem.format_message(), err=True)
            return UsageError.exit_code
        context = getattr(problem, "ctx", None)
        hint = f"see '{context.command_path} --help'" if context else ""
        error = UsageError("usage", problem.format_message().rstrip("."), hint=hint)
    except KvmctlError as problem:
        error = problem
    except OSError as problem:
        error = KvmctlError("write-failed", f"{problem.strerror or problem}: {problem.filename or 'standard output'}")
        error.__cause__ = problem
    except Exception as problem:  # noqa: BLE001 - the last line of defence: no traceback ever reaches a person
        error = KvmctlError(
            "internal",
            f"this is a defect in kvmctl: {type(problem).__name__}: {problem}",
            hint="run it again with --debug and report what it shows",
        )
        error.__cause__ = problem
    return app.output.tell(error)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point of the `kvmctl` program."""
    _open_streams()
    _speak_utf8()
    app = App()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # and not ignored, as nohup has it
            signal.signal(number, _interrupt)
    try:
        if "_KVMCTL_COMPLETE" in os.environ:
            from kvmctl.completion import answer

            code = answer(root, app, os.environ)
        else:
            code = run(app, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # a second one, while the first was being told
        code = Interrupted.exit_code
    if app.abandoned or "libvirt" in sys.modules:
        # libvirt's threads may be at work, or hang; an orderly exit would wait for them or be caught by them.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _open_streams() -> None:
    """Open what was closed when we were started, lest the next connection takes the place of a standard stream."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                if os.open(os.devnull, os.O_RDWR) != number:
                    continue
            setattr(sys, name, open(number, "w" if number else "r"))  # noqa: SIM115


def _speak_utf8() -> None:
    """Where the locale is another, a terminal gets what it can show, and programs get UTF-8 all the same."""
    stdout = sys.stdout
    if isinstance(stdout, TextIOWrapper) and stdout.encoding != "utf-8":
        if stdout.isatty():
            stdout.reconfigure(errors="replace")
        else:
            stdout.reconfigure(encoding="utf-8")


def _interrupt(number: int, frame: object) -> NoReturn:
    """Being told to end, or losing the terminal, is like Ctrl-C: what is half done is undone."""
    raise KeyboardInterrupt
