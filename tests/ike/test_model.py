"""Random commands at both ends, over a network that loses, repeats and reorders, against a model.

The model knows names only: which Child SAs there are once the network is calm. Where commands of one round
contradict each other, either outcome will do; whatever happens, both ends must agree and leave nothing over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.ike.config import Childless, ConnectionConfig, EndpointConfig
from sim.ike.events import IkeSaDown, IkeSaUp, Reason
from sim.ike.view import SaView
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire.address import pack_address
from sim.wire.selector import Selector
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET_A, NET_B, A, B, End, Pair, esp, ike

NAMES = ("net0", "net1", "net2")
ADDRESSES = {
    "a": ((A,), (pack_address("192.0.2.77"), A), (A, pack_address("192.0.2.78"))),
    "b": ((B,), (B, pack_address("198.51.100.77"))),
}
OK, LOST, TWICE, REORDERED, LATE = (0,), (), (0, 2 * NS_PER_MS), (15 * NS_PER_MS,), (5 * NS_PER_S,)
VERBS = (
    "initiate",
    "initiate all",
    "rekey",
    "expire",
    "delete child",
    "rekey ike",
    "delete ike",
    "reauthenticate",
    "liveness",
    "move",
)
KINDS: dict[str, dict[str, Any]] = {
    "a window of 1": {},
    "a window of 4": {"window": 4},
    "perfect forward secrecy": {},
    "additional key exchanges": {"window": 4},
    "make before break, childless": {"make_before_break": True, "childless": Childless.PREFER},
    "no MOBIKE": {"mobike": False},
}
SUITES = {
    "perfect forward secrecy": (ike("aes128gcm16-prfsha256-x25519"), esp("aes128gcm16-x25519")),
    "additional key exchanges": (
        ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768"),
        esp("aes128gcm16-x25519-ke1_mlkem768"),
    ),
}
_ENDS_IKE = frozenset({"delete ike", "reauthenticate"})


@dataclass(frozen=True)
class Command:
    side: str
    verb: str
    which: int
    wait_ms: int


@dataclass(frozen=True)
class Round:
    """What happens before the network is calm again; fates are those of the next datagrams of each side."""

    commands: tuple[Command, ...]
    a: tuple[tuple[int, ...], ...] = ()
    b: tuple[tuple[int, ...], ...] = ()


def rounds(losses: int, length: int) -> st.SearchStrategy[list[Round]]:
    command = st.builds(
        Command,
        side=st.sampled_from("ab"),
        verb=st.sampled_from(VERBS),
        which=st.integers(0, 2),
        wait_ms=st.sampled_from((0, 0, 5, 10, 15, 25)),
    )
    fates = st.lists(st.sampled_from((OK, OK, LOST, TWICE, REORDERED, LATE)), max_size=length)
    one = st.builds(
        lambda commands, a, b: _with_losses(losses, Round(tuple(commands), tuple(a), tuple(b))),
        st.lists(command, min_size=1, max_size=3),
        fates,
        fates,
    )
    return st.lists(one, min_size=1, max_size=4)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200)
@given(script=rounds(losses=3, length=6))
def test_what_should_exist_exists_whatever_is_lost(kind: str, script: list[Round]) -> None:
    """Three losses a round are too few for any exchange to be given up, of peers that are patient."""
    pair = pair_of(kind)
    for each in script:
        before = children(pair)
        known = len(pair.a.events), len(pair.b.events)
        play(pair, each)
        pair.calm()
        check_calm(pair)
        check_model(each.commands, before, children(pair))
        assert not lost(pair.a, known[0])
        assert not lost(pair.b, known[1])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(script=rounds(losses=40, length=20))
def test_both_ends_agree_after_any_loss_once_each_has_asked_for_the_other(
    kind: str, script: list[Round]
) -> None:
    """An exchange may be given up at one end alone: the next liveness check finds that out (RFC 7296 2.4)."""
    pair = pair_of(kind)
    for each in script:
        play(pair, each)
        pair.calm()
        pair.fates = {"a": [], "b": []}
        for end in (pair.a, pair.b):
            for view in established(end):
                end.endpoint.check_liveness(view.ike_id, pair.now)
            end.pump(pair.now)
        pair.calm()
        check_calm(pair)


# -- the model -------------------------------------------------------------------------------------------


def check_model(commands: Iterable[Command], before: Counter[str], after: Counter[str]) -> None:
    """Which Child SAs may be there after one round. What expires while it is rekeyed may have a successor."""
    made = {name for command in commands for name in _made(command)}
    deleted, expired, rekeyed = (
        {NAMES[c.which] for c in commands if c.verb == verb} for verb in ("delete child", "expire", "rekey")
    )
    unmade = deleted | expired
    ends = [c for c in commands if c.verb in _ENDS_IKE]
    for name in NAMES:
        if ends:
            # A new IKE SA may come with what an old one had; nothing that nobody wanted may come.
            assert name in before or name in made or not after[name]
            if name not in made and not any(c.verb == "reauthenticate" for c in ends):
                assert not after[name]
        elif name in made and name not in unmade:
            assert after[name]
        elif name in deleted - made or name in expired - made - rekeyed:
            assert not after[name]
        elif name not in made | unmade:
            assert after[name] == before[name]


def _made(command: Command) -> Iterable[str]:
    return {"initiate": NAMES[command.which : command.which + 1], "initiate all": NAMES}.get(command.verb, ())


# -- helpers ---------------------------------------------------------------------------------------------


def pair_of(kind: str) -> Pair:
    """Both name all of the other's addresses, the usual one first."""
    theirs = {side: tuple(dict.fromkeys(a for choice in ADDRESSES[side] for a in choice)) for side in "ab"}
    patient = EndpointConfig(half_open_timeout=300 * NS_PER_S)
    return Pair(
        _three(CONNECTION_A, theirs["b"], 1, kind),
        _three(CONNECTION_B, theirs["a"], 2, kind),
        a_config=patient,
        b_config=patient,
    )


