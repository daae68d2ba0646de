"""Events that happen when something has happened to a connection."""

from __future__ import annotations

from collections.abc import Callable

from sim.ike.events import Event, IkeSaDown, IkeSaUp, PathChanged
from sim.scenario.schema_events import Condition
from sim.scenario.world import World


def watch_for(world: World, condition: Condition, after: int, times: int, act: Callable[[int], None]) -> None:
    """Call `act` so long after each of the first `times` that the condition comes true."""
    left = times

    def watch(node: str, event: Event, now: int) -> None:
        nonlocal left
        if left and condition.node in (None, node) and _comes_true(condition, event, world, node):
            left -= 1
            world.sim.at(now + after, act)

    world.watchers.append(watch)


def _comes_true(condition: Condition, event: Event, world: World, node: str) -> bool:
    if isinstance(event, IkeSaUp):
        word = "rekeyed" if event.replaces else "established"
    elif isinstance(event, IkeSaDown):
        record = world.stacks[node].ledger.records.get(event.ike_id)
        word = record.state if record is not None else ""
    elif isinstance(event, PathChanged):
        word = "moved"
    else:
        return False
    return condition.is_ == word and event.connection == condition.connection
