"""The `faults:` of a scenario at work, and those that never were."""

from __future__ import annotations

from collections.abc import Iterator

from sim.ike.algorithms import TOKENS
from sim.ike.constants import ExchangeType
from sim.ike.faults import Fault, Faults, Verb
from sim.scenario.errors import Problem
from sim.scenario.schema import Fault as FaultModel
from sim.scenario.schema import Scenario
from sim.scenario.world import World


def faults_of(world: World, node: str) -> Faults | None:
    """The faults of one node; None for a node without."""
    own = [_fault(model) for model in world.scenario.faults if model.node == node]
    return Faults(own, world.sim.rand(f"fault:{node}")) if own else None


def never_applied(world: World) -> Iterator[Problem]:
    """What a user should know after the run: faults that had nothing to act on, and what they still hold."""
    for node, indices in _by_node(world.scenario).items():
        if node in world.attached:
            continue
        stack = world.stacks.get(node)
        faults = None if stack is None else stack.faults
        for place, index in enumerate(indices):
            if faults is None or not faults.applied[place]:
                text = f"never applied: {node} sent no such message"
                yield world.scenario.problem(("faults", index), text)
        if faults is not None and faults.held:
            text = f"{faults.held} messages of {node} still wait for the next one to overtake them"
            yield world.scenario.problem(("faults", indices[0]), text)


def _by_node(scenario: Scenario) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, model in enumerate(scenario.faults):
        found.setdefault(model.node, []).append(index)
    return found


def _fault(model: FaultModel) -> Fault:
    exchange, message = getattr(model, "exchange", None), getattr(model, "message", None)
    group = getattr(model, "group", None)
    return Fault(
        verb=Verb(model.do),
        exchange=ExchangeType[exchange] if exchange else None,
        response=None if message is None else message == "response",
        connection=model.connection or "",
        nth=model.nth,
        count=None if model.count == "all" else model.count,
        delay=getattr(model, "after", 0) or getattr(model, "by", 0),
        bit=getattr(model, "bit", None),
        group=TOKENS[group].id if group else None,
        accept=getattr(model, "accept", True),
    )