def _three(base: ConnectionConfig, remote: tuple[bytes, ...], ours: int, kind: str) -> ConnectionConfig:
    child = NET_A if ours == 1 else NET_B
    proposals, esp_proposals = SUITES.get(kind, (base.proposals, child.esp_proposals))
    children = tuple(
        replace(
            child,
            name=name,
            esp_proposals=esp_proposals,
            local_ts=(Selector.from_prefix(f"10.{ours}.{index}.0/24"),),
            remote_ts=(Selector.from_prefix(f"10.{3 - ours}.{index}.0/24"),),
        )
        for index, name in enumerate(NAMES)
    )
    return replace(base, children=children, remote_addrs=remote, proposals=proposals, **KINDS[kind])


def play(pair: Pair, each: Round) -> None:
    pair.fates["a"], pair.fates["b"] = list(each.a), list(each.b)
    for command in each.commands:
        end = getattr(pair, command.side)
        give(end, command, pair.now)
        end.pump(pair.now)
        pair.drive(command.wait_ms * NS_PER_MS)


def give(end: End, command: Command, now: int) -> None:
    endpoint, verb = end.endpoint, command.verb
    spis = [up.spi_in for up in end.children.values() if up.child == NAMES[command.which]]
    sas = [view.ike_id for view in established(end)]
    if verb.startswith("initiate"):
        endpoint.initiate("rw", NAMES[command.which] if verb == "initiate" else None, now)
    elif verb == "move":
        choices = ADDRESSES[end.side]
        end.addresses = list(choices[command.which % len(choices)])
        endpoint.addresses_changed(end.addresses, now)
    else:
        acts: dict[str, tuple[list[int], Callable[[int], None]]] = {
            "rekey": (spis[-1:], lambda spi: endpoint.rekey(spi, now)),
            "expire": (spis, lambda spi: endpoint.expire(spi, hard=True, now=now)),
            "delete child": (spis, lambda spi: endpoint.delete_child(spi, now)),
            "rekey ike": (sas, lambda ike_id: endpoint.rekey_ike(ike_id, now)),
            "delete ike": (sas, lambda ike_id: endpoint.delete(ike_id, now)),
            "reauthenticate": (sas, lambda ike_id: endpoint.reauthenticate(ike_id, now)),
            "liveness": (sas, lambda ike_id: endpoint.check_liveness(ike_id, now)),
        }
        which, act = acts[verb]
        for number in which:
            act(number)


def lost(end: End, known: int) -> list[IkeSaDown]:
    """The IKE SAs that were up and given up since so many events were known."""
    up = {event.ike_id for event in end.all(IkeSaUp)}
    ends = [event for _, event in end.events[known:] if isinstance(event, IkeSaDown)]
    return [event for event in ends if event.reason is Reason.TIMEOUT and event.ike_id in up]


def established(end: End) -> list[SaView]:
    return [sa for sa in end.endpoint.sas if sa.state == "established"]


def children(pair: Pair) -> Counter[str]:
    return Counter(child.child for view in established(pair.a) for child in view.children)


def _with_losses(limit: int, one: Round) -> Round:
    """The round with no more than `limit` datagrams lost."""
    left, sides = limit, []
    for fates in (one.a, one.b):
        kept = []
        for fate in fates:
            left -= fate == LOST
            kept.append(fate if fate != LOST or left >= 0 else OK)
        sides.append(tuple(kept))
    return replace(one, a=sides[0], b=sides[1])
