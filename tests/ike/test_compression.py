"""IPComp is agreed on with a Child SA (RFC 7296 2.22)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sim.ike import compression
from sim.ike.compression import Cpis
from sim.ike.config import ChildConfig
from sim.ike.constants import NotifyType
from sim.ike.events import ChildFailed, ChildSaUp, Reason
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks import child_respond
from sim.wire.esp import Mode
from sim.wire.ipcomp import NEGOTIATED
from tests.ike.calm import check_calm
from tests.ike.meeting import sides
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET2_A, NET2_B, NET_A, NET_B, A, End, Pair, esp
from tests.ike.test_child_notifies import ask_for
from tests.ike.test_rekey_child import rekey

IPCOMP = "N(IPCOMP_SUPPORTED)"


@pytest.mark.parametrize("exchange", ["IKE_AUTH", "CREATE_CHILD_SA"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c55_both_ends_name_a_cpi_and_use_the_others(side: str, exchange: str) -> None:
    """a -> b {N(IPCOMP_SUPPORTED), SA, ...}; a <- b {N(IPCOMP_SUPPORTED), SA, ...}."""
    pair = compressing()
    asks, answers = sides(pair, side)
    initiate(pair, asks, "net")
    if exchange == "CREATE_CHILD_SA":
        initiate(pair, asks, "net2")
    check_calm(pair.calm())

    assert IPCOMP in asks.ladder[-1]
    assert IPCOMP in answers.ladder[-1]
    ups = asks.all(ChildSaUp), answers.all(ChildSaUp)
    for ours, theirs in zip(*ups, strict=True):
        assert (ours.cpi_in, ours.cpi_out) == (theirs.cpi_out, theirs.cpi_in)
        assert {ours.cpi_in, ours.cpi_out} <= set(NEGOTIATED)
    own = [up.cpi_in for up in ups[0]]
    assert len(set(own)) == len(own), "each Child SA has a CPI of its own"


@pytest.mark.parametrize("who", ["a", "b"])
def test_c55_one_end_that_does_not_want_it_is_enough(who: str) -> None:
    """A responder answers an offer only if it is configured, and never without an offer."""
    pair = compressing(a=who == "a", b=who == "b")
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())

    assert (IPCOMP in pair.a.ladder[-1]) is (who == "a")
    assert IPCOMP not in pair.b.ladder[-1]
    assert {pair.a.last(ChildSaUp).cpi_in, pair.b.last(ChildSaUp).cpi_out} == {0}


@pytest.mark.parametrize("suite", ["aes128gcm16", "aes128gcm16-x25519"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_c55_a_successor_has_new_cpis(side: str, suite: str) -> None:
    pair = compressing(suite=suite).establish()
    old = pair.a.last(ChildSaUp)
    rekey(pair, getattr(pair, side))
    check_calm(pair.calm())

    new = pair.a.last(ChildSaUp)
    assert new.replaces == old.spi_in
    assert 0 not in (new.cpi_in, new.cpi_out)
    assert {new.cpi_in, new.cpi_out}.isdisjoint({old.cpi_in, old.cpi_out})


def test_c55_transport_mode_compresses_as_well() -> None:
    transport = replace(NET_A, mode=Mode.TRANSPORT, local_ts=(), remote_ts=(), ipcomp=True)
    pair = Pair(
        replace(CONNECTION_A, children=(transport,)), replace(CONNECTION_B, children=(transport,))
    ).establish()
    up = pair.a.last(ChildSaUp)
    assert (up.mode, up.cpi_out) == (Mode.TRANSPORT, pair.b.last(ChildSaUp).cpi_in)
    assert up.cpi_out


@pytest.mark.parametrize(
    "data",
    [b"", b"\x12\x34", b"\x12\x34\x03", b"\x00\xff\x02", b"\xf0\x00\x02", b"\x00\x00\x02", b"\x00\x03\x02"],
    ids=["empty", "cut off", "LZS", "reserved", "private", "zero", "of another method"],
)
def test_c55_an_offer_that_cannot_be_used_is_declined(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other methods, and CPIs that nobody may choose (RFC 3173 3.3)."""
    monkeypatch.setattr(compression, "notify", lambda cpi: NotifyPayload(NotifyType.IPCOMP_SUPPORTED, data))
    pair = compressing()
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())

    assert IPCOMP in pair.a.ladder[-1]
    assert IPCOMP not in pair.b.ladder[-1]
    assert pair.a.last(ChildSaUp).cpi_out == 0


def test_c55_of_several_offers_deflate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = compressing()
    ask_for(NotifyPayload(NotifyType.IPCOMP_SUPPORTED, b"\x12\x34\x03"), monkeypatch)  # LZS comes first
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())

    assert pair.a.last(ChildSaUp).cpi_in == pair.b.last(ChildSaUp).cpi_out != 0


@pytest.mark.parametrize("data", [b"\x12\x34\x02", b"\x12\x34\x03"], ids=["DEFLATE", "LZS"])
def test_c55_an_answer_that_was_not_asked_for_is_wrong(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The initiator deletes what the responder has installed."""
    build = child_respond.RespondChild.build

    def built(self: child_respond.RespondChild, sa: object, out: object, now: int) -> None:
        out.add(NotifyPayload(NotifyType.IPCOMP_SUPPORTED, data))  # type: ignore[attr-defined]
        build(self, sa, out, now)  # type: ignore[arg-type]

    monkeypatch.setattr(child_respond.RespondChild, "build", built)
    pair = compressing(a=data.endswith(b"\x03"), b=False)
    initiate(pair, pair.a, "net")
    pair.calm()

    failed = pair.a.last(ChildFailed)
    assert failed.reason is Reason.INVALID_SYNTAX
    assert "it chose an IPComp that was not offered" in failed.text
    assert not pair.a.children
    assert not pair.b.children


def test_c55_a_refused_child_gives_its_cpi_back() -> None:
    other = replace(NET_B, esp_proposals=esp("aes256gcm16"), ipcomp=True)
    pair = Pair(
        replace(CONNECTION_A, children=(replace(NET_A, ipcomp=True),)),
        replace(CONNECTION_B, children=(other,)),
    )
    initiate(pair, pair.a, "net")
    check_calm(pair.calm())
    assert pair.a.last(ChildFailed).reason is Reason.NO_PROPOSAL_CHOSEN


def test_cpis_are_never_twice_in_use_and_run_out_early() -> None:
    """Half of them stay free, so that finding one takes two draws on average."""
    cpis, rand = Cpis(), random.Random(1).randbytes
    taken = [cpis.take(spi, rand) for spi in range(1, len(NEGOTIATED) // 2 + 1)]
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(NEGOTIATED)
    assert cpis.take(0xFFFF_FFFF, rand) == 0
    cpis.release(1)
    assert cpis.take(0xFFFF_FFFF, rand) != 0


# -- helpers ---------------------------------------------------------------------------------------------


def compressing(*, a: bool = True, b: bool = True, suite: str = "aes128gcm16") -> Pair:
    def own(config: ChildConfig, wanted: bool) -> ChildConfig:
        return replace(config, ipcomp=wanted, esp_proposals=esp(suite))

    return Pair(
        replace(CONNECTION_A, children=(own(NET_A, a), own(NET2_A, a))),
        replace(CONNECTION_B, children=(own(NET_B, b), own(NET2_B, b)), remote_addrs=(A,)),
    )


def initiate(pair: Pair, end: End, child: str) -> None:
    pair.command(end, lambda endpoint: endpoint.initiate("rw", child, pair.now))
    pair.settle()
