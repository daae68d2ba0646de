"""IKE and ESP in a TCP stream (RFC 9329 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import udp
from sim.wire.buffer import WireError
from sim.wire.tcp_encap import MAX_PAYLOAD, PREFIX, Received, StreamReceiver, StreamSender
from sim.wire.udp_encap import KEEPALIVE, NON_ESP_MARKER, Kind, classify
from tests.wire.samples import packets
from tests.wire.streams import fed

IKE = bytes.fromhex("0011223344556677" + "00" * 8 + "21202208" + "00000000" + "0000001c")
ESP = bytes.fromhex("c0ffee01" + "00000001" + "ab" * 24)
MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda octets: (Kind.IKE, octets)),
        st.binary(min_size=4, max_size=300).map(lambda octets: (Kind.ESP, b"\1\2\3\4" + octets)),
    ),
    max_size=6,
)


def test_the_octets_of_a_stream_as_the_rfc_draws_them() -> None:
    """By hand: the prefix, length 34 = 2 + 4 + 28 with the marker, then length 34 = 2 + 32 of ESP."""
    sender = StreamSender(opened_it=True)
    assert sender.ike(IKE) == b"\x49\x4b\x45\x54\x43\x50" + b"\x00\x22" + b"\x00\x00\x00\x00" + IKE
    assert sender.esp(ESP) == b"\x00\x22" + ESP


def test_who_was_called_sends_no_prefix() -> None:
    assert StreamSender(opened_it=False).esp(ESP) == b"\x00\x22" + ESP
    assert StreamReceiver(opened_it=True).feed(b"\x00\x22" + ESP) == [(Kind.ESP, ESP)]


def test_what_was_captured_on_port_4500_travels_in_a_stream() -> None:
    """The payloads are the same as in UDP, but for keepalives, which are not sent."""
    captured = [p[28:] for p in packets("tcpdump/isakmp4500.pcap") if 4500 in udp.parse(p, 20)[:2]]
    wanted = [payload for payload in captured if classify(payload) in (Kind.IKE, Kind.ESP)]
    sender = StreamSender(opened_it=True)
    stream = b"".join(
        sender.ike(payload[4:]) if classify(payload) is Kind.IKE else sender.esp(payload)
        for payload in wanted
    )
    found = StreamReceiver(opened_it=False).feed(stream)
    assert [NON_ESP_MARKER + octets if kind is Kind.IKE else octets for kind, octets in found] == wanted
    assert len(wanted) > 10


@given(MESSAGES, st.lists(st.integers(1, 400), max_size=40), st.booleans())
def test_any_pieces_give_the_same_messages(
    messages: list[Received], pieces: list[int], opened_it: bool
) -> None:
    stream = framed(messages, opened_it)
    receiver = StreamReceiver(opened_it=not opened_it)
    found: list[Received] = []
    for size in [*pieces, len(stream)]:
        found += receiver.feed(stream[:size])
        stream = stream[size:]
        assert receiver.kept <= MAX_PAYLOAD + 2
    assert found == messages
    assert receiver.kept == 0


@given(MESSAGES)
def test_octet_by_octet(messages: list[Received]) -> None:
    receiver = StreamReceiver(opened_it=False)
    found = [got for octet in framed(messages, True) for got in receiver.feed(bytes((octet,)))]
    assert found == messages


@given(st.lists(st.binary(max_size=50), max_size=8), st.booleans())
def test_arbitrary_octets_give_messages_or_wire_error(pieces: list[bytes], opened_it: bool) -> None:
    """And which of them does not depend on the pieces."""
    one, many = StreamReceiver(opened_it=opened_it), StreamReceiver(opened_it=opened_it)
    whole, why = fed(one, [b"".join(pieces)])
    found, reason = fed(many, pieces)
    assert reason == why
    assert why or found == whole
    assert fed(many, [b""]) == ([], why)


@pytest.mark.parametrize("length", [0, 1])
def test_a_length_that_does_not_count_itself_breaks_the_stream(length: int) -> None:
    receiver = StreamReceiver(opened_it=False)
    assert receiver.feed(PREFIX + b"\x00\x22" + ESP) == [(Kind.ESP, ESP)]
    with pytest.raises(WireError, match=f"length {length}"):
        receiver.feed(bytes((0, length)))
    with pytest.raises(WireError, match=f"length {length}"):
        receiver.feed(b"\x00\x22" + ESP)
    assert receiver.kept == 0


@pytest.mark.parametrize("begin", [b"\x00\x22\x00", b"IKEUDP", b"I\0", b"GET / HTTP/1.1", b"iketcp"])
def test_another_prefix_breaks_the_stream_at_its_first_wrong_octet(begin: bytes) -> None:
    receiver = StreamReceiver(opened_it=False)
    found, why = fed(receiver, [bytes((octet,)) for octet in begin])
    assert found == []
    assert why.startswith("the stream begins with")


def test_a_second_prefix_is_a_message_of_that_length() -> None:
    """Nothing sets a later one apart: "IK" is the length 0x494b."""
    receiver = StreamReceiver(opened_it=False)
    assert receiver.feed(PREFIX + PREFIX) == []
    assert receiver.kept == len(PREFIX)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (KEEPALIVE, Kind.KEEPALIVE),
        (b"", Kind.MALFORMED),
        (b"\0\0\0", Kind.MALFORMED),
        (b"\1" * 7, Kind.MALFORMED),
    ],
)
def test_what_is_no_message_leaves_the_stream_in_step(payload: bytes, kind: Kind) -> None:
    receiver = StreamReceiver(opened_it=False)
    frame = (len(payload) + 2).to_bytes(2, "big") + payload
    assert receiver.feed(PREFIX + frame + b"\x00\x22" + ESP) == [(kind, payload), (Kind.ESP, ESP)]


def test_the_largest_frame_and_one_octet_more() -> None:
    sender, receiver = StreamSender(opened_it=True), StreamReceiver(opened_it=False)
    largest = b"\1" * MAX_PAYLOAD
    assert receiver.feed(sender.esp(largest)) == [(Kind.ESP, largest)]
    message = bytes(MAX_PAYLOAD - 4)
    assert receiver.feed(sender.ike(message)) == [(Kind.IKE, message)]
    for send, payload in ((sender.esp, largest + b"\1"), (sender.ike, message + b"\0")):
        with pytest.raises(ValueError, match="65534 octets do not fit"):
            send(payload)


@pytest.mark.parametrize("packet", [b"", KEEPALIVE, b"\0" * 8, b"\1" * 7])
def test_what_is_no_esp_packet_is_not_sent(packet: bytes) -> None:
    """SPI 0 would be taken for IKE, and keepalives have no place in TCP."""
    with pytest.raises(ValueError, match="does not begin an ESP packet"):
        StreamSender(opened_it=True).esp(packet)


def test_a_refused_packet_does_not_use_up_the_prefix() -> None:
    sender = StreamSender(opened_it=True)
    with pytest.raises(ValueError, match="does not begin an ESP packet"):
        sender.esp(b"")
    assert sender.esp(ESP).startswith(PREFIX)


# -- helpers ---------------------------------------------------------------------------------------------


def framed(messages: list[Received], opened_it: bool) -> bytes:
    sender = StreamSender(opened_it=opened_it)
    return b"".join(
        sender.ike(octets) if kind is Kind.IKE else sender.esp(octets) for kind, octets in messages
    )
