"""The IKE datagrams of public captures: parsed, emitted again octet for octet, cut and damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sim.ike.constants import PayloadType, TransformType
from sim.ike.message import emit_message, parse_header, parse_message
from sim.ike.payloads import KePayload, NoncePayload, SaPayload
from sim.ike.proposals import is_choice_of
from sim.wire.buffer import WireError

DATA = Path(__file__).parent.parent / "data"
CORPUS = DATA / "corpus"
VECTORS_WITH_MESSAGES = ("android-unit", "rfc-vectors", "rub-nds")


class Captured(NamedTuple):
    """One datagram without its non-ESP marker, and what the capture's own notes say about it."""

    name: str
    raw: bytes
    version: int
    wellformed: bool
    payloads: tuple[int, ...]


def _corpus() -> list[Captured]:
    found = []
    for path in sorted(CORPUS.glob("*.jsonl")):
        for row in map(json.loads, path.read_text().splitlines()):
            name = f"{path.name.split('.')[0]}-{row['frame']}"
            raw, payloads = bytes.fromhex(row["hex"]), tuple(row["payloads"])
            found.append(Captured(name, raw, row["version"], row["wellformed"], payloads))
    return found


def _embedded() -> dict[str, bytes]:
    """Whole messages among the numbers of the vector files, by where they stand first."""
    found: dict[bytes, str] = {}
    for path in sorted(DATA.glob("*/*.json")):
        if path.parent.name in VECTORS_WITH_MESSAGES:
            for place, text in _texts(json.loads(path.read_text()), path.parent.name):
                octets = _octets(text)
                if _is_version_2(octets):
                    found.setdefault(octets, place)
    return {place: octets for octets, place in found.items()}


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(part, f"{place}/{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _texts(part, f"{place}/{index}")
    elif isinstance(value, str):
        yield place, value


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return b""


def _is_version_2(octets: bytes) -> bool:
    """An exchange of RFC 7296 (3.1) whose length is that of the octets."""
    return (
        len(octets) >= 28 and octets[17] == 0x20 and 34 <= octets[18] <= 37 and _length(octets) == len(octets)
    )


def _length(octets: bytes) -> int:
    return int.from_bytes(octets[24:28], "big")


EVERY = _corpus()
EMBEDDED = _embedded()
GOOD = [each for each in EVERY if each.version == 2 and each.wellformed]
BAD = [each for each in EVERY if not each.wellformed]
VERSION_1 = [each for each in EVERY if each.version == 1 and each.wellformed]
BINARIES = sorted(CORPUS.glob("*.bin"))
# Each kind of message once: a COOKIE answer, a large offer, a fragment, an Encrypted payload.
DAMAGED = [each for each in GOOD if each.name in {"tcpdump__ikev2four-2", "zeek-plugin-ikev2__ikev2-4"}]


def by_name(case: Captured) -> str:
    return case.name


def test_the_corpus_is_there() -> None:
    assert (len(GOOD), len(BAD), len(VERSION_1), len(BINARIES)) == (29, 3, 24, 2)
    assert sorted(place.partition("/")[0] for place in EMBEDDED) == [
        *(["android-unit"] * 3),
        "rfc-vectors",
        "rub-nds",
    ]


@pytest.mark.parametrize("case", GOOD, ids=by_name)
def test_every_well_formed_message_is_emitted_octet_for_octet(case: Captured) -> None:
    message = parse_message(case.raw)
    assert tuple(payload.payload_type for payload in message.payloads) == case.payloads
    assert emit_message(message.header, message.payloads) == case.raw


@pytest.mark.parametrize("path", BINARIES, ids=lambda path: str(path.name))
def test_messages_of_another_parser_are_emitted_octet_for_octet(path: Path) -> None:
    raw = path.read_bytes()
    message = parse_message(raw)
    assert emit_message(message.header, message.payloads) == raw


@pytest.mark.parametrize("place", EMBEDDED)
def test_messages_in_vectors_of_others_are_emitted_octet_for_octet(place: str) -> None:
    message = parse_message(EMBEDDED[place])
    assert message.payloads
    assert emit_message(message.header, message.payloads) == EMBEDDED[place]


@pytest.mark.parametrize("case", BAD, ids=by_name)
def test_malformed_messages_are_refused(case: Captured) -> None:
    """An identity shorter than its head, octets behind the chain, a length of 0 (a careless parser loops)."""
    with pytest.raises(WireError):
        parse_message(case.raw)


@pytest.mark.parametrize("case", VERSION_1, ids=by_name)
def test_c22_a_message_of_version_1_has_a_header(case: Captured) -> None:
    assert parse_header(case.raw).major == 1
    with pytest.raises(WireError, match="major version 1"):
        parse_message(case.raw)


@pytest.mark.parametrize("case", GOOD, ids=by_name)
def test_a_message_cut_at_any_length_is_refused(case: Captured) -> None:
    for size in range(len(case.raw)):
        with pytest.raises(WireError):
            parse_message(case.raw[:size])


@pytest.mark.parametrize("case", DAMAGED, ids=by_name)
def test_a_flipped_bit_gives_another_message_or_a_wire_error(case: Captured) -> None:
    refused = 0
    for bit in range(len(case.raw) * 8):
        flipped = bytearray(case.raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            message = parse_message(flipped)
        except WireError:
            refused += 1
        else:
            assert emit_message(message.header, message.payloads) == flipped
    assert 0 < refused < len(case.raw) * 8


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("tcpdump__ikev2four-3", "tcpdump__ikev2four-4"),
        ("zeek-plugin-ikev2__ikev2-3", "zeek-plugin-ikev2__ikev2-4"),
    ],
)
def test_c17_a_captured_answer_is_a_choice_of_the_captured_offer(offer: str, answer: str) -> None:
    offered, chosen = (_message_payload(name) for name in (offer, answer))
    assert is_choice_of(chosen.proposals, offered.proposals)
    assert not is_choice_of(offered.proposals[:1], offered.proposals)


@pytest.mark.parametrize("case", [each for each in GOOD if PayloadType.SA in each.payloads], ids=by_name)
def test_scapy_reads_the_same(case: Captured) -> None:
    """Another parser finds the same group, nonce and transforms."""
    from scapy.contrib import ikev2  # takes a while to load

    theirs, ours = ikev2.IKEv2(case.raw), parse_message(case.raw)
    exchange, nonce, association = ours.find(KePayload), ours.find(NoncePayload), ours.find(SaPayload)
    assert exchange is not None
    assert nonce is not None
    assert association is not None
    assert (theirs[ikev2.IKEv2_KE].group, theirs[ikev2.IKEv2_KE].ke) == (exchange.group, exchange.data)
    assert theirs[ikev2.IKEv2_Nonce].nonce == nonce.data
    first = theirs[ikev2.IKEv2_Proposal]
    assert (first.proposal, first.proto, first.trans_nb) == (
        association.proposals[0].number,
        association.proposals[0].protocol,
        len(association.proposals[0].transforms),
    )
    transform = first.trans
    for mine in association.proposals[0].transforms:
        assert (transform.transform_type, transform.transform_id) == (mine.type, mine.id)
        if mine.type == TransformType.ENCR and mine.key_bits is not None:
            assert transform.key_length == mine.key_bits
        transform = transform.payload


def _message_payload(name: str) -> SaPayload:
    (raw,) = (each.raw for each in GOOD if each.name == name)
    payload = parse_message(raw).find(SaPayload)
    assert payload is not None
    return payload
