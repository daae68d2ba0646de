"""tshark reads with our keys what was on the real wire at our interface: every exchange, every path.

Each message and each packet is decrypted and authentic, nothing is malformed, and tshark has no warning about
what we sent. Wireshark 4.0 cannot decrypt ChaCha20-Poly1305: of that, nothing is malformed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import pytest

from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.events import IkeSaDown, MessageReceived, Rejected
from sim.units import NS_PER_S
from tests.interop.netns import Lab, until
from tests.interop.ping import ping
from tests.interop.scene import QUICK, ROLES, SUITES, Path, Role, Scene, set_up
from tests.interop.sniffer import Sniffer, write_capture
from tests.interop.test_exchanges import open_half
from tests.interop.test_topologies import IKE_SA_INIT, WARNING, Frame, frames
from tests.peers import require

OFFLOADED = ("udp.check_checksum:FALSE", "ip.check_checksum:FALSE")
"""A veth leaves checksums of UDP to a network card that does not exist."""
PINGS = 20
MOVED_TO = "192.168.1.77"
CHACHA = "chacha20poly1305-prfsha512-x25519"
WHOLE_TUNNELS = [
    *((suite, role, "veth") for suite in SUITES for role in ROLES),
    *((suite, ROLES[n % 2], path) for n, suite in enumerate(SUITES) for path in ("masquerade", "simulated")),
]

pytestmark = pytest.mark.peers

Stage = Callable[..., Scene]


@pytest.fixture
def stage(lab: Lab) -> Stage:
    """Sets a scene up, with our keys in a file."""
    require("tshark")
    return partial(set_up, lab, keys=True)


@pytest.mark.parametrize(("suite", "role", "path"), WHOLE_TUNNELS)
def test_a_whole_tunnel_over_every_path(stage: Stage, lab: Lab, suite: str, role: Role, path: Path) -> None:
    scene = stage(role, path, suite=suite)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    assert ping(scene.ours.namespace, scene.their_inner, size=1400, count=PINGS).received == PINGS
    assert ping(scene.theirs.namespace, scene.our_inner, size=300, count=PINGS).received == PINGS
    scene.ours.delete()
    scene.idle()

    seen = read(lab, scene, wire, opaque=suite == CHACHA)

    assert sum(1 for one in seen if one.frame.spi) == 4 * PINGS
    if suite != CHACHA:
        assert asked(seen, ExchangeType.INFORMATIONAL).count("we") >= 1  # the DELETE


def test_a_cookie_that_strongswan_demands(stage: Stage, lab: Lab, path: Path) -> None:
    scene = stage("we initiate", path, daemon="cookie_threshold = 1")
    open_half(scene)
    scene.theirs.expect("parsed IKE_SA_INIT request")
    wire = Sniffer(scene.ours.namespace)
    scene.establish()

    assert notified(read(lab, scene, wire), NotifyType.COOKIE) == ["they", "we"]


def test_a_cookie_that_we_demand(stage: Stage, lab: Lab, path: Path) -> None:
    scene = stage("we respond", path, limits={"cookie_threshold": 1}, daemon=QUICK)
    open_half(scene)
    scene.ours.event(MessageReceived)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()

    demanded, *returned = notified(read(lab, scene, wire), NotifyType.COOKIE)
    assert demanded == "we"
    assert set(returned) == {"they"}


def test_no_common_proposal(stage: Stage, lab: Lab, role: Role, path: Path) -> None:
    limits = {"error_patience": NS_PER_S // 10}
    scene = stage(role, path, theirs={"proposals": "aes256-sha256-modp2048"}, limits=limits)
    wire = Sniffer(scene.ours.namespace)
    scene.attempt()
    scene.ours.event(IkeSaDown if role == "we initiate" else Rejected)
    scene.idle()

    who = notified(read(lab, scene, wire), NotifyType.NO_PROPOSAL_CHOSEN)
    assert set(who) == {refuser(role)}


def test_a_group_that_the_responder_does_not_want(stage: Stage, lab: Lab, role: Role) -> None:
    x25519, modp = "aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-modp2048"
    both, one = {"proposals": f"{x25519},{modp}"}, {"proposals": modp}
    ours, theirs = (both, one) if role == "we initiate" else (one, both)
    scene = stage(role, ours=ours, theirs=theirs, daemon=QUICK)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()

    assert notified(read(lab, scene, wire), NotifyType.INVALID_KE_PAYLOAD) == [refuser(role)]


def test_no_common_proposal_for_the_child(stage: Stage, lab: Lab, role: Role) -> None:
    scene = stage(role, theirs={"esp_proposals": "aes256-sha256"})
    wire = Sniffer(scene.ours.namespace)
    scene.attempt()
    until(lambda: scene.ours.sas(), scene.ours.story)

    assert notified(read(lab, scene, wire), NotifyType.NO_PROPOSAL_CHOSEN) == [refuser(role)]


def test_a_wrong_secret(stage: Stage, lab: Lab, role: Role, path: Path) -> None:
    scene = stage(role, path, theirs={"psk": "not that one"})
    wire = Sniffer(scene.ours.namespace)
    scene.attempt()
    scene.ours.event(IkeSaDown)
    scene.idle()

    assert notified(read(lab, scene, wire), NotifyType.AUTHENTICATION_FAILED) == [refuser(role)]


@pytest.mark.parametrize("esp", ["aes128gcm16", "aes128gcm16-x25519"], ids=["without KE", "with KE"])
def test_a_child_rekeyed_by_strongswan(stage: Stage, lab: Lab, role: Role, esp: str) -> None:
    both = {"esp_proposals": esp}
    scene = stage(role, "masquerade", ours=both, theirs=both, daemon="delete_rekeyed_delay = 0")
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    old = scene.ours.child()
    assert ping(scene.ours.namespace, scene.their_inner, count=PINGS).received == PINGS
    scene.theirs.rekey(child="net")
    until(lambda: installed(scene) - {old.spi_out}, scene.theirs.log)
    until(lambda: len(scene.ours.pairs()) == 1, scene.ours.story)
    assert ping(scene.ours.namespace, scene.their_inner, count=PINGS).received == PINGS

    seen = read(lab, scene, wire)

    assert notified(seen, NotifyType.REKEY_SA) == ["they"]
    assert asked(seen, ExchangeType.CREATE_CHILD_SA) == ["they"]
    assert len(packets_of(seen)) == 4


def test_a_move(stage: Stage, lab: Lab, role: Role) -> None:
    """UPDATE_SA_ADDRESSES, and a COOKIE2 for the new address to answer (RFC 4555 3.5, 3.7)."""
    anywhere = {"local": "%any"}
    scene = stage(role, "masquerade", **{"ours" if role == "we initiate" else "theirs": anywhere})
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    assert ping(scene.ours.namespace, scene.their_inner, count=PINGS).received == PINGS
    old = scene.ours.child().spi_in
    scene.initiator.move("eth0", f"{MOVED_TO}/24", "192.168.1.1")
    until(lambda: scene.ours.sa().children and scene.ours.child().spi_in != old, scene.ours.story)
    assert ping(scene.ours.namespace, scene.their_inner, count=PINGS).received == PINGS

    seen = read(lab, scene, wire)

    mover = "we" if role == "we initiate" else "they"
    assert set(notified(seen, NotifyType.UPDATE_SA_ADDRESSES)) == {mover}


def test_liveness_checks_and_keepalives(stage: Stage, lab: Lab, role: Role, path: Path) -> None:
    """Each side asks, and whoever is behind a NAT keeps its mapping alive (RFC 3948 4)."""
    scene = stage(
        role,
        path,
        ours={"settings": {"keep_alive": "100 ms"}},
        theirs={"settings": {"dpd_delay": "1s"}},
        daemon="keep_alive = 1s",
    )
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    scene.ours.check_liveness()
    scene.theirs.expect(r"(?s)sending DPD request.*parsed INFORMATIONAL response")

    seen = read(lab, scene, wire)

    assert set(asked(seen, ExchangeType.INFORMATIONAL)) == {"we", "they"}
    kept = [one.by for one in seen if one.frame.keepalive]
    if scene.nat and role == "we initiate":
        assert "we" in kept


@dataclass(frozen=True)
class Seen:
    """One packet as tshark tells of it, and which side it left."""

    frame: Frame
    by: Literal["we", "they"]

    def asks(self, exchange: ExchangeType) -> bool:
        return self.frame.exchange == str(int(exchange)) and self.frame.response == "0"

    @property
    def notifies(self) -> list[str]:
        return self.frame.notifies.split(",")


class Speaker(Protocol):
    """A scene of which it is known where we are."""

    @property
    def our_address(self) -> str: ...


def read(lab: Lab, scene: Speaker, wire: Sniffer, *, opaque: bool = False, warning: str = "") -> list[Seen]:
    """What tshark says of each packet, and it has nothing to object to but perhaps one `warning`.

    `opaque` suites it cannot decrypt.
    """
    write_capture(lab.folder / "capture.pcapng", wire.packets())
    mine = {scene.our_address, MOVED_TO}
    seen = [Seen(frame, "we" if frame.source in mine else "they") for frame in frames(lab.folder, *OFFLOADED)]
    for one in seen:
        assert_clean(one, opaque, warning)
    assert {one.by for one in seen} == {"we", "they"}
    return seen


def assert_clean(seen: Seen, opaque: bool, warning: str = "") -> None:
    frame = seen.frame
    assert not frame.malformed, seen
    if opaque:
        return
    expected = bool(warning) and warning in frame.messages
    assert seen.by == "they" or frame.worst < WARNING or expected, seen
    if frame.spi:
        assert frame.contained, seen
        assert (frame.icv_good, frame.icv_bad) == ("1", "0"), seen
    elif frame.exchange and frame.exchange != IKE_SA_INIT:
        assert frame.decrypted, seen
        assert not frame.bad_ike_icv, seen


def notified(seen: list[Seen], notify: NotifyType) -> list[str]:
    """Who sent that notification, each time; messages of strangers and of repetitions count."""
    return [one.by for one in seen if str(int(notify)) in one.notifies]


def asked(seen: list[Seen], exchange: ExchangeType) -> list[str]:
    """Who sent a request of that kind, each time."""
    return [one.by for one in seen if one.asks(exchange)]


def packets_of(seen: list[Seen]) -> set[str]:
    """The SPIs of ESP."""
    return {one.frame.spi for one in seen if one.frame.spi}


def refuser(role: Role) -> str:
    """Who responds."""
    return "they" if role == "we initiate" else "we"


def installed(scene: Scene) -> set[int]:
    """The inbound SPIs that strongSwan uses."""
    (sa,) = scene.theirs.sas()
    return {child.spi_in for child in sa.children if child.state == "INSTALLED"}
