"""Single exchanges with strongSwan, each in both directions: who is asked, who refuses, and what is said.

All of them without a NAT, and with the initiator behind a real and behind a simulated one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Protocol

import pytest

from sim.ike.config import ConnectionConfig, EndpointConfig
from sim.ike.constants import ProtocolId
from sim.ike.endpoint import IkeEndpoint
from sim.ike.events import ChildFailed, IkeSaDown, IkeSaUp, MessageReceived, Reason, Rejected
from sim.ike.proposals import parse_proposal
from sim.live.netns import inside
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from tests.interop.netns import Lab, Namespace, until
from tests.interop.ping import ping
from tests.interop.scene import INITIATOR, QUICK, RESPONDER, Path, Role, Scene, set_up

pytestmark = pytest.mark.peers

Stage = Callable[..., Scene]

X25519, MODP = "aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-modp2048"


@pytest.fixture
def stage(lab: Lab, path: Path) -> Stage:
    """Sets a scene up over the path whose turn it is."""
    return partial(set_up, lab, path=path)


def test_strongswan_finds_us_alive(stage: Stage, role: Role) -> None:
    """Its DPD asks every second, and we answer."""
    scene = stage(role, theirs={"settings": {"dpd_delay": "1s"}})
    scene.establish()

    scene.theirs.expect(r"sending DPD request", times=2)
    scene.theirs.expect(r"parsed INFORMATIONAL response \d+", times=2)
    assert len(scene.theirs.sas()) == 1


def test_we_find_strongswan_alive_on_our_clock(stage: Stage, role: Role) -> None:
    scene = stage(role, ours={"settings": {"dpd_delay": "200 ms"}})
    scene.establish()
    answers = scene.ours.sa().received

    until(lambda: scene.ours.sa().received >= answers + 3, scene.ours.story)
    assert not scene.ours.sa().retransmits


def test_either_side_deletes_a_child_alone(stage: Stage, role: Role) -> None:
    """The IKE SA stays, and a new Child SA is made in it."""
    scene = stage(role)
    scene.establish()
    ours, theirs = scene.ours, scene.theirs
    ike_id, first = ours.sa().ike_id, ours.child().spi_in

    ours.delete_child(first)
    theirs.expect(r"CHILD_SA closed|received DELETE for ESP CHILD_SA")
    until(lambda: not ours.pairs(), ours.story)
    theirs.initiate("net")
    second = ours.child().spi_in
    theirs.terminate(child="net")
    until(lambda: not ours.pairs(), ours.story)
    ours.initiate()

    assert ours.child().spi_in not in (first, second)
    assert ours.sa().ike_id == ike_id
    assert theirs.sa().child.spi_out == ours.child().spi_in
    scene.assert_works()


def test_we_reach_strongswan_at_a_port_of_its_own(stage: Stage) -> None:
    scene = stage("we initiate", daemon="port_nat_t = 14500", ours={"settings": {"remote_port": 14500}})
    scene.establish()

    assert scene.theirs.sa().local[1] == 14500
    assert scene.theirs.sa().remote[1] == 4500
    scene.assert_works()


def test_we_return_the_cookie_that_strongswan_demands(stage: Stage) -> None:
    scene = stage("we initiate", daemon="cookie_threshold = 1")
    open_half(scene)
    scene.theirs.expect("parsed IKE_SA_INIT request")

    scene.establish()

    assert scene.ours.received("N(COOKIE)")
    assert scene.ours.sent("N(COOKIE)")
    scene.assert_works()


def test_strongswan_returns_the_cookie_that_we_demand(stage: Stage) -> None:
    scene = stage("we respond", limits={"cookie_threshold": 1}, daemon=QUICK)
    open_half(scene)
    scene.ours.event(MessageReceived)

    scene.establish()

    assert scene.ours.received("HDR, N(COOKIE)")  # the demand itself leaves no trace: it is stateless
    scene.assert_works()


def test_we_take_the_group_that_strongswan_wants(stage: Stage) -> None:
    """Our key exchange is for the first group that we offer; strongSwan accepts only the second."""
    scene = stage("we initiate", ours={"proposals": f"{X25519},{MODP}"}, theirs={"proposals": MODP})

    scene.establish()

    assert scene.ours.received("N(INVALID_KE_PAYLOAD)")
    assert scene.ours.sa().proposal.endswith("modp2048")
    assert scene.theirs.sa().suite.endswith("MODP_2048")
    scene.assert_works()


def test_strongswan_takes_the_group_that_we_want(stage: Stage) -> None:
    theirs = {"proposals": f"{MODP},{X25519}"}
    scene = stage("we respond", ours={"proposals": X25519}, theirs=theirs, daemon=QUICK)

    scene.establish()

    assert refusals(scene) == ["INVALID_KE_PAYLOAD"]
    assert scene.theirs.sa().suite.endswith("CURVE_25519")
    scene.assert_works()


def test_wrong_secret_ends_with_authentication_failed(stage: Stage, role: Role) -> None:
    scene = stage(role, theirs={"psk": "not that one"})

    scene.attempt()

    down = scene.ours.event(IkeSaDown)
    assert down.reason is Reason.AUTHENTICATION_FAILED
    assert down.text
    assert not scene.ours.events(IkeSaUp)
    if role == "we initiate":
        assert scene.ours.received("N(AUTHENTICATION_FAILED)")
        scene.theirs.expect(r"AUTH_FAILED")
    else:
        assert scene.ours.sent("N(AUTHENTICATION_FAILED)")
        scene.theirs.expect(r"received AUTHENTICATION_FAILED notify error")
    scene.idle()


def test_no_common_ike_proposal_ends_with_no_proposal_chosen(stage: Stage, role: Role) -> None:
    """Whoever initiates goes on for a while, as nobody has signed the refusal (RFC 7296 2.21.1)."""
    limits = {"error_patience": NS_PER_S}
    scene = stage(role, theirs={"proposals": "aes256-sha256-modp2048"}, limits=limits)

    scene.attempt()

    if role == "we initiate":
        down = scene.ours.event(IkeSaDown)
        assert down.reason is Reason.NO_PROPOSAL_CHOSEN
        assert down.text
        scene.theirs.expect("received proposals unacceptable")
    else:
        scene.theirs.expect(r"received NO_PROPOSAL_CHOSEN notify error")
        assert refusals(scene) == ["NO_PROPOSAL_CHOSEN"]
        assert "offered aes256-sha256-modp2048" in scene.ours.event(Rejected).text
    scene.idle()


def test_no_common_esp_proposal_fails_the_child_alone(stage: Stage, role: Role) -> None:
    """The IKE SA stays up without a Child SA (RFC 7296 1.2)."""
    scene = stage(role, theirs={"esp_proposals": "aes256-sha256"})

    scene.attempt()

    if role == "we initiate":
        failed = scene.ours.event(ChildFailed)
        assert failed.reason is Reason.NO_PROPOSAL_CHOSEN
        assert failed.text
        assert len(scene.ours.sas()) == len(scene.theirs.sas()) == 1
    else:
        scene.theirs.expect(r"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built")
        assert scene.ours.sent("N(NO_PROPOSAL_CHOSEN)")


def test_no_common_selector_fails_the_child_alone(stage: Stage, role: Role) -> None:
    scene = stage(role, theirs={"local_ts": "10.77.0.0/24"})

    scene.attempt()

    if role == "we initiate":
        failed = scene.ours.event(ChildFailed)
        assert failed.reason is Reason.TS_UNACCEPTABLE
        assert failed.text
    else:
        scene.theirs.expect(r"received TS_UNACCEPTABLE notify, no CHILD_SA built")
        assert scene.ours.sent("N(TS_UNACCEPTABLE)")
    assert not scene.ours.pairs()


@pytest.mark.parametrize("esp", ["aes128gcm16", "aes128gcm16-x25519"], ids=["without KE", "with KE"])
def test_strongswan_rekeys_a_child(stage: Stage, role: Role, esp: str) -> None:
    """Pings go on over the change of keys, and the old SA is gone on both sides."""
    both = {"esp_proposals": esp}
    scene = stage(role, ours=both, theirs=both, daemon="delete_rekeyed_delay = 1")
    scene.establish()
    old = scene.ours.child()

    scene.theirs.rekey(child="net")
    assert ping(scene.ours.namespace, scene.their_inner, count=200).received == 200
    until(lambda: len(scene.ours.pairs()) == 1, scene.ours.story)

    assert scene.ours.child().spi_in != old.spi_in
    assert scene.theirs.sa().child.spi_out == scene.ours.child().spi_in
    until(lambda: len(scene.theirs.sa().children) == 1, scene.theirs.log)
    assert ping(scene.ours.namespace, scene.their_inner, count=200).received == 200


def refusals(scene: Scene) -> list[str]:
    """What we refused before there was an SA, by reason."""
    return [event.reason for event in scene.ours.events(Rejected)]


class Ground(Protocol):
    """A scene's initiator, and its way to the responder."""

    @property
    def initiator(self) -> Namespace: ...
    @property
    def path(self) -> Path: ...


def open_half(scene: Ground) -> None:
    """Somebody else at the initiator's address begins an IKE SA and vanishes."""
    connection = ConnectionConfig(
        "stranger",
        psk=b"none",
        proposals=(parse_proposal(X25519, ProtocolId.IKE),),
        remote_addrs=(pack_address(RESPONDER),),
    )
    stranger = IkeEndpoint(EndpointConfig((connection,)), rand=lambda size: bytes([7]) * size)
    stranger.addresses_changed([pack_address(INITIATOR[scene.path])], 0)
    stranger.initiate("stranger", None, 0)
    (datagram,) = stranger.datagrams_to_send()
    with inside(scene.initiator.name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(bytes(datagram.data), (RESPONDER, 500))
