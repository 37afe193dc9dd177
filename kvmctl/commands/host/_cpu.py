"""How `host show --cpu` and `host show --baseline` look to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmctl.columns import Field, plain
from kvmctl.commands import _sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvmctl.columns import Item
    from kvmctl.output import Output

MODELS = (
    Field("name", "MODEL"),
    Field("usable"),
    Field("vendor"),
    Field("stands_for", "STANDS FOR"),
    Field("blockers", "THE HOST LACKS", show=lambda found: " ".join(found or ()) or "-"),
)
BY = {"kvm": "KVM", "tcg": "emulation (tcg)"}


def lines(output: Output, host: Item, wide: bool) -> Iterator[str]:
    """A host's CPU, and what guests can have of it."""
    yield output.painted(host["name"], "bold")
    yield from _sheet.named(output, _of_host(host, wide))
    yield ""
    yield from _sheet.named(output, _of_guests(host))
    if wide:
        yield from _sheet.table(output, host["models"], MODELS)


def spec_lines(found: Item) -> Iterator[str]:
    """A baseline as a spec writes it."""
    yield f"# the best CPU that guests can have on {', '.join(found['hosts'])}"
    yield "cpu:"
    yield f"  model: {found['model']}"
    if found["features"]:
        yield "  features:"
    for name, policy in found["features"].items():
        yield f"    {name}: {policy}"


def _of_host(host: Item, wide: bool) -> Iterator[tuple[str, str | None]]:
    yield "CPU", _sheet.listed((host["arch"], host["vendor"], host["model"]))
    count = len(host["features"])
    yield "features", " ".join(host["features"]) if wide else f"{count} (-o wide shows them)" if count else None


def _of_guests(host: Item) -> Iterator[tuple[str, str | None]]:
    models = host["models"]
    usable = [model["name"] for model in models if model["usable"] and not model["stands_for"]]
    short = [model["name"] for model in models if model["usable"] and model["stands_for"]]
    hidden = {model["stands_for"] for model in models}
    yield "guests", f"run by {BY[host['accelerator']]}"
    yield "host-model", host["host_model"] and _written(host["host_model"])
    yield "passthrough", plain(host["host_passthrough"])
    yield "maximum", plain(host["maximum"])
    yield "models", ", ".join([*short, *(name for name in usable if name not in hidden)]) or None
    rest = len(models) - sum(bool(model["usable"]) for model in models)
    yield "not usable", f"{rest} models (-o wide says what the host lacks for them)" if rest else None


def _written(cpu: Mapping[str, object]) -> str:
    """A model and its features in a line: EPYC +x2apic -vme."""
    features = cpu["features"]
    assert isinstance(features, dict)
    signs = {"disable": "-", "forbid": "-"}
    ordered = sorted(features.items(), key=lambda item: item[1] in signs)
    return " ".join([str(cpu["model"]), *(f"{signs.get(policy, '+')}{name}" for name, policy in ordered)])
