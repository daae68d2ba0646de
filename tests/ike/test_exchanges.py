"""The table of what is legal (RFC 7296 1.2 to 1.5)."""

from __future__ import annotations

import pytest

from sim.ike.constants import ExchangeType, NotifyType, PayloadType
from sim.ike.errors import PeerError, Scope, reason_of
from sim.ike.events import Reason
from sim.ike.exchanges import NEXT_STATES, State, check_request, check_response
from sim.ike.message import NO_SPI, Header, Message
from sim.ike.notation import notation
from sim.ike.payloads import (
    AuthPayload,
    DeletePayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    UnknownPayload,
    shape_of,
)

SA, KE, NONCE = SaPayload(()), KePayload(31, bytes(32)), NoncePayload(bytes(32))
ID_I, ID_R, AUTH = (
    IdPayload(PayloadType.ID_I, 1, b"i"),
    IdPayload(PayloadType.ID_R, 1, b"r"),
    AuthPayload(2, b""),
)
TS_I, TS_R = TsPayload(PayloadType.TS_I, ()), TsPayload(PayloadType.TS_R, ())
COOKIE = NotifyPayload(NotifyType.COOKIE, b"c")
ERROR = NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)
EXTRA = UnknownPayload(99, b"")
INIT, AUTHENTICATE = ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH
CREATE, INFORM = ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL


@pytest.mark.parametrize(
    ("exchange", "payloads"),
    [
        (INIT, [SA, KE, NONCE]),
        (INIT, [COOKIE, NONCE, EXTRA, KE, SA]),
        (AUTHENTICATE, [ID_I, AUTH, SA, TS_I, TS_R]),
        (AUTHENTICATE, [ID_I, ID_R, AUTH]),
        (AUTHENTICATE, [ID_I, SA, TS_I, TS_R]),
        (CREATE, [SA, NONCE, TS_I, TS_R]),
        (CREATE, [SA, NONCE, KE]),
        (INFORM, []),
        (INFORM, [DeletePayload(1), ERROR]),
    ],
)
def test_legal_requests(exchange: ExchangeType, payloads: list[Payload]) -> None:
    check_request(message(exchange, payloads))


@pytest.mark.parametrize(
    ("exchange", "payloads"),
    [
        (INIT, [SA, KE]),
        (INIT, [SA, KE, NONCE, NONCE]),
        (INIT, []),
        (AUTHENTICATE, [AUTH, SA, TS_I, TS_R]),
        (AUTHENTICATE, [ID_I, ID_I, AUTH]),
        (AUTHENTICATE, [ID_I, AUTH, SA, TS_I]),
        (AUTHENTICATE, [ID_I, AUTH, TS_I, TS_R]),
        (CREATE, [SA, NONCE, TS_R]),
        (CREATE, [SA, NONCE, KE, KE]),
        (CREATE, [NONCE, TS_I, TS_R]),
    ],
)
def test_illegal_requests_are_invalid_syntax(exchange: ExchangeType, payloads: list[Payload]) -> None:
    with pytest.raises(PeerError) as caught:
        check_request(message(exchange, payloads))
    assert (caught.value.notify, caught.value.scope) == (NotifyType.INVALID_SYNTAX, Scope.IKE_SA)


@pytest.mark.parametrize("exchange", [INIT, AUTHENTICATE, CREATE])
def test_an_error_stands_for_what_a_response_requires(exchange: ExchangeType) -> None:
    check_response(message(exchange, [ERROR]))
    with pytest.raises(PeerError):
        check_response(message(exchange, []))


def test_a_cookie_stands_for_it_only_in_the_first_exchange() -> None:
    check_response(message(INIT, [COOKIE]))
    with pytest.raises(PeerError):
        check_response(message(AUTHENTICATE, [COOKIE]))


def test_c22_a_critical_payload_that_is_unknown_is_named() -> None:
    with pytest.raises(PeerError) as caught:
        check_request(message(INFORM, [UnknownPayload(99, b"", critical=True)]))
    assert (caught.value.notify, caught.value.data) == (NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"c")


def test_nothing_leaves_a_closed_sa() -> None:
    assert NEXT_STATES[State.CLOSED] == set()
    assert set(NEXT_STATES) == set(State)


def test_reasons_are_named_as_notifies() -> None:
    assert reason_of(NotifyType.TS_UNACCEPTABLE) is Reason.TS_UNACCEPTABLE
    assert reason_of(NotifyType.INVALID_GROUP_ID) is Reason.PEER_ERROR
    assert reason_of(12345) is Reason.PEER_ERROR


def test_messages_in_the_notation_of_the_rfc() -> None:
    strange = NotifyPayload(40000)
    init, auth = shape_of([SA, KE, NONCE]), shape_of([ID_R, AUTH, SA, TS_I, TS_R])
    create = shape_of([SA, NONCE, strange, EXTRA])
    assert notation(init, INIT, False) == "HDR, SAi1, KEi, Ni"
    assert notation(auth, AUTHENTICATE, True) == "HDR, SK {IDr, AUTH, SAr2, TSi, TSr}"
    assert notation(create, CREATE, False) == "HDR, SK {SAi, Ni, N(40000), payload 99}"
    assert notation(shape_of([]), INFORM, True) == "HDR, SK {}"


def message(exchange: ExchangeType, payloads: list[Payload]) -> Message:
    return Message(Header(bytes(8), NO_SPI, exchange, 0, 0), tuple(payloads), b"")
