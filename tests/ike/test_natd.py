"""NAT detection hashes as real hosts sent them (RFC 7296 2.23)."""

from __future__ import annotations

import json

import pytest

from sim.ike.constants import NotifyType
from sim.ike.message import NO_SPI, parse_message
from sim.ike.natd import nat_detection_hash
from sim.wire.address import pack_address
from tests.crypto.vectors import DATA, load

ANDROID: dict[str, str] = load("android-unit/android_ike_unit_vectors.json")["constants"][
    "message/IkeNotifyPayloadTest.java"
]


def test_c59_android_hash_of_the_first_message() -> None:
    """SPIr is zero in the first message."""
    spi_i, spi_r = (bytes.fromhex(ANDROID[f"IKE_{who}_SPI_HEX_STRING"]) for who in ("INITIATOR", "RESPODNER"))
    assert spi_r == NO_SPI
    found = nat_detection_hash(spi_i, spi_r, pack_address(ANDROID["IP_ADDR"]), 500)
    assert found.hex() == ANDROID["NAT_DETECTION_SOURCE_IP_DATA_HEX_STRING"]


@pytest.mark.parametrize(
    ("frame", "source_fits", "destination_fits"),
    [
        pytest.param(1, False, True, id="request"),
        pytest.param(3, False, True, id="request-with-another-group"),
        pytest.param(4, True, True, id="response"),
    ],
)
def test_c59_captured_hashes_show_that_the_initiator_is_behind_a_nat(
    frame: int, source_fits: bool, destination_fits: bool
) -> None:
    """Its port 63995 is the NAT's: SOURCE does not fit what it sent, all that the responder saw does."""
    rows = (DATA / "corpus" / "zeek-plugin-ikev2__ikev2.pcap.jsonl").read_text().splitlines()
    (row,) = (row for row in map(json.loads, rows) if row["frame"] == frame)
    message = parse_message(bytes.fromhex(row["hex"]))
    spis = message.header.spi_i, message.header.spi_r
    source, destination = (
        message.notify(NotifyType.NAT_DETECTION_SOURCE_IP),
        message.notify(NotifyType.NAT_DETECTION_DESTINATION_IP),
    )
    assert source is not None
    assert destination is not None
    seen = nat_detection_hash(*spis, pack_address(row["src"]), row["sport"])
    reached = nat_detection_hash(*spis, pack_address(row["dst"]), row["dport"])
    assert (source.data == seen, destination.data == reached) == (source_fits, destination_fits)


def test_c59_every_input_counts() -> None:
    base = (b"initiate", b"responds", bytes(4), 500)
    hashes = {
        nat_detection_hash(*base),
        nat_detection_hash(b"initiatE", *base[1:]),
        nat_detection_hash(base[0], NO_SPI, *base[2:]),
        nat_detection_hash(*base[:2], bytes(16), 500),
        nat_detection_hash(*base[:3], 4500),
    }
    assert len(hashes) == 5
