"""Every way to fail has a reason at each end, and one sentence about both (issue 4, "Explained failures")."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import NamedTuple

import pytest
from rich.console import Console

import sim
from sim.experiment.failures import Failure, View
from sim.experiment.recording import Recording
from sim.ike.events import Reason
from sim.scenario.load import load_text

TEXT = """\
name: pair
duration: 200 s
nodes:
  alice: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  net: {kind: router, interfaces: {a: 192.0.2.254/24, m: 198.51.100.254/24}}
  moon: {kind: host, interfaces: {eth: 198.51.100.1/24}}
links:
  - {ends: [alice:eth, net:a], delay: 5 ms}
  - {ends: [net:m, moon:eth], delay: 5 ms}
connections:
  alice:
    rw:
      remote_addrs: [198.51.100.1]
      local_id: alice.example
      remote_id: moon.example
      psk: secret
      children: {net: {start_action: start}}
  moon:
    rw: {local_id: moon.example, psk: secret, children: {net: {}}}
"""
A, M = "connections.alice.rw", "connections.moon.rw"
LOST = "links.1.loss={up: 100 %, down: 0 %}"
INIT = "aes128gcm16-prfsha256"


class Case(NamedTuple):
    """`reasons` and parts of the texts of alice and of moon, and the sentence about both, cut short."""

    overrides: list[str]
    reasons: tuple[str, str]
    texts: tuple[str, str]
    explanation: str


def fault(text: str) -> str:
    return f"faults=[{{{text}}}]"


CASES = {
    "no IKE proposal": Case(
        [f"{M}.proposals=[aes256-sha256-modp2048]"],
        ("NO_PROPOSAL_CHOSEN", "NO_PROPOSAL_CHOSEN"),
        ("refused IKE_SA_INIT: NO_PROPOSAL_CHOSEN; we offered aes128gcm16", "no IKE proposal in common"),
        "moon refused alice: no IKE proposal in common: alice offered aes128gcm16-prfsha256-x25519; "
        "moon accepts aes256-sha256-modp2048",
    ),
    "no ESP proposal": Case(
        [f"{M}.children.net.esp_proposals=[aes256-sha256]"],
        ("NO_PROPOSAL_CHOSEN", "NO_PROPOSAL_CHOSEN"),
        ("refused it: NO_PROPOSAL_CHOSEN; we offered aes128gcm16", "no ESP proposal in common"),
        "moon refused alice: no ESP proposal in common: alice.example offered aes128gcm16; "
        "moon accepts aes256-sha256",
    ),
    "no traffic selectors": Case(
        [f"{M}.children.net.remote_ts=[10.9.0.0/16]"],
        ("TS_UNACCEPTABLE", "TS_UNACCEPTABLE"),
        ("refused it: TS_UNACCEPTABLE", "no traffic selectors in common"),
        "moon refused alice: no traffic selectors in common: alice.example offered "
        "192.0.2.1/32 === 198.51.100.1/32; moon allows 10.9.0.0/16 === 198.51.100.1/32",
    ),
    "wrong secret": Case(
        [f"{M}.psk=other"],
        ("AUTHENTICATION_FAILED", "AUTHENTICATION_FAILED"),
        ("rejected our pre-shared key or identity", "did not prove that it knows our pre-shared key"),
        "moon refused alice: alice.example did not prove that it knows moon's pre-shared key",
    ),
    "identity of the initiator": Case(
        [f"{M}.remote_id=bob.example"],
        ("AUTHENTICATION_FAILED", "ID_NOT_ACCEPTED"),
        ("rejected our pre-shared key or identity", "no connection is for a peer alice.example"),
        "moon refused alice: no connection is for a peer alice.example that asks for moon.example",
    ),
    "identity of the responder": Case(
        [f"{A}.remote_id=sun.example"],
        ("AUTHENTICATION_FAILED", "ID_NOT_ACCEPTED"),
        ("rejected our pre-shared key or identity", "asks for sun.example"),
        "moon refused alice: no connection is for a peer alice.example that asks for sun.example",
    ),
    "unknown peer": Case(
        [f"{M}.remote_addrs=[192.0.2.254]"],
        ("NO_PROPOSAL_CHOSEN", "UNKNOWN_PEER"),
        ("refused IKE_SA_INIT: NO_PROPOSAL_CHOSEN", "is for a peer with the initiator's address"),
        "moon refused alice: no connection is for a peer with alice's address",
    ),
    "silence to IKE_SA_INIT": Case(
        [LOST],
        ("TIMEOUT", ""),
        ("did not answer HDR, SAi1", ""),
        "moon did not answer HDR... within 165.06112 s, sent 6 times; "
        "6 of 6 requests lost at net (lost on link)",
    ),
    "silence to IKE_AUTH": Case(
        [fault("node: moon, do: drop, exchange: IKE_AUTH, count: all"), f"{A}.mobike=false"],
        ("TIMEOUT", ""),
        ("did not answer HDR, SK {IDi, IDr, AUTH", ""),
        "moon did not answer HDR... within 165.06112 s, sent 6 times; "
        "6 of 6 answers lost at moon (fault: drop IKE_AUTH)",
    ),
    "no IKE_AUTH ever comes": Case(
        [fault("node: alice, do: drop, exchange: IKE_AUTH, count: all")],
        ("TIMEOUT", "ABANDONED"),
        ("did not answer HDR, SK {IDi", "went no further than IKE_SA_INIT"),
        "moon did not answer HDR... within 165.06112 s, sent 6 times; "
        "6 of 6 requests lost at alice (fault: drop IKE_AUTH)",
    ),
    "corrupted requests": Case(
        [fault("node: alice, do: corrupt, exchange: IKE_AUTH, count: all, bit: 400"), "duration=40 s"],
        ("", "ABANDONED"),
        ("", "went no further than IKE_SA_INIT"),
        "alice went no further than IKE_SA_INIT",
    ),
    "malformed requests": Case(
        [fault("node: alice, do: corrupt, exchange: IKE_SA_INIT, count: all, bit: 240")],
        ("TIMEOUT", ""),
        ("did not answer HDR, SAi1", ""),
        "moon did not answer HDR... within 165.06112 s, sent 6 times; "
        "6 of 6 requests without effect at moon (malformed message)",
    ),
    "groups in a circle": Case(
        [f"{A}.proposals=[{INIT}-x25519-ecp256]", f"{M}.proposals=[{INIT}-x25519-ecp256]",
         fault("node: moon, do: ask-group, count: all")],
        ("INVALID_KE_PAYLOAD", "INVALID_KE_PAYLOAD"),
        ("asks for group 31, not offered or sent already", "must send a key exchange of group 31"),
        "moon refused alice: alice must send a key exchange of group 31, not 19",
    ),
    "refused cookie": Case(
        [fault("node: moon, do: cookie, accept: false, count: all")],
        ("COOKIE_REFUSED", "COOKIE_REFUSED"),
        ("takes no cookie", "not one that we made"),
        "moon refused alice: alice's cookie is not one that moon made for it, or too old",
    ),
    "unknown critical payload in clear": Case(
        [fault("node: alice, do: critical-payload, exchange: IKE_SA_INIT")],
        ("UNSUPPORTED_CRITICAL_PAYLOAD", "UNSUPPORTED_CRITICAL_PAYLOAD"),
        ("refused IKE_SA_INIT: UNSUPPORTED_CRITICAL_PAYLOAD", "insists on a payload of type 200"),
        "moon refused alice: alice insists on a payload of type 200, which is not known here",
    ),
    "unknown critical payload, protected": Case(
        [fault("node: alice, do: critical-payload, exchange: IKE_AUTH")],
        ("UNSUPPORTED_CRITICAL_PAYLOAD", "UNSUPPORTED_CRITICAL_PAYLOAD"),
        ("refused IKE_AUTH: UNSUPPORTED_CRITICAL_PAYLOAD", "insists on a payload of type 200"),
        "moon refused alice: alice insists on a payload of type 200, which is not known here",
    ),
    "unknown critical payload in the answer": Case(
        [fault("node: moon, do: critical-payload, exchange: IKE_AUTH")],
        ("UNSUPPORTED_CRITICAL_PAYLOAD", "UNSUPPORTED_CRITICAL_PAYLOAD"),
        ("a critical payload of the response is unknown", "closed the IKE SA: UNSUPPORTED_CRITICAL_PAYLOAD"),
        "alice refused moon: a critical payload of the response is unknown",
    ),
    "another major version": Case(
        [fault("node: alice, do: bump-version, exchange: IKE_SA_INIT, count: all")],
        ("INVALID_MAJOR_VERSION", "INVALID_MAJOR_VERSION"),
        ("refused IKE_SA_INIT: INVALID_MAJOR_VERSION", "major version 3 of IKE"),
        "moon refused alice: major version 3 of IKE",
    ),
    "no address": Case(
        ["events=[{at: 150 s, node: alice, do: up, interface: eth}]"],
        ("NO_ADDRESS", ""),
        ("this host has no address, of an interface that is up", ""),
        "alice: this host has no address, of an interface that is up, to call from",
    ),
    "deleted by the peer": Case(
        [],
        ("DELETED_BY_PEER", "DELETED"),
        ("deleted it", "deleted by us"),
        "moon ended it with alice: deleted by moon",
    ),
    "liveness": Case(
        [f"{A}.dpd_delay=2 s", "events=[{at: 1 s, node: net, do: down, interface: m}]", "duration=200 s"],
        ("TIMEOUT", ""),
        ("did not answer HDR, SK {N(NAT_DETECTION_SOURCE_IP)", ""),
        "moon did not answer HDR... within 165.06112 s, sent 6 times; 6 of 6 requests lost at net (no route)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_both_ends_and_one_sentence(name: str) -> None:
    case = CASES[name]
    alice, moon = ended(name).summary["connections"]

    assert (alice["reason"], moon["reason"]) == case.reasons
    for row, text in zip((alice, moon), case.texts, strict=True):
        assert text in row["text"]
        assert bool(text) == bool(row["text"])
    explanations = {shortened(row["explanation"]) for row in (alice, moon) if row["reason"]}
    assert explanations == {case.explanation}
    assert all(row["reason"] in ("", *Reason) for row in (alice, moon))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if all(case.reasons)])
def test_each_end_has_the_view_of_the_other(name: str) -> None:
    alice, moon = ended(name).summary["connections"]

    assert (alice["peer_reason"], alice["peer_text"]) == (moon["reason"], moon["text"])
    assert (moon["peer_reason"], moon["peer_text"]) == (alice["reason"], alice["text"])


@pytest.mark.parametrize("name", [name for name in CASES if name != "no address"])
def test_the_events_table_and_the_output_tell_it(name: str) -> None:
    result, explanation = ended(name), CASES[name].explanation
    told = result.events[result.events.event == ("ended" if "deleted" in name else "failure")]
    assert explanation in map(shortened, told.detail)
    assert set(told.connection) == {"rw"}
    assert explanation in shortened(" ".join(printed(result).split()))


def test_what_is_well_has_no_explanation() -> None:
    result = sim.run(load_text(TEXT, "lab.yaml", ["duration=1 s"]))
    keys = ("reason", "text", "peer_reason", "peer_text", "explanation")
    assert [[row[key] for key in keys] for row in result.summary["connections"]] == [[""] * 5] * 2
    assert "failure" not in set(result.events.event)


def test_a_detour_over_another_group_explains_no_later_failure() -> None:
    faults = "faults=[{node: moon, do: ask-group}, {node: alice, do: drop, nth: 2, count: all}]"
    groups = [f"{end}.proposals=[{INIT}-x25519-ecp256]" for end in (A, M)]
    alice, moon = sim.run(load_text(TEXT, "lab.yaml", [*groups, faults])).summary["connections"]
    assert (alice["reason"], alice["peer_reason"], moon["reason"]) == ("TIMEOUT", "", "")
    assert alice["explanation"].endswith("6 of 6 requests lost at alice (fault: drop)")


def test_too_many_half_open_sas_are_refused_in_silence_and_explained() -> None:
    """The fifth attempt from one address gets no answer; only the other end knows why."""
    calling = "{remote_addrs: [198.51.100.1], psk: secret, children: {net: {start_action: start}}}"
    many = [f"connections.alice.c{number}={calling}" for number in range(6)]
    faults = "faults=[{node: alice, do: drop, exchange: IKE_AUTH, count: all}]"
    overrides = [*many, f"{A}.children.net.start_action=none", faults, "duration=20 s"]
    rows = sim.run(load_text(TEXT, "lab.yaml", overrides)).summary["connections"]
    silent = [row for row in rows if row["peer_reason"] == "TOO_MANY_HALF_OPEN"]
    assert silent
    assert silent[0]["explanation"] == "moon refused alice: 5 half-open IKE SAs from alice's address"


def shortened(text: str) -> str:
    return re.sub(r"did not answer HDR[^;]* within", "did not answer HDR... within", text)


@cache
def ended(name: str) -> sim.Result:
    """The run of a case; moon deletes the IKE SA half way in one, and one ends there."""
    world = sim.build(load_text(TEXT, "lab.yaml", CASES[name].overrides))
    world.sim.run(world.scenario.duration // 2)
    if name == "deleted by the peer":
        moon = world.stacks["moon"]
        moon.endpoint.delete("rw", world.sim.now)
        moon.pump(world.sim.now)
    if name != "no address":
        world.sim.run(world.scenario.duration)
    with Recording(world, None, None) as recording:
        return recording.finish(0)


def printed(result: sim.Result) -> str:
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(result.render())
    return console.export_text()


TLS = """\
name: pair
duration: 10 s
pki: {nodes: {%s: {fault: %s}}}
nodes:
  alice: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  moon: {kind: host, interfaces: {eth: 192.0.2.2/24}}
