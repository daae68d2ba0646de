"""One heap for all deadlines, with lazy invalidation."""

from __future__ import annotations

from sim.ike.timers import Timers


def test_deadlines_fire_in_order_and_once() -> None:
    timers, fired = Timers(), []
    for key, at in (("b", 20), ("a", 10), ("c", 30)):
        timers.arm(key, at, lambda now, key=key: fired.append((key, now)))  # type: ignore[misc]

    assert timers.next() == 10
    timers.fire_due(25)
    assert fired == [("a", 25), ("b", 25)]
    timers.fire_due(25)
    assert fired == [("a", 25), ("b", 25)]
    assert timers.next() == 30


def test_arming_again_replaces_and_cancelling_removes() -> None:
    timers, fired = Timers(), []
    timers.arm("a", 10, lambda now: fired.append("early"))
    timers.arm("a", 20, lambda now: fired.append("late"))
    timers.arm("b", 5, lambda now: fired.append("cancelled"))
    timers.cancel("b")
    timers.cancel("never armed")

    timers.fire_due(15)
    assert fired == []
    assert timers.next() == 20
    timers.fire_due(20)
    assert fired == ["late"]
    assert timers.next() is None


def test_a_timer_may_arm_and_cancel_others() -> None:
    timers, fired = Timers(), []

    def fire(now: int) -> None:
        timers.cancel("b")
        timers.arm("c", now, lambda due: fired.append("c"))

    timers.arm("a", 10, fire)
    timers.arm("b", 10, lambda now: fired.append("b"))
    timers.fire_due(10)

    assert fired == ["c"]


def test_the_heap_does_not_grow_with_rearming() -> None:
    timers = Timers()
    for at in range(10_000):
        timers.arm("keepalive", at, lambda now: None)

    assert len(timers) == 1
    assert len(timers._heap) < 200
