"""The small devices: graphics, video, input, serial console, random numbers, balloon, TPM, SCSI controllers."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from re import fullmatch
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from kvmctl.spec.declare import beside, group, scalar, through
from kvmctl.spec.kinds import BOOLEAN, ON_OFF, PATH, Kind, boolean, choice, integer
from kvmctl.spec.lenses import Marked, Scalar, prune

AGENT = "org.qemu.guest_agent.0"
VIDEO = choice("virtio", "vga", "qxl", "bochs", "ramfb", "cirrus", "none", "vmvga", "gop", "xen", "vbox")


def _address(value: str) -> str:
    """An IP address, or the name of a host."""
    try:
        return str(ip_address(value))
    except ValueError:
        if value.replace(".", "").isdecimal() or not fullmatch(r"[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?", value):
            raise ValueError(f"'{value[:80]}' is not an IP address or host name; write for example 127.0.0.1") from None
    return value


LISTEN = Kind(what="an IP address or host name", schema={"type": "string"}, parse=_address, load=_address)
PORT = integer(1, 65535)
VIRTIO = choice("virtio", "virtio-transitional", "virtio-non-transitional")
TPM = choice("tpm-crb", "tpm-tis", "tpm-spapr", "spapr-tpm-proxy")
SCSI = choice(
    *("virtio-scsi", "virtio-transitional", "virtio-non-transitional", "lsilogic", "lsisas1068", "lsisas1078"),
    *("buslogic", "vmpvscsi", "ibmvscsi", "ncr53c90", "dc390", "am53c974", "auto"),
)


class _Port(Scalar):
    """libvirt leaves a port alone that stands beside autoport='yes', and gives spice no port at all without either."""

    def get(self, element: Element) -> Any:
        return None if element.get("autoport") == "yes" else super().get(element)

    def put(self, element: Element, value: Any) -> None:
        super().put(element, value)
        if value is None:
            element.set("autoport", "yes")
        else:
            element.attrib.pop("autoport", None)


@group
class Graphics:
    """A screen that is reached over the network."""

    SHORTHAND: ClassVar = "type"
    CONSTANTS: ClassVar = {"autoport": "yes"}

    type: str | None = scalar("@type", choice("vnc", "spice", "none"), "The protocol; none: no screen.", example="vnc")
    listen: str | None = scalar("@listen", LISTEN, "Address of the host to listen on; 127.0.0.1 if left out.")
    port: int | None = through(_Port("@port", PORT), PORT, "Port; a free one from 5900 if left out.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.type:
            yield "", "type is missing", "write type: vnc"


def is_known_screen(element: Element) -> bool:
    """Screens with a port; those without are reached through a socket, or not at all."""
    has_port = element.get("autoport") == "yes" or (element.get("port") or "").isdecimal()
    return has_port and element.get("type") in ("vnc", "spice")


@group
class Video:
    """The graphics card the guest sees."""

    SHORTHAND: ClassVar = "model"

    model: str | None = scalar("model/@type", VIDEO, "The model.", example="virtio")


@group
class Input:
    """A pointer or keyboard."""

    SHORTHAND: ClassVar = "type"

    type: str | None = scalar("@type", choice("tablet", "mouse", "keyboard"), "The kind of device.", example="tablet")
    bus: str | None = scalar("@bus", choice("usb", "virtio", "ps2"), "How the guest sees it.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        if not self.type:
            yield "", "type is missing", "write type: tablet"


@group
class Serial:
    """A serial port; `kvmctl console` connects to the first."""

    CONSTANTS: ClassVar = {"type": "pty"}
    SHORTHAND: ClassVar = "enabled"

    enabled: bool | None = beside(BOOLEAN, "false: no serial port. Left out, a VM has one.")
    log: str | None = scalar("log/@file", PATH, "File on the host that gets all the guest prints.")
    port: int | None = scalar("target/@port", integer(0, 31), "Number of the port.")


@group
class Rng:
    """Random numbers from the host."""

    SHORTHAND: ClassVar = "enabled"

    enabled: bool | None = beside(BOOLEAN, "false: none. Left out, a VM has one.")
    model: str | None = scalar("@model", VIRTIO, "virtio if left out.")
    source: str | None = through(
        Marked("backend", {"model": "random"}, Scalar(".", PATH)), PATH, "Device of the host; /dev/urandom if left out."
    )


@group
class Balloon:
    """The device by which memory is taken from a running guest and given back."""

    SHORTHAND: ClassVar = "enabled"

    enabled: bool | None = scalar("@model", boolean("virtio", "none"), "false: none. Left out, a VM has one.")
    autodeflate: bool | None = scalar("@autodeflate", ON_OFF, "Give memory back to a guest that runs out of it.")
    stats_period: int | None = scalar("stats/@period", integer(0, 3600), "Seconds between the guest's memory reports.")

    def check(self) -> Iterator[tuple[str, str, str]]:
        for name in ("autodeflate", "stats_period"):
            if self.enabled is False and getattr(self, name) is not None:
                yield name, f"{name} is for a balloon, and there is none", "leave it out"


@group
class Tpm:
    """A TPM, emulated by swtpm on the host."""

    SHORTHAND: ClassVar = "enabled"

    enabled: bool | None = beside(BOOLEAN, "true: a TPM 2.0.")
    model: str | None = scalar("@model", TPM, "tpm-crb if left out.")
    version: str | None = through(
        Marked("backend", {"type": "emulator"}, Scalar("@version", choice("1.2", "2.0"))),
        choice("1.2", "2.0"),
        "2.0 if left out.",
    )


@group
class Controller:
    """A SCSI controller; a disk with bus: scsi brings one along."""

    CONSTANTS: ClassVar = {"type": "scsi"}

    model: str | None = scalar("@model", SCSI, "The controller.", example="virtio-scsi")
    index: int | None = scalar("@index", integer(0, 255), "Number of the controller.")


def is_random(element: Element) -> bool:
    """Fed from a device of the host, /dev/urandom for example."""
    return element.find("backend[@model='random']") is not None


def is_emulated(element: Element) -> bool:
    """Made by swtpm, not passed through."""
    return element.find("backend[@type='emulator']") is not None


def is_scsi(element: Element) -> bool:
    return element.get("type") == "scsi"


def is_pty(element: Element) -> bool:
    return element.get("type") == "pty"


class Agent:
    """The lens of `agent: true`: the channel of the QEMU guest agent."""

    def get(self, element: Element) -> bool | None:
        return True if self._find(element) is not None else None

    def put(self, element: Element, value: bool | None) -> None:
        old = self._find(element)
        if value:
            channel = SubElement(_devices(element), "channel", type="unix")
            SubElement(channel, "target", type="virtio", name=AGENT)
        elif old is not None:
            _devices(element).remove(old)
            prune(element, ("devices",))

    @staticmethod
    def _find(element: Element) -> Element | None:
        channels = element.findall("devices/channel[@type='unix']")
        return next((node for node in channels if node.find(f"target[@name='{AGENT}']") is not None), None)


def _devices(element: Element) -> Element:
    found = element.find("devices")
    return SubElement(element, "devices") if found is None else found
