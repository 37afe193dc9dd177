"""Walks the command tree and writes what follows from it: manual pages and completion scripts.

    python -m kvmctl.reflect [DIRECTORY]     writes man/, completions/ and schema/ below the directory

The same sources give the same files, byte by byte: no clock, no width of a terminal, no version of Click shows in them.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from kvmctl import __version__, completion, errors, manual, roff
from kvmctl.cli import root
from kvmctl.lazy import LazyGroup
from kvmctl.options import shared_options
from kvmctl.spec.schema import Entry, json_schema
from kvmctl.spec.schema import manual as keys

SHARED = frozenset(option.name for option in shared_options())
SEE_ALSO = ("kvmctl(1)", "kvmctl-spec(5)", "virsh(1)")
SPEC_SEE_ALSO = ("kvmctl(1)", "kvmctl-init(1)", "kvmctl-create(1)", "kvmctl-export(1)", "kvmctl-validate(1)")


def generated() -> dict[str, str]:
    """Every generated file: its path below the root of the project, and its text."""
    files = {f"man/{title(context)}.1": page(context) for context in commands()}
    return {
        **files,
        "man/kvmctl-spec.5": spec_page(),
        "schema/kvmctl-spec.json": json.dumps(json_schema(), indent=2) + "\n",
        "completions/kvmctl.bash": completion.BASH,
        "completions/_kvmctl": completion.ZSH,
        "completions/kvmctl.fish": completion.FISH,
    }


def commands() -> Iterator[click.Context]:
    """The root command and every command below it, each in the context that names it."""
    waiting = [click.Context(root, info_name="kvmctl")]
    while waiting:
        context = waiting.pop(0)
        yield context
        command = context.command
        if isinstance(command, LazyGroup):
            waiting.extend(
                click.Context(found, info_name=name, parent=context)
                for name in command.list_commands(context)
                if (found := command.get_command(context, name))
            )


def title(context: click.Context) -> str:
    """The name of a command's page: kvmctl-host-list."""
    return context.command_path.replace(" ", "-")


def help_of(command: click.Command) -> str:
    """The help as it was meant: some versions of Click keep the indentation of the source."""
    return inspect.cleandoc(command.help or "")


def summary(command: click.Command) -> str:
    """The first line of the help."""
    return help_of(command).partition("\n")[0]


def page(context: click.Context) -> str:
    """The manual page of a command, in roff."""
    command = context.command
    name = title(context)
    lines = [
        *roff.opening(name.upper(), "1", manual.DATE, f"kvmctl {__version__}", "kvmctl manual"),
        roff.section("NAME"),
        roff.wrapped(rf"{roff.escape(name)} \- {roff.escape(_name_of(summary(command)))}"),
        roff.section("SYNOPSIS"),
        synopsis(context),
        *(_about_kvmctl() if context.parent is None else _about_command(context)),
        *_see_also(other for other in SEE_ALSO if other != f"{name}(1)"),
    ]
    return "\n".join(lines) + "\n"


def synopsis(context: click.Context) -> str:
    """The command with its own options and its arguments; the shared options are only hinted at."""
    command = context.command
    parts = [roff.bold(context.command_path), rf"[{roff.italic('OPTION')}]..."]
    parts += [f"[{_term(option, short=True)}]{'...' if option.multiple else ''}" for option in options(command)]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            name = (parameter.metavar or (parameter.name or "").upper()).removesuffix("…")
            shown = roff.italic(name) + ("..." if parameter.nargs == -1 else "")
            parts.append(shown if parameter.required else f"[{shown}]")
    if isinstance(command, click.Group):
        parts.append(rf"{roff.italic('COMMAND')} ...")
    return roff.wrapped(" ".join(parts))


def options(command: click.Command) -> list[click.Option]:
    """The options that are the command's own."""
    return [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in SHARED and not parameter.hidden
    ]


def _name_of(sentence: str) -> str:
    return sentence.rstrip(".")


def _about_kvmctl() -> Iterator[str]:
    prose = (("DESCRIPTION", manual.DESCRIPTION), ("EXAMPLES", manual.EXAMPLES))
    for heading, text in prose:
        yield roff.section(heading)
        yield from roff.body(text)
    yield roff.section("COMMANDS")
    yield "Every command has a page of its own."
    for heading, names in root.sections.items():
        yield roff.subsection(heading)
        yield from _table_of(root, names)
    yield roff.section("OPTIONS")
    yield roff.inline("These are taken before the command and after it alike; what stands after it wins.")
    yield from _option_list([*shared_options(), *options(root), *_help_option()])
    for heading, text in (("HOSTS", manual.HOSTS), ("OUTPUT", manual.OUTPUT)):
        yield roff.section(heading)
        yield from roff.body(text)
    yield from _exit_status()
    for heading, text in (
        ("ENVIRONMENT", manual.ENVIRONMENT),
        ("FILES", manual.FILES),
        ("SHELL COMPLETION", manual.COMPLETION),
    ):
        yield roff.section(heading)
        yield from roff.body(text)


