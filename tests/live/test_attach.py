"""`--attach`: what is attached where, and one sentence for everything that cannot be."""

from __future__ import annotations

import pytest

from sim.live.attach import Attachment, parse_attachments
from sim.live.errors import LiveError
from sim.scenario.load import load_text
from tests.scenario.base import TEXT

SCENARIO = load_text(TEXT)


def test_an_interface_may_be_left_out_where_there_is_one() -> None:
    assert parse_attachments(["bob=tun0@b"], SCENARIO) == [Attachment("bob", "eth", "tun0", "b")]
    assert parse_attachments(["bob:eth=tun0"], SCENARIO) == [Attachment("bob", "eth", "tun0", None)]


def test_every_interface_has_a_device_of_its_own() -> None:
    found = parse_attachments(["alice:wlan=w@a", "alice:lte=l@a", "bob=t@b"], SCENARIO)
    assert [str(one) for one in found] == [
        "alice:wlan is w in namespace a", "alice:lte is l in namespace a", "bob:eth is t in namespace b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ([], "nothing is attached"),
        (["bob"], "write NODE=TUN@NETNS"),
        (["bob=t@"], "write NODE=TUN@NETNS"),
        (["bob=t@../x"], "write NODE=TUN@NETNS"),
        (["bo=t"], "there is no node bo; known: alice, home"),
        (["home=t"], "home is a nat"),
        (["alice=t"], "alice has the interfaces wlan, lte: name each"),
        (["alice:wlan=t"], "attach its interface lte as well"),
        (["bob:lan=t"], "bob has no interface lan; known: eth"),
        (["bob=t", "bob=u"], "bob:eth is attached twice"),
        (["alice:wlan=t", "alice:lte=t"], "t is attached twice"),
        (["alice:wlan=t@a", "alice:lte=u@b"], "must be in one namespace"),
        (["alice:wlan=t@a", "alice:lte=u@a", "bob=v@a"], "alice and bob are both in the namespace a"),
    ],
)
def test_what_cannot_be_is_one_sentence(texts: list[str], complaint: str) -> None:
    with pytest.raises(LiveError, match=complaint):
        parse_attachments(texts, SCENARIO)


def test_a_firewall_is_no_place_for_a_real_host() -> None:
    text = TEXT.replace("home: {kind: nat,", "home: {kind: firewall,")
    assert text != TEXT
    with pytest.raises(LiveError, match="home is a firewall"):
        parse_attachments(["home=t"], load_text(text))
