"""Every exchange, from either side, with every other one from the other side, and one message in trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from sim.units import NS_PER_MS, NS_PER_S
from sim.wire.address import pack_address
from tests.ike.calm import check_calm
from tests.ike.packets import PacketPair
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET2_A, NET2_B, NET_A, NET_B, A, End, Pair

A2, B2 = pack_address("192.0.2.77"), pack_address("198.51.100.77")
SIDES = ("a", "b")
SET_UP = 2
"""The messages of either side before the commands."""
FATES: dict[str, tuple[int, ...]] = {
    "lost": (),
    "duplicated": (0, 3 * NS_PER_MS),
    "repeated later": (0, 500 * NS_PER_MS),
    "late": (5 * NS_PER_S,),
    "overtaken": (15 * NS_PER_MS,),
}
LOSSLESS = frozenset({"", "create", "rekey child", "rekey ike", "liveness"})
"""The commands that cost no packet, whatever happens to their messages."""
Held = tuple[int, list[str]]
"""The number of IKE SAs, and the names of the Child SAs."""
Command = Callable[[Pair, End], None]


def create(pair: Pair, end: End) -> None:
    end.endpoint.initiate("rw", "net2", pair.now)


def rekey_child(pair: Pair, end: End) -> None:
    end.endpoint.rekey(next(iter(end.children)), pair.now)


def delete_child(pair: Pair, end: End) -> None:
    end.endpoint.delete_child(next(iter(end.children)), pair.now)


def rekey_ike(pair: Pair, end: End) -> None:
    end.endpoint.rekey_ike(ike_id(end), pair.now)


def delete_ike(pair: Pair, end: End) -> None:
    end.endpoint.delete("rw", pair.now)


def liveness(pair: Pair, end: End) -> None:
    end.endpoint.check_liveness(ike_id(end), pair.now)


def move(pair: Pair, end: End) -> None:
    end.addresses = [A2, A] if end is pair.a else [B2]
    end.endpoint.addresses_changed(end.addresses, pair.now)


def reauthenticate(pair: Pair, end: End) -> None:
    end.endpoint.reauthenticate(ike_id(end), pair.now)


COMMANDS: dict[str, Command] = {
    "create": create,
    "rekey child": rekey_child,
    "delete child": delete_child,
    "rekey ike": rekey_ike,
    "delete ike": delete_ike,
    "liveness": liveness,
    "move": move,
    "reauthenticate": reauthenticate,
}


def ike_id(end: End) -> int:
    return end.endpoint.sas[0].ike_id


@pytest.mark.parametrize("theirs", ["", *COMMANDS])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("ours", COMMANDS)
def test_whatever_happens_to_a_message_both_ends_agree(ours: str, side: str, theirs: str) -> None:
    """One command, perhaps another one from the other side, and each of their messages in each trouble."""
    commands = (ours, theirs) if side == "a" else (theirs, ours)
    calm = trial(commands)
    check(calm, commands)
    for troubled in SIDES:
        messages = sum(sent.side == troubled for sent in calm.sent) - SET_UP
        for position, fate in product(range(messages), FATES):
            try:
                check(trial(commands, troubled, position, fate), commands)
            except AssertionError as error:
                error.add_note(f"{commands}: message {position} of {troubled} is {fate}")
                raise


def check(pair: PacketPair, commands: tuple[str, str]) -> None:
    check_calm(pair)
    assert held(pair) in outcomes(*commands)
    assert not pair.lost_packets or not LOSSLESS.issuperset(commands)


def trial(commands: tuple[str, str], troubled: str = "", position: int = 0, fate: str = "") -> PacketPair:
    """What becomes of the commands of `a` and of `b`."""
    pair = fresh()
    if fate:
        pair.fates[troubled] = [(0,)] * position + [FATES[fate]]
    for name, end in zip(commands, (pair.a, pair.b), strict=True):
        if name:
            COMMANDS[name](pair, end)
            end.pump(pair.now)
    pair.calm()
    return pair


def outcomes(a: str, b: str) -> list[Held]:
    """The IKE SAs and the Child SAs that may be there at the end."""
    both = (a, b)
    if b == "move" and a == "reauthenticate":
        return [(0, [])]  # the responder has left the only address at which it could be called again
    if "delete ike" in both:
        return [(1, ["net"])] if "reauthenticate" in both else [(0, [])]
    if a == b == "reauthenticate":
        return [(1, ["net"]), (2, ["net", "net"])]
    if "reauthenticate" in both:
        return [(1, ["net"])]
    children = [] if "delete child" in both else ["net"]
    return [(1, children + ["net2"] * both.count("create"))]


def held(pair: Pair) -> Held:
    views = [sa for sa in pair.a.endpoint.sas if sa.state == "established"]
    return len(views), sorted(child.child for sa in views for child in sa.children)


def fresh() -> PacketPair:
    pair = PacketPair(
        replace(CONNECTION_A, children=(NET_A, NET2_A)),
        replace(CONNECTION_B, children=(NET_B, NET2_B), remote_addrs=(A,)),
    )
    pair.establish()
    pair.calm()
    return pair
