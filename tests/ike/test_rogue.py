"""A peer that holds the keys and sends nonsense: no exception, an answer to every request, nothing leaked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.ike.constants import ExchangeType, NotifyType, PayloadType, ProtocolId
from sim.ike.events import ChildSaDown, IkeSaDown, MessageSent, Reason
from sim.ike.payloads import DeletePayload, NotifyPayload, Payload, UnknownPayload
from sim.ike.tasks.base import Job, Outgoing, Step, Task
from sim.ike.tasks.mobike import RespondMobike
from tests.ike.pair import Pair

KINDS = st.sampled_from([*range(33, 49), 55, 200])
RAW = st.builds(UnknownPayload, KINDS, st.binary(max_size=60), critical=st.booleans())
NOTIFIES = st.builds(NotifyPayload, st.sampled_from(list(NotifyType)), st.binary(max_size=70))
DELETES = st.builds(
    DeletePayload,
    st.integers(0, 4),
    st.lists(st.binary(min_size=4, max_size=4), max_size=3).map(tuple),
)
PAYLOADS = st.lists(st.one_of(RAW, NOTIFIES, DELETES), max_size=5)


class Say(Task):
    """Says what it is told, and believes every answer."""

    def __init__(self, payloads: list[Payload]) -> None:
        self._payloads = payloads

    def build(self, sa: object, out: Outgoing, now: int) -> None:
        out.add(*self._payloads)


def say(pair: Pair, exchange: ExchangeType, payloads: list[Payload]) -> None:
    sa = next(iter(pair.a.endpoint._ctx.sas.values()))
    sa.requests.submit(Job(exchange, [Say(payloads)]), pair.now)
    pair.a.pump(pair.now)
    pair.settle()


@settings(max_examples=150, deadline=None)
@given(
    exchange=st.sampled_from([ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA]), payloads=PAYLOADS
)
def test_every_authentic_request_is_answered(exchange: ExchangeType, payloads: list[Payload]) -> None:
    pair = Pair().establish()
    before = len(pair.b.all(MessageSent))
    say(pair, exchange, payloads)

    assert len(pair.b.all(MessageSent)) > before
    assert pair.b.all(MessageSent)[before].response


@settings(max_examples=100, deadline=None)
@given(payloads=PAYLOADS)
def test_an_authentic_response_of_nonsense_raises_nothing(payloads: list[Payload]) -> None:
    pair = Pair().establish()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RespondMobike, "build", lambda self, sa, out, now: out.add(*payloads) or Step.DONE)
        pair.a_addr = bytes((192, 0, 2, 99))
        pair.settle()

    assert [row.state for row in pair.a.endpoint.sas] in (["established"], ["closed"])


@settings(max_examples=100, deadline=None)
@given(payloads=PAYLOADS)
def test_ike_auth_of_nonsense_raises_nothing(payloads: list[Payload]) -> None:
    pair = Pair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sim.ike.tasks.auth.InitiateAuth.build", lambda s, sa, out, now: out.add(*payloads) or Step.DONE
        )
        pair.initiate()
        pair.settle()

    assert not pair.up


def test_a_critical_payload_under_the_keys_is_refused_and_the_sa_stays() -> None:
    """RFC 7296 2.5: the exchange fails, not the IKE SA."""
    pair = Pair().establish()
    say(pair, ExchangeType.INFORMATIONAL, [UnknownPayload(200, b"", critical=True)])

    assert pair.b.ladder[-1] == "HDR, SK {N(UNSUPPORTED_CRITICAL_PAYLOAD)}"
    assert pair.b.endpoint.sas[0].state == "established"


def test_malformed_contents_under_the_keys_end_the_ike_sa() -> None:
    """RFC 7296 2.21.3: INVALID_SYNTAX in the protected answer, and both sides are done."""
    pair = Pair().establish()
    say(pair, ExchangeType.INFORMATIONAL, [UnknownPayload(PayloadType.DELETE, b"\x03")])

    assert pair.b.ladder[-1] == "HDR, SK {N(INVALID_SYNTAX)}"
    assert pair.b.last(IkeSaDown).reason is Reason.INVALID_SYNTAX
    assert pair.b.last(ChildSaDown).reason is Reason.INVALID_SYNTAX
    assert pair.a.last(IkeSaDown).reason is Reason.INVALID_SYNTAX
    assert pair.a.endpoint.sas[0].state == pair.b.endpoint.sas[0].state == "closed"


def test_a_delete_with_the_wrong_protocol_deletes_nothing() -> None:
    pair = Pair().establish()
    spi = next(iter(pair.a.children)).to_bytes(4, "big")
    say(pair, ExchangeType.INFORMATIONAL, [DeletePayload(ProtocolId.AH, (spi,))])

    assert len(pair.b.children) == 1
    assert pair.b.ladder[-1] == "HDR, SK {}"


def test_the_initiator_of_an_ike_sa_ignores_an_update_of_addresses() -> None:
    """Only the initiator decides (RFC 4555 3.5)."""
    pair = Pair().establish()
    sa = next(iter(pair.b.endpoint._ctx.sas.values()))
    sa.requests.submit(
        Job(ExchangeType.INFORMATIONAL, [Say([NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES)])]), pair.now
    )
    pair.b.pump(pair.now)
    pair.settle()

    assert pair.a.ladder[-1] == "HDR, SK {}"
    assert pair.a.endpoint.sas[0].remote == pair.b.endpoint.sas[0].local
