"""Hypothesis strategies for all that an IKE message can hold, reserved bits and unknown types included."""

from __future__ import annotations

from hypothesis import strategies as st

from sim.ike import payloads as p
from sim.ike.constants import PayloadType
from sim.ike.message import Header
from sim.ike.selectors import UnknownSelector, WireSelector
from sim.wire.selector import OPAQUE_PORTS, Selector

OCTET = st.integers(0, 0xFF)
WORD = st.integers(0, 0xFFFF)
BITS_24 = st.integers(0, 0xFFFFFF)
SPI = st.binary(min_size=8, max_size=8)
KNOWN = {int(kind) for kind in (*p.PARSERS, *p.LAST_PARSERS)} | {0}


def data(max_size: int = 40) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=max_size)


ATTRIBUTES = st.builds(p.Attribute, st.integers(0, 0x7FFF).filter(lambda kind: kind != 14), WORD | data(12))
TRANSFORMS = st.builds(
    p.Transform,
    OCTET,
    WORD,
    st.none() | WORD,
    st.lists(ATTRIBUTES, max_size=3).map(tuple),
    WORD,
)
PROPOSALS = st.builds(
    p.Proposal, OCTET, OCTET, data(12), st.lists(TRANSFORMS, max_size=5).map(tuple), reserved=OCTET
)
CONFIG_ATTRIBUTES = st.builds(p.ConfigAttribute, st.integers(0, 0x7FFF), data(20), st.booleans())


@st.composite
def selectors(draw: st.DrawFn) -> Selector:
    size = draw(st.sampled_from([4, 16]))
    start, end = sorted(draw(st.tuples(*[st.binary(min_size=size, max_size=size)] * 2)))
    low, high = sorted(draw(st.tuples(WORD, WORD)))
    return Selector(start, end, draw(OCTET), draw(st.sampled_from([(low, high), OPAQUE_PORTS])))


UNKNOWN_SELECTORS = st.builds(UnknownSelector, OCTET.filter(lambda kind: kind not in (7, 8)), OCTET, data())
WIRE_SELECTORS: st.SearchStrategy[WireSelector] = selectors() | UNKNOWN_SELECTORS


@st.composite
def deletes(draw: st.DrawFn) -> p.DeletePayload:
    size = draw(st.integers(1, 8))
    spis = tuple(draw(st.lists(st.binary(min_size=size, max_size=size), max_size=4)))
    return p.DeletePayload(draw(OCTET), spis, 0 if spis else draw(OCTET))


@st.composite
def eap_messages(draw: st.DrawFn) -> p.EapPayload:
    rest = draw(data())
    return p.EapPayload(bytes([draw(OCTET), draw(OCTET)]) + (4 + len(rest)).to_bytes(2, "big") + rest)


@st.composite
def fragments(draw: st.DrawFn) -> p.EncryptedFragment:
    total = draw(st.integers(1, 0xFFFF))
    return p.EncryptedFragment(draw(OCTET), draw(st.integers(1, total)), total, draw(data()))


def _with_bits(payloads: st.SearchStrategy[p.Payload]) -> st.SearchStrategy[p.Payload]:
    """The same payloads with any second octet of the generic header, mostly zero."""
    return st.builds(lambda payload, bits: payload.with_header_bits(bits), payloads, st.just(0) | OCTET)


_IDS = st.builds(
    p.IdPayload, st.sampled_from([PayloadType.ID_I, PayloadType.ID_R]), OCTET, data(), reserved=BITS_24
)
_TRAFFIC_SELECTORS = st.builds(
    p.TsPayload,
    st.sampled_from([PayloadType.TS_I, PayloadType.TS_R]),
    st.lists(WIRE_SELECTORS, max_size=4).map(tuple),
    reserved=BITS_24,
)
_UNKNOWN = st.builds(p.UnknownPayload, OCTET.filter(lambda kind: kind not in KNOWN), data())

OPEN_PAYLOADS: list[st.SearchStrategy[p.Payload]] = [
    st.builds(p.SaPayload, st.lists(PROPOSALS, min_size=1, max_size=3).map(tuple)),
    st.builds(p.KePayload, WORD, data(), reserved=WORD),
    _IDS,
    st.builds(p.CertPayload, OCTET, data()),
    st.builds(p.CertReqPayload, OCTET, data()),
    st.builds(p.AuthPayload, OCTET, data(), reserved=BITS_24),
    st.builds(p.NoncePayload, st.binary(min_size=16, max_size=256)),
    st.builds(p.NotifyPayload, WORD, data(), OCTET, data(8)),
    deletes(),
    st.builds(p.VendorPayload, data()),
    _TRAFFIC_SELECTORS,
    st.builds(p.CpPayload, OCTET, st.lists(CONFIG_ATTRIBUTES, max_size=4).map(tuple), reserved=BITS_24),
    eap_messages(),
    _UNKNOWN,
]
"""One strategy for each class that may stand anywhere in a chain."""

CLOSED_PAYLOADS: list[st.SearchStrategy[p.Payload]] = [
    st.builds(p.EncryptedPayload, OCTET, data()),
    fragments(),
]
"""Those that end a message."""

PAYLOADS = _with_bits(st.one_of(OPEN_PAYLOADS))
CHAINS: st.SearchStrategy[tuple[p.Payload, ...]] = st.builds(
    lambda chain, last: (*chain, *last),
    st.lists(PAYLOADS, max_size=5),
    st.lists(_with_bits(st.one_of(CLOSED_PAYLOADS)), max_size=1),
)
HEADERS = st.builds(Header, SPI, SPI, OCTET, OCTET, st.integers(0, 0xFFFFFFFF), st.integers(0x20, 0x2F))
