"""strongSwan is stopped in the middle of an exchange, as by a power cut: we notice, and say why."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sim.ike.config import RetransmitPolicy
from sim.ike.events import ChildSaDown, ChildSaUp, IkeSaDown, Reason
from sim.units import NS_PER_MS
from tests.interop.netns import Lab, Namespace, until
from tests.interop.scene import Role, Scene, set_up
from tests.peers import require

SOON = RetransmitPolicy((100 * NS_PER_MS,) * 3)
ANYWHERE = {"local": "%any"}

pytestmark = pytest.mark.peers


def test_during_a_liveness_check(lab: Lab, role: Role) -> None:
    scene = set_up(lab, role, retransmit=SOON)
    scene.establish()
    with stopped(scene):
        scene.ours.check_liveness()
        assert_gone(scene, Reason.TIMEOUT, "did not answer HDR, SK {")


def test_during_our_delete(lab: Lab, role: Role) -> None:
    scene = set_up(lab, role, retransmit=SOON)
    scene.establish()
    with stopped(scene):
        scene.ours.delete()
        assert_gone(scene, Reason.DELETED, "deleted by us")
        until(lambda: scene.ours.sent("SK {D}")[-1].retransmission == 2, scene.ours.story)


def test_between_a_rekeying_and_the_delete_of_the_old_child(lab: Lab, role: Role) -> None:
    scene = set_up(lab, role, retransmit=SOON)
    scene.establish()
    deafen(scene.theirs.namespace)
    scene.theirs.rekey(child="net")
    until(lambda: len(scene.ours.pairs()) == 2, scene.ours.story)
    with stopped(scene):
        scene.ours.check_liveness()
        assert_gone(scene, Reason.TIMEOUT, "did not answer HDR, SK {")
    assert len(scene.ours.events(ChildSaUp)) == len(scene.ours.events(ChildSaDown)) == 2


def test_during_our_update_of_addresses(lab: Lab) -> None:
    scene = set_up(lab, "we initiate", "masquerade", ours=ANYWHERE, retransmit=SOON)
    scene.establish()
    with stopped(scene):
        scene.initiator.move("eth0", "192.168.1.77/24", "192.168.1.1")
        assert_gone(scene, Reason.TIMEOUT, "UPDATE_SA_ADDRESSES")


def test_after_its_update_of_addresses(lab: Lab) -> None:
    """We ask whether the new address answers (RFC 4555 3.7), and it does not."""
    scene = set_up(lab, "we respond", "masquerade", theirs=ANYWHERE, retransmit=SOON)
    scene.establish()
    scene.initiator.move("eth0", "192.168.1.77/24", "192.168.1.1")
    until(lambda: scene.ours.received("N(UPDATE_SA_ADDRESSES)"), scene.ours.story)
    with stopped(scene):
        scene.ours.check_liveness()
        assert_gone(scene, Reason.TIMEOUT, "did not answer")


def deafen(namespace: Namespace) -> None:
    """It hears nothing any more, so its exchange ends with its own request."""
    chain = "type filter hook input priority filter; policy accept; meta l4proto udp drop;"
    namespace.run(require("nft"), "-f", "-", stdin=f"table ip deaf {{ chain in {{ {chain} }}; }}\n")


@contextmanager
def stopped(scene: Scene) -> Iterator[None]:
    """strongSwan's ports stay open, but nobody reads there."""
    process = scene.theirs.process
    process.send(signal.SIGSTOP)
    until(lambda: threads(process.pid) == {"T"}, lambda: f"strongSwan still runs: {threads(process.pid)}")
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


def threads(pid: int) -> set[str]:
    """The states of a process's threads, as in proc(5)."""
    return {
        stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    }


def assert_gone(scene: Scene, reason: Reason, text: str) -> None:
    """One IKE SA ended for that reason, and nothing of it is left."""
    down = scene.ours.event(IkeSaDown)
    assert down.reason is reason, down
    assert text in down.text
    scene.ours.idle()
    print(f"\n{down.reason}: {down.text}")
