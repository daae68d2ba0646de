"""The ladder tells what happened to each IKE message: where and when it left, arrived or ended."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import sim
from sim.experiment.ladder import COLUMNS, Ladder, ladders
from sim.scenario.load import load_text
from sim.tunnels.trace import Passage
from tests.scenario.base import TEXT

FAULTS = Path("topologies/faults")
QUIET = ("events=[]", "traffic=[]", "checks=[]")


@cache
def run(name: str, *overrides: str) -> sim.Result:
    return sim.run(sim.load(Path("topologies") / f"{name}.yaml", overrides))


def base(*overrides: str, faults: str = "") -> sim.Result:
    return sim.run(load_text(TEXT + faults, "lab.yaml", (*QUIET, *overrides)))


A, B = (b"\xc0\0\2\1", 500), (b"\xc0\0\2\2", 500)
SPI = b"12345678"
REQUEST = Passage(
    0, "moon", "pair", 1, A, B, 200, SPI, bytes(8), "IKE_SA_INIT", 0, False,
    "HDR, SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)", 0,
    ended_at=10_018_240, end="sun",
)  # fmt: skip
ANSWER = replace(
    REQUEST, at=10_018_240, node="sun", src=B, dst=A, response=True, payloads="HDR, N(COOKIE)",
    ended_at=20_000_000, end="moon", arrived=(A, A), rejected="malformed message",
)  # fmt: skip
LOST = replace(REQUEST, at=4_000_000_000, retransmission=1, ended_at=4_005_000_000, lost="lost on link")
TEXT_OF_THREE = """\
IKE messages of pair, moon to sun
              moon                                                                 sun
   0.000000 s |-- IKE_SA_INIT request 0 -------------------------------------------->| 0.010018 s
              |   HDR, SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP),                    |
              |   N(NAT_DETECTION_DESTINATION_IP)                                    |
              |   200 octets, 192.0.2.1[500] > 192.0.2.2[500]                        |
   0.020000 s |<------------------------------------------- IKE_SA_INIT response 0 --| 0.010018 s
              |   HDR, N(COOKIE)                                                     |
              |   200 octets, 192.0.2.2[500] > 192.0.2.1[500], arrives from          |
              |   192.0.2.1[500]                                                     |
              |   no effect at moon: malformed message                               |
   4.000000 s |-- IKE_SA_INIT request 0, retransmission 1 -x                         |
              |   HDR, SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP),                    |
              |   N(NAT_DETECTION_DESTINATION_IP)                                    |
              |   200 octets, 192.0.2.1[500] > 192.0.2.2[500]                        |
              |   lost at sun: lost on link                                          |"""


def test_the_text_of_a_known_conversation() -> None:
    assert str(Ladder("pair", "moon", "sun", (REQUEST, ANSWER, LOST))) == TEXT_OF_THREE


def test_the_times_are_those_of_a_known_link() -> None:
    """10 ms of delay, and the octets with IP, UDP and non-ESP marker at 100 Mbit/s: 80 ns each."""
    passages = [p for p in run("faults/lost-auth").ladder("pair").passages if not p.lost]
    assert len(passages) == 5
    for p in passages:
        marker = 4 if p.src[1] == 4500 else 0
        assert p.received_at - p.at == 10_000_000 + 80 * (p.size + marker + 28)
    assert passages[1].at == passages[0].received_at, "an answer takes no time to make"


def test_a_lost_message_ends_at_its_cross_and_says_where_and_why() -> None:
    text = str(run("faults/lost-auth").ladder())
    lost = [line for line in text.splitlines() if "x" in line.replace("retransmission", "")[14:90]]
    assert [line[16:].strip("|- x")[:19] for line in lost] == ["IKE_AUTH response 1", "IKE_AUTH request 1,"]
    assert text.count("lost at sun: fault: drop IKE_AUTH response ") == 1
    assert text.count("lost at moon: fault: drop IKE_AUTH request ") == 1
    assert "-- IKE_AUTH request 1, retransmission 1 -x " in text
    assert " x------------------ IKE_AUTH response 1 --| 0.0" in text
    assert "IKE_AUTH response 1, retransmission 1 --| 11.2" in text


def test_a_message_lost_on_a_link_names_the_node_that_sent_it_there() -> None:
    ladder = base("links.3.loss=100 %", "duration=10 s").ladder("rw")
    assert [(p.lost, p.end, p.retransmission) for p in ladder.passages] == [
        ("lost on link", "core", 0), ("lost on link", "core", 1)
    ]  # fmt: skip
    assert str(ladder).count("lost at core: lost on link") == 2
    assert ladder.right == "moon", "who has the address, for nothing ever arrived"


def test_a_message_without_effect_says_why() -> None:
    text = str(run("faults/corrupted-response").ladder())
    assert text.count("no effect at moon: integrity check failed") == 2
    assert "fault: corrupt IKE_AUTH response, bit 500" in text


def test_addresses_that_a_nat_changes_are_shown() -> None:
    text = str(base().ladder())
    assert "192.168.1.10[500] > 198.51.100.1[500], arrives from" in text
    assert "198.18.0.10[500]" in text


def test_a_wrong_secret_shows_in_its_last_rung_and_attempts_are_numbered() -> None:
    ladder = run("wrong-psk").ladder("sites")
    text = str(ladder)
    assert len({passage.spi_i for passage in ladder.passages}) == 2
    assert "IKE_SA_INIT request 0, IKE SA 1 --" in text
    assert text.count("HDR, SK {N(AUTHENTICATION_FAILED)}") == 2
    assert ladder.passages[0].spi_i.hex() in text


def test_an_ike_sa_that_replaces_another_goes_on_in_its_ladder() -> None:
    overrides = ("duration=12 s", "tunnels.pair.rekey_time=4 s", "checks=[]")
    ladder = run("two-hosts", *overrides).ladder("pair")
    spis = list(dict.fromkeys(passage.spi_i for passage in ladder.passages))
    assert len(spis) >= 2
    assert f"IKE SA 2: SPIi {spis[1].hex()}" in str(ladder)
    assert all(p.connection == "pair" for p in ladder.passages if p.spi_i == spis[1])


def test_answers_without_state_are_rungs_as_well() -> None:
    words = [passage.payloads for passage in run("faults/cookie-and-wrong-group").ladder().passages]
    assert words[1::2][:2] == ["HDR, N(COOKIE)", "HDR, N(INVALID_KE_PAYLOAD)"]


def test_every_copy_of_a_message_has_its_own_fate() -> None:
    fault = "faults:\n  - {node: alice, do: replay, exchange: IKE_AUTH, after: 500 ms}\n"
    passages = base(faults=fault).ladder().passages
    requests = [p for p in passages if p.exchange == "IKE_AUTH" and not p.response]
    assert [p.fault for p in requests] == ["", "replay IKE_AUTH"]
    assert requests[1].at - requests[0].at == 500_000_000
    assert all(p.received_at > p.at for p in passages)


def test_a_message_on_its_way_at_the_end_is_not_lost() -> None:
    text = str(base("duration=12 ms").ladder())
    assert "on its way when the run ended" in text
    assert "?---" in text
    assert "lost at" not in text


def test_fragments_of_one_packet_are_one_message() -> None:
    passages = base("links.2.mtu=200 B").ladder().passages
    assert [p.received_at > 0 for p in passages] == [True] * 4


@pytest.mark.parametrize("name", ["road-warrior-mobike", "double-nat", "wrong-psk", "faults/lost-auth"])
def test_it_is_readable_at_100_columns(name: str) -> None:
    text = str(run(name).ladder())
    assert max(map(len, text.splitlines())) <= COLUMNS == 100
    assert text.isascii()


def test_it_is_html_that_quotes_what_it_shows() -> None:
    result = run("faults/lost-auth")
    html = result.ladder()._repr_html_()
    assert html.startswith("<table")
    assert html.endswith("</table>")
    assert "script" not in html
    assert "http" not in html
    assert "192.0.2.1[4500] &gt; 192.0.2.2[4500]" in html
    assert "lost at sun: fault: drop IKE_AUTH response" in html


def test_it_is_a_figure() -> None:
    ladder = run("faults/lost-auth").ladder()
    (ax,) = ladder.plot().axes
    words = " ".join(text.get_text() for text in ax.texts).replace("\n", " ")
    assert "IKE_AUTH request 1, retransmission 1: 236 octets" in words
    assert "lost at moon: fault: drop IKE_AUTH request" in words
    assert len([line for line in ax.lines if line.get_marker() == "x"]) == 2


def test_several_initiators_have_a_ladder_each() -> None:
    text = TEXT.replace("tunnels:\n", "tunnels:\n  other: {initiator: bob, responder: moon, auth: {psk: x},"
                        " children: {c: {}}}\n")  # fmt: skip
    result = sim.run(load_text(text, "lab.yaml", QUIET))
    assert [(one.connection, one.left, one.right) for one in ladders(result.world)] == [
        ("other", "bob", "moon"), ("rw", "alice", "moon")
    ]  # fmt: skip
    with pytest.raises(ValueError, match="name one of the connections: other, rw"):
        result.ladder()


def test_one_name_at_several_initiators_asks_for_a_node() -> None:
    scenario = sim.expand(load_text(TEXT, "lab.yaml", QUIET))
    plain = scenario.plain()
    calling = plain["connections"]["alice"]["rw"]
    plain["connections"]["bob"] = {"rw": calling | {"remote_addrs": ["10.1.0.1"]}}
    result = sim.run(scenario.rewritten(plain, {}))
    with pytest.raises(ValueError, match="several nodes use rw: alice to moon, bob to moon"):
        result.ladder("rw")
    assert result.ladder("rw", node="bob").left == "bob"
    assert {passage.node for passage in result.ladder("rw", node="alice").passages} == {"alice", "moon"}


def test_a_connection_that_was_never_tried_has_an_empty_ladder() -> None:
    ladder = base("tunnels.rw.children.net.start=none").ladder()
    assert (ladder.left, ladder.right, ladder.passages) == ("alice", "moon", ())
    assert "no IKE message was sent" in str(ladder)
