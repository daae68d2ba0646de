"""`faults:` of a scenario: what is refused, what is reported, and that they are repeatable."""

from __future__ import annotations

from pathlib import Path

import pytest

import sim
from sim.scenario.load import load_text
from tests.scenario.base import TEXT, changed, line_of, problems

QUIET = ("events=[]", "traffic=[]", "checks=[]")


def faulty(*faults: str, overrides: tuple[str, ...] = QUIET, seed: int = 1) -> sim.Result:
    text = TEXT + "faults:\n" + "".join(f"  - {{{fault}}}\n" for fault in faults)
    return sim.run(load_text(text, "lab.yaml", overrides), seed, capture=True)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("{node: alice, do: dorp}", "faults.0: 'dorp' is not one of drop, duplicate"),
        ("{node: alice, do: drop, exchange: IKE_AUHT}", "did you mean `IKE_AUTH`?"),
        ("{node: alice, do: drop, nth: 0}", "faults.0.nth: 0 is out of range"),
        ("{node: alice, do: drop, count: some}", "must be a whole number from 1 on, or all"),
        ("{node: alice, do: drop, by: 1 s}", "faults.0.by: unknown key"),
        ("{node: alice, do: delay}", "faults.0.by: is missing"),
        ("{node: alice, do: delay, by: 5}", "has no unit"),
        ("{node: alcie, do: drop}", "there is no node `alcie`; did you mean `alice`?"),
        ("{node: bob, do: drop}", "bob has no tunnel and no connection"),
        ("{node: alice, do: drop, connection: wr}", "there is no connection `wr`; known: rw"),
        ("{node: alice, do: guess-group, group: ecp257}", "'ecp257' is no key exchange that is supported"),
        ("{node: alice, do: cookie, exchange: IKE_AUTH}", "faults.0.exchange: unknown key"),
    ],
)
def test_a_mistake_is_refused_with_its_line(fault: str, words: str) -> None:
    text = TEXT + f"faults:\n  - {fault}\n"
    (problem,) = problems(text)
    assert problem.startswith(f"lab.yaml:{line_of(text, fault)}: faults.0")
    assert words in problem


def test_a_fault_that_never_fires_is_a_warning_with_its_line() -> None:
    result = faulty(
        "node: alice, do: drop, exchange: IKE_SA_INIT", "node: moon, do: drop, exchange: IKE_FOLLOWUP_KE"
    )
    place = len(TEXT.splitlines()) + 3
    assert result.summary["warnings"] == [
        f"lab.yaml:{place}: faults.1: never applied: moon sent no such message"
    ]


def test_a_message_that_is_held_to_the_end_is_a_warning() -> None:
    result = faulty("node: moon, do: reorder, exchange: IKE_AUTH", overrides=(*QUIET, "duration=1 s"))
    (warning,) = result.summary["warnings"]
    assert "1 messages of moon still wait for the next one to overtake them" in warning


def test_a_dropped_message_is_counted_where_it_is_dropped_and_told() -> None:
    result = faulty("node: moon, do: drop, exchange: IKE_AUTH, message: response")
    assert result.summary["drops"] == [
        {"node": "moon", "reason": "fault: drop IKE_AUTH response", "packets": 1}
    ]
    (row,) = result.events[result.events.event == "fault"].to_dict("records")
    assert (row["node"], row["connection"], row["detail"]) == ("moon", "rw", "drop IKE_AUTH response")


def test_every_sending_counts_for_a_fault_of_the_wire_and_each_message_once_for_its_content() -> None:
    overrides = (*QUIET, "tunnels.rw.retransmit=libreswan")
    wire = faulty("node: alice, do: drop, exchange: IKE_AUTH, count: 2", overrides=overrides)
    assert [row["state"] for row in wire.summary["connections"]] == ["established"] * 2
    assert wire.summary["connections"][0]["retransmits"] == 2
    content = faulty(
        "node: moon, do: drop, exchange: IKE_SA_INIT",
        "node: alice, do: critical-payload, exchange: IKE_SA_INIT, nth: 2",
        overrides=overrides,
    )
    assert "faults.1: never applied" in content.summary["warnings"][0]


def test_faults_repeat_with_the_seed() -> None:
    fault = "node: alice, do: corrupt, exchange: IKE_AUTH"
    one, two, other = (faulty(fault, seed=seed) for seed in (1, 1, 2))
    assert one.summary["capture_sha256"] == two.summary["capture_sha256"] != other.summary["capture_sha256"]


def test_a_fault_that_does_nothing_changes_no_octet() -> None:
    idle = faulty("node: alice, do: corrupt, exchange: IKE_AUTH, message: response")
    plain = sim.run(load_text(TEXT, "lab.yaml", QUIET), capture=True)
    assert idle.summary["capture_sha256"] == plain.summary["capture_sha256"]


def test_faults_survive_expansion_and_setting() -> None:
    text = changed(("checks:", "faults:\n  - {node: alice, do: drop}\nchecks:"))
    scenario = sim.expand(load_text(text, overrides=["faults.0.count=all"]))
    assert [(fault.node, fault.do, fault.count) for fault in scenario.faults] == [("alice", "drop", "all")]
    assert "drop" in str(scenario.plain()["faults"])


def test_the_example_of_the_readme_is_a_scenario() -> None:
    readme = Path("README.md").read_text()
    block = readme.split("### Faults\n\n```yaml\n")[1].split("```")[0]
    scenario = load_text(TEXT + block, "lab.yaml")
    assert [fault.do for fault in scenario.faults] == ["drop", "corrupt", "replay", "cookie", "guess-group"]


def test_the_lab_of_the_cookie_takes_three_requests() -> None:
    result = sim.run(Path("topologies/faults/cookie-and-wrong-group.yaml"))
    sent = [passage for passage in result.world.trace.passages if passage.node == "moon"]
    words = [passage.payloads for passage in sent if passage.exchange == "IKE_SA_INIT"]
    assert ["N(COOKIE)" in text for text in words] == [False, True, True]
    assert len({passage.size for passage in sent[:3]}) == 3