def _about_command(context: click.Context) -> Iterator[str]:
    command = context.command
    about, codes = _without_exit_codes(help_of(command))
    yield roff.section("DESCRIPTION")
    yield from roff.body(about)
    if isinstance(command, LazyGroup):
        yield roff.section("COMMANDS")
        yield from _table_of(command, command.registry, prefix=f"{title(context)}-")
    own = options(command)
    if own:
        yield roff.section("OPTIONS")
        yield from _option_list(own)
    yield roff.section("SHARED OPTIONS")
    yield roff.inline("All commands take these, and `kvmctl` takes them before the command.")
    yield from _option_list([*shared_options(), *_help_option()])
    yield roff.section("EXIT STATUS")
    for code, sentence in codes:
        yield from roff.item(roff.bold(code), f"{sentence[0].upper()}{sentence[1:]}.")
    yield from [".PP"] if codes else []
    yield roff.wrapped(f"{'The others are' if codes else 'As'} described in {roff.bold('kvmctl')}(1).")


def _without_exit_codes(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The help without its block of exit codes, and that block: each code with its sentence."""
    before, _, block = text.partition("\b\nExit codes:\n")
    block, _, after = block.partition("\n\n")
    joined = re.sub(r"\n\s+(?=[^\s\d])", " ", block)
    return f"{before.rstrip()}\n\n{after}", re.findall(r"(?m)^\s*(\d+)\s+(\S.*)$", joined)


def _table_of(group: LazyGroup, names: Iterable[str], prefix: str = "kvmctl-") -> Iterator[str]:
    for name in names:
        yield from roff.item(f"{roff.bold(prefix + name)}(1)", group.registry[name][1])


def _option_list(listed: Iterable[click.Option]) -> Iterator[str]:
    for option in listed:
        yield from roff.item(_term(option), (option.help or "") + _default(option))


def _help_option() -> list[click.Option]:
    return [click.Option(["-h", "--help"], is_flag=True, help="Show the help of a command.")]


def _term(option: click.Option, *, short: bool = False) -> str:
    """`-H, --host HOST`; in the synopsis, the last of the names alone."""
    names = sorted(option.opts, key=len)
    names = [*(names[-1:] if short else names), *option.secondary_opts]
    value = "" if option.is_flag or option.count else f" {roff.italic(_value(option))}"
    return (" | " if short else ", ").join(map(roff.bold, names)) + value


def _value(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return (option.type.name or "value").upper()


def _default(option: click.Option) -> str:
    if not option.show_default:
        return ""
    return (
        f" The default is {option.default:g}."
        if isinstance(option.default, float)
        else f" The default is {option.default}."
    )


def exit_sentences() -> dict[int, str]:
    """What each exit code means, in the words of the tree that errors.py draws."""
    drawn = re.findall(r"(?m)^[├└─ ]*(\w+) +(\d+)  +(\S.*)$", errors.__doc__ or "")
    return {int(code): sentence for _, code, sentence in drawn}


def _exit_status() -> Iterator[str]:
    sentences = exit_sentences()
    yield roff.section("EXIT STATUS")
    for code, sentence in {0: "done", **sentences}.items():
        yield from roff.item(roff.bold(str(code)), f"{sentence[0].upper()}{sentence[1:]}.")
    yield ".PP"
    yield from roff.body(manual.EXIT_STATUS)
    yield roff.section("ERROR CODES")
    for cls in errors.all_classes():
        yield roff.subsection(f"Exit status {cls.exit_code}: {sentences[cls.exit_code]}")
        for name, meaning in cls.codes.items():
            yield from roff.item(roff.bold(name), meaning)


def _see_also(pages: Iterable[str]) -> Iterator[str]:
    yield roff.section("SEE ALSO")
    yield roff.wrapped(
        ", ".join(f"{roff.bold(name)}({section}" for name, _, section in (p.partition("(") for p in pages))
    )


def spec_page() -> str:
    """kvmctl-spec(5), in roff."""
    lines = [
        *roff.opening("KVMCTL-SPEC", "5", manual.DATE, f"kvmctl {__version__}", "kvmctl manual"),
        roff.section("NAME"),
        r"kvmctl\-spec \- what a VM is, in YAML",
    ]
    for heading, text in (
        ("DESCRIPTION", manual.SPEC),
        ("EXAMPLES", manual.SPEC_EXAMPLES),
        ("LANGUAGE", manual.SPEC_LANGUAGE),
        ("TEMPLATES", manual.SPEC_TEMPLATES),
    ):
        lines += [roff.section(heading), *roff.body(text)]
    lines += _key_list(list(keys()))
    lines += _see_also(SPEC_SEE_ALSO)
    return "\n".join(lines) + "\n"


def _key_list(entries: list[Entry]) -> Iterator[str]:
    """The keys: first those that are single values, then group by group."""
    groups = list(dict.fromkeys(entry.path.partition(".")[0].removesuffix("[]") for entry in entries if entry.depth))
    yield roff.section("KEYS")
    yield from roff.body(
        "A key below a list is written with brackets: `disks[].size` is `size` in each item of `disks`."
    )
    yield roff.subsection("Single values")
    for entry in entries:
        if entry.path not in groups and not entry.depth:
            yield from _key(entry)
    for group in groups:
        yield roff.subsection(group)
        for entry in entries:
            if entry.path.partition(".")[0].removesuffix("[]") == group:
                yield from _key(entry)


def _key(entry: Entry) -> Iterator[str]:
    example = f" For example: `{entry.example}`." if entry.example else ""
    yield from roff.item(f"{roff.bold(entry.path)}  ({roff.escape(entry.form)})", entry.doc + example)


def main() -> None:
    """Write all generated files below the directory named on the command line, or the current one."""
    target = Path(*sys.argv[1:2])
    for name, text in generated().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
