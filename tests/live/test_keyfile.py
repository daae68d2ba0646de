"""Key files of a live peer: complete for SAs that came up, bounded for those that strangers begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sim.ike.events import Event, IkeKeysDerived, IkeSaUp
from sim.live.keyfile import KEPT_UNPROVEN, KeyFiles
from tests.ike.pair import Pair


@pytest.fixture(scope="module")
def handshake() -> list[Event]:
    """What a responder reports while an IKE SA comes up."""
    return [event for _, event in Pair().establish().b.events]


def test_a_flood_of_handshakes_leaves_the_last_and_every_sa_that_came_up(
    tmp_path: Path, handshake: list[Event]
) -> None:
    files = KeyFiles(tmp_path)
    table = tmp_path / "ikev2_decryption_table"
    flood = 5 * KEPT_UNPROVEN
    most = 0
    for number in range(flood):
        files.note(derived(handshake, number))
        if number in (0, 3000):
            files.note(up(handshake, number))
        if number % 100 == 0:
            most = max(most, len(spis(table)))
    kept = spis(table)
    assert most <= 2 * KEPT_UNPROVEN + 2
    assert kept[:2] == [0, 3000]
    assert kept[-KEPT_UNPROVEN:] == list(range(flood - KEPT_UNPROVEN, flood))
    assert table.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["esp_sa", "ikev2_decryption_table"]


def test_the_keys_of_a_peer_that_is_refused_are_there_at_once(tmp_path: Path, handshake: list[Event]) -> None:
    files = KeyFiles(tmp_path)
    files.note(derived(handshake, 7))
    assert spis(tmp_path / "ikev2_decryption_table") == [7]


def derived(handshake: list[Event], number: int) -> IkeKeysDerived:
    event = next(event for event in handshake if isinstance(event, IkeKeysDerived))
    return replace(event, ike_id=number, spi_i=number.to_bytes(8, "big"))


def up(handshake: list[Event], number: int) -> IkeSaUp:
    return replace(next(event for event in handshake if isinstance(event, IkeSaUp)), ike_id=number)


def spis(table: Path) -> list[int]:
    """The initiator's SPIs in the file."""
    return [int(row.partition(",")[0], 16) for row in table.read_text().splitlines()]
