"""What CPUs the guests of a host can have: what host-model stands for there, the other modes, and the named models.

Asked of libvirt's domain capabilities, which need a connection that may write. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from kvmctl.host import offers
from kvmctl.host.connection import connect, translated
from kvmctl.host.cpu import remote_flags
from kvmctl.host.facts import kvm_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from kvmctl.host.connection import Host
    from kvmctl.host.targets import Target
    from kvmctl.parallel import Work


@dataclass(frozen=True, kw_only=True)
class NamedCpu:
    """A model, and what is added to it or taken from it: `features` maps names to require or disable."""

    model: str
    vendor: str = ""
    features: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A CPU model that a spec can name. `usable` is None where the host does not tell.

    `stands_for` is the versioned model that it is a short name of. `blockers` are the features that the host lacks for
    it; None where libvirt does not tell, as older ones do not.
    """

    name: str
    usable: bool | None
    vendor: str = ""
    deprecated: bool = False
    stands_for: str | None = None
    blockers: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class GuestCpus:
    """The CPUs of guests of the host's own architecture, under the accelerator named."""

    arch: str
    accelerator: str
    host_model: NamedCpu | None = None
    host_passthrough: bool = False
    maximum: bool = False
    models: tuple[Model, ...] = ()


def guest_cpus(host: Host, capabilities: Element, accelerator: str | None = None) -> GuestCpus:
    """What guests can have under this accelerator, kvm or tcg; under the best one of the host if none is named."""
    chosen = accelerator or ("kvm" if kvm_of(host, capabilities)[0] else "tcg")
    found = offers.domain_capabilities(host, capabilities, chosen)
    return read(found, arch=capabilities.findtext("host/cpu/arch") or "", accelerator=chosen)


def read(domain_capabilities: Element | None, *, arch: str, accelerator: str) -> GuestCpus:
    """The same from the XML of domain capabilities; nothing is offered where there are none."""
    cpu = None if domain_capabilities is None else domain_capabilities.find("cpu")
    if cpu is None:
        return GuestCpus(arch=arch, accelerator=accelerator)
    modes = {mode.get("name"): mode for mode in cpu.findall("mode[@supported='yes']")}
    custom = modes.get("custom")
    return GuestCpus(
        arch=arch,
        accelerator=accelerator,
        host_model=named(modes["host-model"]) if "host-model" in modes else None,
        host_passthrough="host-passthrough" in modes,
        maximum="maximum" in modes,
        models=() if custom is None else _models(custom),
    )


def named(cpu: Element) -> NamedCpu | None:
    """The model and features of a <cpu>, or of a mode of domain capabilities; None where no model is named."""
    model = cpu.findtext("model")
    if not model:
        return None
    features = {
        feature.get("name", ""): feature.get("policy", "require")
        for feature in sorted(cpu.findall("feature"), key=lambda feature: feature.get("name", ""))
    }
    return NamedCpu(model=model, vendor=cpu.findtext("vendor") or "", features=features)


def describe(target: Target, work: Work) -> dict[str, Any]:
    """All that `host show --cpu` shows."""
    with connect(target, timeout=work.limit, work=work) as host:
        with translated(doing="ask the host what it offers", host=host.name):
            capabilities = ElementTree.fromstring(host.conn.getCapabilities())
        found = guest_cpus(host, capabilities)
        return {
            "name": target.name,
            "uri": target.uri,
            "arch": capabilities.findtext("host/cpu/arch"),
            "vendor": capabilities.findtext("host/cpu/vendor"),
            "model": capabilities.findtext("host/cpu/model"),
            "features": sorted(remote_flags(host, capabilities)),
            "accelerator": found.accelerator,
            "host_model": found.host_model and _as_dict(found.host_model),
            "host_passthrough": found.host_passthrough,
            "maximum": found.maximum,
            "models": [
                {
                    "name": model.name,
                    "usable": model.usable,
                    "vendor": model.vendor or None,
                    "deprecated": model.deprecated,
                    "stands_for": model.stands_for,
                    "blockers": None if model.blockers is None else list(model.blockers),
                }
                for model in found.models
            ],
        }


def _as_dict(cpu: NamedCpu) -> dict[str, Any]:
    return {"model": cpu.model, "vendor": cpu.vendor or None, "features": dict(cpu.features)}


def _models(custom: Element) -> tuple[Model, ...]:
    blockers = {
        blocked.get("model"): tuple(feature.get("name", "") for feature in blocked.findall("feature"))
        for blocked in custom.findall("blockers")
    }
    found = (
        Model(
            name=model.text or "",
            usable={"yes": True, "no": False}.get(model.get("usable", "")),
            vendor=(model.get("vendor") or "").replace("unknown", ""),
            deprecated=model.get("deprecated") == "yes",
            stands_for=model.get("canonical"),
            blockers=() if model.get("usable") == "yes" else blockers.get(model.text),
        )
        for model in custom.findall("model")
    )
    return tuple(sorted(found, key=lambda model: model.name.lower()))
