"""The one gate to stdout and stderr. stdout carries the answer, stderr everything said to a person.

Only this module imports rich, and only when a table is drawn on a terminal or a bar is shown.
It knows nothing of VMs or hosts: it is given plain objects (dicts with raw values) and `Field`s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kvmctl.columns import aligned, is_failure, plain, printable

if TYPE_CHECKING:
    from rich.console import Console, Group

    from kvmctl.columns import Field, Item
    from kvmctl.errors import KvmctlError

STATE_COLOURS = {
    "running": "green",
    "paused": "yellow",
    "crashed": "bold red",
    "saved": "cyan",
    "migrating": "magenta",
    "ok": "green",
    "note": "cyan",
    "warning": "yellow",
    "failed": "bold red",
    "blocker": "bold red",
    "reachable": "green",
    "unreachable": "bold red",
}


class Settings(Protocol):
    output: str
    quiet: bool
    verbose: bool
    debug: bool


class Bar(NamedTuple):
    """How far one piece of long work is: `fraction` from 0 to 1, or None; `words` beside the bar, `below` under it."""

    title: str
    fraction: float | None
    words: str
    below: str


class Output:
    """Renders answers in the format asked for, and speaks to people on stderr."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._one_line = False
        self._console: Console | None = None
        """While something moves at the bottom of the terminal: what is said then comes above it."""

    @property
    def machine(self) -> bool:
        """True when the answer is read by a program."""
        return self.settings.output in ("json", "yaml")

    # -- the answer ---------------------------------------------------------------------------------

    def items(self, items: Sequence[Item], fields: Sequence[Field]) -> None:
        """A list of objects."""
        form = self.settings.output
        if self.machine:
            self._document(list(items))
        elif form == "name":
            self._lines(plain(item.get("name")) for item in items if not is_failure(item))
        else:
            self._table(items, [field for field in fields if form == "wide" or not field.wide])

    def item(self, item: Item, lines: Callable[[bool], Iterable[str]]) -> None:
        """One object; for people, the lines that `lines(wide)` gives."""
        form = self.settings.output
        if self.machine:
            self._document(item)
        elif form == "name":
            self._lines([plain(item.get("name"))])
        else:
            self._lines(lines(form == "wide"))

    def sheets(self, items: Sequence[Item], lines: Callable[[Item, bool], Iterable[str]], *, single: bool) -> None:
        """Objects shown in full, one below the other (one object for programs if `single`); `lines(item, wide)`."""
        if single:
            self.item(items[0], lambda wide: lines(items[0], wide))
        elif self.machine or self.settings.output == "name":
            self.items(items, ())
        else:
            for number, item in enumerate(item for item in items if not is_failure(item)):
                self._lines([""] * bool(number))
                self._lines(lines(item, self.settings.output == "wide"))

    def painted(self, text: str, style: str = "") -> str:
        """A piece of an answer in this style, or in the colour of the state it names, where stdout shows colours."""
        style = style or STATE_COLOURS.get(text, "")
        plain_wanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        if not style or plain_wanted or not sys.stdout.isatty():
            return text
        from rich.style import Style

        return Style.parse(style).render(text)

    @property
    def width(self) -> int:
        """How many letters a line of the answer has room for."""
        import shutil

        return max(40, shutil.get_terminal_size((80, 24)).columns)

    def done(self, items: Sequence[Item], *, single: bool) -> None:
        """What an action did: objects for programs (one object if `single`), names for -o name, else nothing."""
        if self.machine:
            self._document(items[0] if single and items else list(items))
        elif self.settings.output == "name":
            self._lines(plain(item.get("name")) for item in items if not is_failure(item))

    def text(self, text: str, item: Item | None = None) -> None:
        """An answer that is a text already (XML, a spec); -o json and yaml wrap it as `item` says, if it says."""
        if self.machine and item is not None:
            self._document(item)
        else:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def event(self, item: Item) -> None:
        """One of the objects that come before the answer, for -o json alone; see `one_line`."""
        if self.settings.output == "json":
            self._document(item)
            sys.stdout.flush()

    def one_line(self) -> None:
        """From now on a JSON document is one line, so that a program can read the answer line by line."""
        self._one_line = self.settings.output == "json"

    # -- talk ---------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """A line for the person, on stderr."""
        if not self.settings.quiet:
            self._talk(line)

    def detail(self, line: str) -> None:
        """A line for the person who asked for more with -v."""
        if self.settings.verbose:
            self._talk(line)

    def warn(self, line: str) -> None:
        """A warning; --quiet does not silence it."""
        self._talk(f"warning: {line}")

    def failure(self, error: KvmctlError) -> None:
        """An error in words on stderr; the caller decides about stdout and the exit code."""
        about = f"{error.vm}: " if error.vm and not error.message.startswith(f"{error.vm}:") else ""
        for line in (f"error: {about}{error.message}", *error.details):
            self._talk(line)
        if error.hint:
            self._talk(f"hint: {error.hint}")
        if self.settings.debug:
            import traceback

            traceback.print_exception(error, file=sys.stderr)

    def tell(self, error: KvmctlError) -> int:
        """The error that ends the command: words on stderr, an error object on stdout for programs; its exit code."""
        try:
            self.failure(error)
            if self.machine and error.code != "partial-failure":
                self._document({"error": error.as_dict()})
            self.flush()
        except OSError:
            self.discard()
        return error.exit_code

    @property
    def moving(self) -> bool:
        """True where something can move at the bottom of a terminal, on stderr."""
        taken = self._one_line and sys.stdout.isatty()
        return not (self.settings.quiet or taken) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    @contextmanager
    def progress(self, title: str) -> Iterator[None]:
        """A line that shows that long work goes on, and for how long: on stderr, and only on a terminal."""
        if not self.moving:
            yield
            return
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            self._console = progress.console
            progress.add_task(printable(title), total=None)
            try:
                yield
            finally:
                self._console = None

    @contextmanager
    def bars(self, bars: Callable[[], Sequence[Bar]]) -> Iterator[None]:
        """Bars that are asked for again and again, by another thread: on stderr, and only on a terminal."""
        if not self.moving:
            yield
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        live = Live(console=console, get_renderable=lambda: _drawn(bars()), transient=True, redirect_stdout=False)
        live.start()
        self._console = console
        try:
            yield
        finally:
            self._console = None
            with suppress(OSError):  # the terminal is gone
                live.stop()

    def flush(self) -> None:
        """Make sure that the answer has left; a full disk or a closed pipe shows here."""
        sys.stdout.flush()

    def discard(self) -> None:
        """Nobody reads stdout any more: let what is left of it, and the interpreter's own last flush, go nowhere."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
        except (OSError, ValueError):
            pass

    # -- forms --------------------------------------------------------------------------------------

    def _talk(self, line: str) -> None:
        with suppress(OSError):  # a full disk or a closed pipe shows when the answer ends
            sys.stdout.flush()
        text = "\n".join(map(printable, line.split("\n")))
        with suppress(OSError):  # a terminal that is gone ends no work
            if self._console is not None:
                self._console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=sys.stderr, flush=True)

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            sys.stdout.write(line + "\n")

    def _document(self, value: Any) -> None:
        if self.settings.output == "json":
            import json

            indent = None if self._one_line else 2
            sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
        else:
            import yaml

            sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False))

    def _table(self, items: Sequence[Item], fields: Sequence[Field]) -> None:
        if sys.stdout.isatty():
            self._rich_table([[field.text(item) for field in fields] for item in items], fields)
        else:
            self._lines(aligned(items, fields))

    def _rich_table(self, rows: Sequence[Sequence[str]], fields: Sequence[Field]) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for field in fields:
            table.add_column(field.heading, justify="right" if field.right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(text, style=STATE_COLOURS.get(text, "")) for text in row))
        Console(highlight=False).print(table)


def _drawn(bars: Sequence[Bar]) -> Group:
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    parts: list[Table | Padding] = []
    for bar in bars:
        row = Table.grid(padding=(0, 2, 0, 0), expand=True)
        row.add_column(no_wrap=True, max_width=24)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        line = ProgressBar(1, bar.fraction or 0, pulse=bar.fraction is None, complete_style="cyan")
        row.add_row(Text(printable(bar.title), style="bold"), line, Text(printable(bar.words)))
        parts += [row, Padding(Text(printable(bar.below)), (0, 0, 0, 2))]
    return Group(*parts)
