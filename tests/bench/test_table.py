"""The bench's parts do what they say, on few packets; how fast is for `make bench` to print."""

from __future__ import annotations

import pytest

from sim.crypto.ids import EncryptionId
from sim.crypto.suites import ENCRYPTION, INTEGRITY
from tests.bench import bare, ns3, nspy_chain, ours, suites, table
from tests.bench.measure import Sample, ratio, take_turns
from tests.bench.road_warriors import measure
from tests.ipsec.pair import EVERY_SUITE, datagram, make_pair
from tests.ipsec.test_judges import JUDGED


def test_every_packet_crosses_our_chain_inside_the_tunnel() -> None:
    assert ours.chain(100).done == 100


def test_every_handshake_is_established_at_both_ends() -> None:
    assert ours.handshakes(3).done == 3


def test_every_packet_crosses_the_chain_of_nspy() -> None:
    assert nspy_chain.run(100).done == 100


def test_every_packet_crosses_the_chain_of_ns3() -> None:
    missing = ns3.build()
    if missing:
        pytest.skip(missing)
    assert ns3.run(100).done == 100


@pytest.mark.parametrize(("what", "changes", "crypto"), [row[:3] for row in table.HANDSHAKES])
def test_every_row_of_handshakes_comes_up_in_its_own_way(
    what: str, changes: dict[str, object], crypto: table.Run
) -> None:
    assert ours.handshakes(1, changes).done == 1
    assert crypto(1).done == 1


def test_all_road_warriors_come_up_and_their_memory_is_seen() -> None:
    measured = measure(300)
    assert measured.warriors == 300
    assert 4096 < measured.pair_bytes < measured.peak_bytes
    assert min(measured.make_s, measured.build_s, measured.run_s) > 0


def test_all_clients_of_a_count_move_and_hang_up() -> None:
    rows = [row.cells() for row in table.migration_rows(rounds=1, count=15)]
    who = "15 clients that set up, roam at once and hang up"
    assert [row[0] for row in rows] == [
        f"{who}: {what}" for what in ("loaded and built", "wall time", "peak memory")
    ]
    assert [row[1].split()[-1] for row in rows] == ["s", "s", "MiB"]


def test_bare_runs_count_what_they_did() -> None:
    assert (bare.handshakes(2).done, bare.callbacks(10).done) == (2, 10)


def test_contestants_take_turns_and_ratios_stay_within_a_round() -> None:
    order = []

    def contestant(name: str, *rates: int) -> table.Run:
        left = list(rates)

        def run(_: int = 0) -> Sample:
            order.append(name)
            return Sample(left.pop(0), 1.0)

        return run

    a, b = contestant("a", 10, 40, 90), contestant("b", 10, 10, 10)
    own, other = take_turns([lambda: a(0), lambda: b(0)], rounds=3)
    assert "".join(order) == "ababab"
    assert (own, other) == ([10, 40, 90], [10, 10, 10])
    assert ratio(own, other) == 4


def test_table_says_what_it_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ns3, "build", lambda: "it is not here")
    monkeypatch.setattr(table, "find_spec", lambda _: None)
    monkeypatch.setattr(suites, "SUITES", ("aes128gcm16",))
    table.main(rounds=1, scale=0.002, quick=True)
    printed = capsys.readouterr().out
    assert "skipped: ns-3, because it is not here" in printed
    assert "skipped: ns.py" in printed
    assert "skipped: 10,000 road warriors, because of --quick" in printed
    assert "| handshakes" in printed
    assert "| aes128gcm16 " in printed
    assert "bare calls each" in printed


def test_every_cipher_and_mac_is_measured_in_both_directions() -> None:
    ciphers = {EVERY_SUITE[suite][0].id for suite in suites.SUITES}
    macs = {EVERY_SUITE[suite][1] for suite in suites.SUITES}
    assert ciphers >= {row.id for row in ENCRYPTION.values()} - {
        EncryptionId.ENCR_AES_GCM_12,
        EncryptionId.ENCR_AES_CCM_8,
        EncryptionId.ENCR_AES_CCM_12,
    }, "other ICVs of the same ciphers"
    assert macs == {None, *(row for row in INTEGRITY.values())}
    for suite in suites.SUITES:
        for sealing in (True, False):
            assert suites.ours(suite, 64, sealing, 2).done == 2
            call, inputs = suites.bare(suite, 64, sealing, 2)
            assert len(inputs) == 2
            call(inputs[1])  # an ICV that does not fit would raise
            if suite in JUDGED:
                call, inputs = suites.scapy(suite, 64, sealing, 2)
                made = call(inputs[1])
                assert isinstance(made, bytes)
                assert len(made) == (len(make_pair(suite).seal(datagram(64))) if sealing else 64)


def test_table_shows_what_road_warriors_cost() -> None:
    rows = [row.cells() for row in table.road_warrior_rows(rounds=1, many=20)]
    assert [row[0] for row in rows] == [
        "handshakes, 20 road warriors, one gateway",
        "20 road warriors, one gateway: made, built and up",
        "20 road warriors, one gateway: an established pair",
        "20 road warriors, one gateway: peak memory",
    ]
    assert [row[1].split()[-1] for row in rows[1:]] == ["s", "KiB", "MiB"]
