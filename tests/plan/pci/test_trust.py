"""What is set of a virtual function before a VM starts with it."""

from __future__ import annotations

import json

import pytest

from kvmctl.plan.pci.trust import changes, risky, told

OFF, ON = {"trust": False, "spoof_check": True}, {"trust": True, "spoof_check": False}


@pytest.mark.parametrize(
    ("said", "now", "needed"),
    [
        ({}, OFF, {}),
        ({}, ON, OFF),
        ({}, {"trust": True, "spoof_check": True}, {"trust": False}),
        (ON, OFF, ON),
        (ON, ON, {}),
        ({"trust": True}, ON, {"spoof_check": True}),
        # A driver that does not tell of something can only be tried, and is where that is asked for.
        ({}, {}, {}),
        (OFF, {}, {}),
        ({"trust": True}, {"spoof_check": True}, {"trust": True}),
    ],
)
def test_no_vm_inherits_the_trust_of_another(
    said: dict[str, bool], now: dict[str, bool], needed: dict[str, bool]
) -> None:
    assert changes(said, now) == needed


def test_what_is_asked_for_and_not_safe() -> None:
    assert risky({}) == risky(OFF) == ()
    assert risky(ON) == ("trust: true", "spoof_check: false")


def test_what_ip_says() -> None:
    functions = [
        {"vf": 0, "address": "52:54:00:00:00:01", "spoofchk": True, "link_state": "auto", "trust": False},
        {"vf": 3, "spoofchk": "off", "trust": "on"},
        {"vf": 4, "trust": None, "query_rss_en": False},
    ]
    text = json.dumps([{}, {"ifname": "eth2", "vfinfo_list": functions}])
    assert told(text) == {0: OFF, 3: ON, 4: {}}
    assert told('[{"ifname": "eth2"}]') == told("[]") == {}