links:
  - {ends: [alice:eth, moon:eth], delay: 5 ms}
tunnels:
  t: {initiator: alice, responder: moon, auth: {method: eap-tls}, children: {net: {}}}
"""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "CERTIFICATE_EXPIRED"),
        ("revoked", "CERTIFICATE_REVOKED"),
        ("untrusted", "NO_TRUSTED_ISSUER"),
    ],
)
@pytest.mark.parametrize(("bad", "judge"), [("alice", "moon"), ("moon", "alice")])
def test_of_a_tls_handshake_that_fails_the_end_that_judged_the_certificate_is_named(
    bad: str, judge: str, fault: str, reason: str
) -> None:
    """RFC 5216 2.1.3: who gets an alert has refused nobody, whichever end it is."""
    rows = {row["node"]: row for row in sim.run(load_text(TLS % (bad, fault)), 1).summary["connections"]}

    assert (rows[judge]["reason"], rows[bad]["reason"]) == (reason, "TLS_FAILURE")
    assert f"] refused O=ipsec-sim, CN={bad}: TLS failed: " in rows[bad]["text"]
    for row in rows.values():
        assert row["explanation"].startswith(f"{judge} refused {bad}: O=ipsec-sim, CN={bad} is not authentic")


def test_the_verb_fits_the_node_that_we_stands_for() -> None:
    view = View(0, Reason.UNKNOWN_USER, "eve is no user that we know")
    failure = Failure(b"", "alice", "moon", "t", [], {"moon": view})

    assert failure.explanation == "moon refused alice: eve is no user that moon knows"
