"""The outage of a handover is detection and round trips, exactly, and lost requests add the timers' steps."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sim
from sim.experiment.result import Result
from sim.experiment.studies import handover
from sim.units import NS_PER_MS

TOPOLOGY = Path("topologies/mobike/handover.yaml")
RESULTS = Path("results/handover/handover.csv")
ONE_WAY = (40 + 4 + 1) * NS_PER_MS
"""Over the new access: nothing takes time to send there, so this is all."""
UP_AT = (2000 + 200) * NS_PER_MS
"""The move, and the gap: with the new interface the host detects that it has moved."""
_DOWN = {
    "name": "down", "kind": "cbr", "from": "bob", "to": "alice", "size": "200 B", "rate": "160 kbit/s",
    "start": "1 s",
}  # fmt: skip
STEPS_MS = {"libreswan": (500, 500, 1000), "strongswan": (4000, 7200, 12960), "iked": (2000, 4000, 8000)}


@pytest.mark.parametrize(("policy", "round_trips"), [("none", 1), ("before", 2)])
def test_break_before_make_takes_detection_and_a_round_trip_more_with_return_routability(
    policy: str, round_trips: int
) -> None:
    """Until the gateway's first packet is there: one way for the request, one for it, and the test between.

    The host itself uses the new path at once.
    """
    result = _moved({"tunnels.rw.return_routability": policy})
    assert _changed_at(result, "moon") == UP_AT + (2 * round_trips - 1) * ONE_WAY
    assert _changed_at(result, "alice") == UP_AT
    record = result.world.flows["down"].record
    first = min(at for at in list(record.received_at) if at > UP_AT)
    sent = next(at for at in list(record.sent_at) if at >= _changed_at(result, "moon"))
    assert first == sent + ONE_WAY


@pytest.mark.parametrize("timers", STEPS_MS)
@pytest.mark.parametrize(("policy", "lost"), [("none", 1), ("before", 2), ("none", 3)])
def test_lost_requests_shift_it_by_the_timers_steps(timers: str, policy: str, lost: int) -> None:
    fault = {"node": "alice", "do": "drop", "exchange": "INFORMATIONAL", "message": "request", "count": lost}
    changes = {"tunnels.rw.retransmit": timers, "tunnels.rw.return_routability": policy, "duration": "40 s"}
    result = _moved({**changes, "faults": [fault]})
    shift = list(accumulate(STEPS_MS[timers]))[lost - 1] * NS_PER_MS
    ways = 3 if policy == "before" else 1
    assert _changed_at(result, "moon") == UP_AT + shift + ways * ONE_WAY


def test_make_before_break_has_no_outage_and_loses_nothing() -> None:
    table = handover.study(TOPOLOGY, delays_ms=[40], losses=[0], mechanisms=["make before break"], seeds=1)
    assert [table[name][0] for name in ("up_outage_ms", "down_outage_ms", "up_lost", "down_lost")] == [
        0,
        0,
        0,
        0,
    ]


def test_dynamic_update_takes_no_message_of_ike() -> None:
    """The gateway follows the first authenticated packet: one way after the NAT is back (RFC 7296 2.23)."""
    result = sim.run(sim.load(TOPOLOGY, handover.variant("dynamic update", 40, 0, "home")))
    assert not [entry for entry in result.world.log if entry.event == "ike sent" and entry.at > UP_AT]
    assert _changed_at(result, "moon") == UP_AT + 5 * NS_PER_MS  # a packet that waited 40 ms on alice's side


def test_the_reference_result_is_what_a_new_run_gives() -> None:
    chosen: dict[str, list[Any]] = {
        "delays_ms": [40],
        "losses": [0.02],
        "mechanisms": ["make before break", "reauthentication"],
    }
    again = handover.study(TOPOLOGY, seeds=2, **chosen)  # type: ignore[arg-type]
    kept = pd.read_csv(RESULTS)
    kept = kept[(kept.delay_ms == 40) & (kept.loss == 0.02) & (kept.seed <= 2)]
    kept = kept.loc[[name in chosen["mechanisms"] for name in kept.mechanism]].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, again, check_dtype=False, atol=0.001)


def _moved(changes: dict[str, object]) -> Result:
    """Only IKE comes from the host: without a test of the address its ESP would move the SAs as well."""
    return sim.run(sim.load(TOPOLOGY, {"checks": [], "capture": [], "traffic": [_DOWN], **changes}))


def _changed_at(result: Result, node: str) -> int:
    """When the SAs of a node went to another path first (ns)."""
    return next(entry.at for entry in result.world.log if (entry.node, entry.event) == (node, "path changed"))
