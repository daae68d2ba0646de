"""An ESP packet octet by octet, from captures of runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim
from sim.experiment.packet_fields import Field
from sim.experiment.packet_map import packet_fields
from sim.tunnels.keylog import KeyLog
from sim.wire import ip
from sim.wire.buffer import WireError

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
SUITES = ("aes128gcm16", "aes256-sha256", "aes128-sha1", "chacha20poly1305", "aes128gmac", "aes128gcm16iiv")
TCP_SEGMENT = bytes.fromhex(  # header of 24 octets with an MSS option, SYN, by hand from RFC 9293 3.1 and 3.2
    "4500002c00000000 40060000 0a000001 0a000002 c0000050 00000001 00000000 6002ffff 00000000 020405b4"
)


@pytest.mark.parametrize("suite", SUITES)
def test_the_fields_are_the_whole_packet_in_order(suite: str) -> None:
    octets, keys = esp_packet(suite)
    found = packet_fields(octets, keys)
    assert b"".join(field.octets for field in found) == octets
    assert [field.offset for field in found] == offsets(found)


@pytest.mark.parametrize("suite", SUITES)
def test_the_plaintext_is_the_inner_packet(suite: str) -> None:
    """What moon encrypted is what came from the LAN, but for one hop and its checksum."""
    octets, keys = esp_packet(suite)
    inner = [field for field in packet_fields(octets, keys) if field.layer.startswith("inner")]
    sent = run_with(suite)[1].query("interface == 'moon:lan' and protocol == 'UDP'").octets.iloc[0]
    packet = b"".join(field.plain for field in inner)
    assert packet[12:] == sent[12:]
    assert packet[8] == sent[8] - 1


@pytest.mark.parametrize("suite", ["null-sha256", "aes128gcm16iiv"])
def test_an_iv_that_does_not_travel_is_no_field(suite: str) -> None:
    fields = packet_fields(*esp_packet(suite))
    assert not [field for field in fields if field.name == "IV" or not field.octets]


def test_the_trailer_is_that_of_rfc_4303() -> None:
    octets, keys = esp_packet("aes256-sha256")
    rows = sim.packet_map(octets, keys)
    trailer = rows[rows.layer == "ESP trailer"].set_index("field")
    pad_length = int(trailer.value["pad length"])
    assert bytes.fromhex(trailer.plain["padding"]) == bytes(range(1, pad_length + 1))
    assert trailer.plain["next header"] == "04"
    assert rows.field.iloc[-1] == "ICV"
    assert rows.value.iloc[-1] == "is right"


def test_a_changed_octet_makes_the_icv_wrong_and_stays_encrypted() -> None:
    octets, keys = esp_packet("aes128gcm16")
    changed = octets[:-20] + bytes([octets[-20] ^ 1]) + octets[-19:]
    rows = sim.packet_map(changed, keys)
    assert rows.value.iloc[-1] == "is wrong"
    assert rows.field.iloc[-2] == "ciphertext"
    assert not rows.plain.any()


def test_without_keys_esp_is_opaque_behind_its_header() -> None:
    octets, _ = esp_packet("aes128gcm16")
    assert list(sim.packet_map(octets).field[-3:]) == ["SPI", "sequence number", "IV, ciphertext and ICV"]


def test_transport_mode_has_no_inner_ip() -> None:
    result, table = run("two-hosts")
    octets = table[table.protocol == "ESP"].octets.iloc[0]
    layers = list(dict.fromkeys(sim.packet_map(octets, result.world.keys).layer))
    assert layers == ["IP", "ESP", "inner UDP", "ESP trailer"]


def test_esp_in_udp_shows_its_datagram() -> None:
    result, table = run("road-warrior-nat")
    octets = table[table.protocol == "ESP in UDP"].octets.iloc[0]
    layers = list(dict.fromkeys(sim.packet_map(octets, result.world.keys).layer))
    assert layers[:4] == ["IP", "UDP", "ESP", "inner IP"]


def test_ike_behind_a_nat_has_the_non_esp_marker() -> None:
    _, table = run("road-warrior-nat")
    init, auth = (table[table.protocol == "IKE"].octets.iloc[at] for at in (0, -1))
    assert "non-ESP marker" not in set(sim.packet_map(init).field)
    assert sim.packet_map(auth).set_index("field").hex["non-ESP marker"] == "00 00 00 00"


def test_tcp_options_are_found_by_the_data_offset() -> None:
    octets = with_checksum(TCP_SEGMENT)
    found = {field.name: field for field in packet_fields(octets)}
    assert found["options"].octets.hex() == "020405b4"
    assert found["flags"].value == "SYN"


def test_the_capture_table_knows_sizes_and_spis() -> None:
    result, table = run("two-hosts")
    assert (table["size"] == table.octets.map(len)).all()
    spis = set(table[table.protocol == "ESP"].spi)
    assert spis == set(result.sas.spi_in)


@given(cut=st.integers(0, 10_000), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255))))
def test_damaged_packets_give_all_their_octets_or_a_wire_error(
    cut: int, flips: list[tuple[int, int]]
) -> None:
    octets, keys = esp_packet("aes256-sha256")
    damaged = bytearray(octets)
    for at, bits in flips:
        damaged[20 + at % (len(damaged) - 20)] ^= bits
    damaged = damaged[: len(damaged) - cut % (len(damaged) - 20)]
    damaged[2:4] = len(damaged).to_bytes(2, "big")
    packet = with_checksum(damaged)
    try:
        found = packet_fields(packet, keys)
    except WireError:
        return
    assert b"".join(field.octets for field in found) == packet


def offsets(found: list[Field]) -> list[int]:
    return [sum(len(field.octets) for field in found[:index]) for index in range(len(found))]


def with_checksum(packet: bytes | bytearray) -> bytes:
    octets = bytearray(packet)
    ip.write_checksum(octets)
    return bytes(octets)


def esp_packet(suite: str) -> tuple[bytes, KeyLog]:
    """The first packet of the run's stream on the way from moon to sun, and the keys of that run."""
    result, table = run_with(suite)
    large = table[(table.protocol == "ESP") & (table["size"] > 1300)]
    return large.octets.iloc[0], result.world.keys


def run_with(suite: str) -> tuple[sim.Result, pd.DataFrame]:
    return run("site-to-site", ("tunnels.sites.children.lans.esp_proposals", suite))


@cache
def run(name: str, *changes: tuple[str, str]) -> tuple[sim.Result, pd.DataFrame]:
    """A short run of a topology and its capture."""
    overrides: dict[str, object] = {path: [value] for path, value in changes}
    scenario = sim.load(TOPOLOGIES / f"{name}.yaml", overrides)
    with TemporaryDirectory() as folder:
        result = sim.run(scenario, until=1_100_000_000, out=folder)
        return result, sim.packets(folder)
