"""OpenIKED 7.2 in both roles: what it negotiates with us, and what it gives to its kernel.

Its SAs have the same SPIs and keys as ours, so ESP would work; it has none here: see openiked.py, which also
says what of OpenIKED cannot be tested on Linux. tshark decrypts what was said and finds nothing malformed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sim.ike.constants import ExchangeType
from sim.ike.events import ChildSaUp, IkeSaDown, IkeSaUp, MessageReceived, PathChanged, Reason, Rejected
from sim.ike.view import SaView
from sim.scenario.issue import Issued
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, until
from tests.interop.openiked import OpenIked, iked_conf
from tests.interop.ours import Ours
from tests.interop.scene import Path, Role, connections, ground
from tests.interop.sniffer import Sniffer
from tests.interop.test_certificates import LEFT, RIGHT, made
from tests.interop.test_exchanges import open_half
from tests.interop.test_tshark import asked, read
from tests.peers import require

pytestmark = pytest.mark.peers

X25519, MODP = "aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-modp2048"
ESP = "aes256-sha512"
SUITES = {
    X25519: ESP,
    "aes256gcm16-prfsha384-ecp384": "aes128-sha1",
    "aes256-sha256-modp2048": "aes256-sha384",
    "aes128-sha1-ecp256": ESP,
}
MOVED_TO = "192.168.1.77"

Stage = Callable[..., "Scene"]


@dataclass
class Scene:
    role: Role
    ours: Ours
    theirs: OpenIked
    path: Path
    initiator: Namespace
    our_address: str

    def establish(self) -> None:
        """The initiator sets up an SA; both sides have it, and the same, when this returns."""
        self.attempt()
        self.ours.sa()
        self.theirs.sa()
        self.assert_same()

    def attempt(self) -> None:
        if self.role == "we initiate":
            self.ours.initiate()
        else:
            self.theirs.initiate()

    def assert_same(self) -> None:
        """One IKE SA and one pair of ESP SAs, with the same SPIs and keys on both sides."""
        until(self._agrees, lambda: f"{self.ours.story()}\n{self.theirs.log()}\n{self.theirs.loaded()}")

    def _agrees(self) -> bool:
        ours, pairs, loaded = self.ours.sas(), self.ours.pairs(), self.theirs.loaded()
        theirs = [sa for sa in self.theirs.sas() if sa.state == "ESTABLISHED"]
        if not len(ours) == len(theirs) == len(pairs) == 1:
            return False
        pair = pairs[0]
        spec = pair.inbound.spec
        assert {spec.spi_in: spec.keys_in, spec.spi_out: spec.keys_out}.items() <= {
            spi: sa.keys for spi, sa in loaded.items()
        }.items()
        same_ike = (ours[0].spi_i.hex(), ours[0].spi_r.hex()) == (theirs[0].spi_i, theirs[0].spi_r)
        return same_ike and len(loaded) == 2

    def idle(self) -> None:
        self.ours.idle()
        self.theirs.idle()


@pytest.fixture
def stage(lab: Lab) -> Stage:
    require("iked")
    return partial(set_up, lab)


def set_up(
    lab: Lab,
    role: Role,
    path: Path = "veth",
    *,
    suite: str = X25519,
    ours: Mapping[str, object] | None = None,
    theirs: Mapping[str, object] | None = None,
    limits: Mapping[str, int] | None = None,
    conf: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Scene:
    """Both endpoints without any SA; `ours` and `theirs` change a Connection, `conf` goes to iked.conf."""
    initiator, responder, _ = ground(lab, path)
    sides = tuple(replace(one, esp_proposals=SUITES.get(suite, ESP)) for one in connections(path, suite))
    we_initiate = role == "we initiate"
    mine, yours = sides if we_initiate else sides[::-1]
    spaces = (initiator, responder) if we_initiate else (responder, initiator)
    connection: Connection = replace(yours, **(theirs or {}))  # type: ignore[arg-type]
    peer = OpenIked(lab, spaces[1], iked_conf(connection, active=not we_initiate, **(conf or {})), files)
    view: Connection = replace(mine, **(ours or {}))  # type: ignore[arg-type]
    we = Ours(lab, spaces[0], view, keys=lab.folder / "keys", retransmit=None, pools=(), **(limits or {}))
    return Scene(role, we, peer, path, initiator, mine.local)


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_sa_on_both_sides_until_we_delete_it(lab: Lab, stage: Stage, role: Role, suite: str) -> None:
    require("tshark")
    scene = stage(role, suite=suite)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    scene.ours.delete()
    scene.idle()

    assert scene.ours.events(IkeSaDown)[-1].reason is Reason.DELETED
    assert asked(read(lab, scene, wire), ExchangeType.INFORMATIONAL).count("we") == 1
    assert not scene.ours.events(Rejected)


def test_openiked_deletes_the_sa(lab: Lab, stage: Stage, role: Role) -> None:
    require("tshark")
    scene = stage(role)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    scene.theirs.delete(RIGHT if role == "we respond" else LEFT)
    scene.idle()

    assert scene.ours.events(IkeSaDown)[-1].reason is Reason.DELETED_BY_PEER
    assert "they" in asked(read(lab, scene, wire), ExchangeType.INFORMATIONAL)


def test_behind_a_nat_both_put_esp_into_udp(lab: Lab, stage: Stage, role: Role) -> None:
    require("tshark")
    scene = stage(role, "masquerade")
    wire = Sniffer(scene.ours.namespace)
    scene.establish()

    sa = scene.ours.sa()
    assert sa.encap
    assert (sa.nat_local, sa.nat_remote) == ((True, False) if role == "we initiate" else (False, True))
    assert scene.theirs.sa().nat
    assert {loaded.ports for loaded in scene.theirs.loaded().values()} == {(4500, 4500)}
    scene.ours.delete()
    scene.idle()
    read(lab, scene, wire)


def test_openiked_returns_the_cookie_that_we_demand(stage: Stage) -> None:
    scene = stage("we respond", limits={"cookie_threshold": 1})
    open_half(scene)
    scene.ours.event(MessageReceived)
    scene.establish()

    assert scene.ours.received("HDR, N(COOKIE)")


def test_we_take_the_group_that_openiked_wants(stage: Stage) -> None:
    scene = stage("we initiate", ours={"proposals": f"{X25519},{MODP}"}, theirs={"proposals": MODP})
    scene.establish()

    assert scene.ours.received("N(INVALID_KE_PAYLOAD)")
    assert scene.ours.sa().proposal.endswith("modp2048")


def test_openiked_takes_the_group_that_we_want(stage: Stage) -> None:
    scene = stage("we respond", ours={"proposals": X25519}, theirs={"proposals": f"{MODP},{X25519}"})
    scene.establish()

    assert [event.reason for event in scene.ours.events(Rejected)] == ["INVALID_KE_PAYLOAD"]


def test_no_common_proposal(stage: Stage, role: Role) -> None:
    limits = {"error_patience": NS_PER_S}
    scene = stage(role, theirs={"proposals": "aes256-sha256-modp2048"}, limits=limits)
    scene.attempt()

    if role == "we initiate":
        assert scene.ours.event(IkeSaDown).reason is Reason.NO_PROPOSAL_CHOSEN
    else:
        assert scene.ours.event(Rejected).reason == "NO_PROPOSAL_CHOSEN"
        scene.theirs.expect("type NO_PROPOSAL_CHOSEN")
    assert not scene.ours.events(IkeSaUp)


def test_a_wrong_secret(stage: Stage, role: Role) -> None:
    scene = stage(role, theirs={"psk": "not that one"})
    scene.attempt()

    assert scene.ours.event(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert not scene.ours.events(IkeSaUp)


def test_openiked_offers_nothing_for_esp_when_it_is_told_to_use_gcm(stage: Stage) -> None:
    """An SA payload without a proposal is none (RFC 7296 3.3): we refuse the message."""
    scene = stage("we respond", theirs={"esp_proposals": "aes128gcm16"})
    scene.attempt()

    scene.theirs.expect("ikev2_validate_sa: malformed payload: too short for header")
    assert scene.ours.event(IkeSaDown).reason is Reason.INVALID_SYNTAX


def test_openiked_cannot_load_sha256_for_esp(stage: Stage) -> None:
    """It agrees all the same: Linux's PF_KEY cuts HMAC-SHA-256 to 96 bits, so its table leaves it out."""
    scene = stage(
        "we respond", ours={"esp_proposals": "aes256-sha256"}, theirs={"esp_proposals": "aes256-sha256"}
    )
    scene.attempt()

    scene.theirs.expect("pfkey_sa: unsupported integrity algorithm HMAC_SHA2_256_128")
    assert scene.ours.event(ChildSaUp).suite.integrity
    assert not scene.theirs.loaded()


def test_openiked_answers_when_we_ask_whether_it_lives(stage: Stage, role: Role) -> None:
    scene = stage(role, ours={"settings": {"dpd_delay": "200 ms"}})
    scene.establish()
    answers = scene.ours.sa().received

    until(lambda: scene.ours.sa().received >= answers + 3, scene.ours.story)
    assert not scene.ours.sa().retransmits


@pytest.mark.parametrize("who", ["we", "they"])
def test_a_child_is_rekeyed(lab: Lab, stage: Stage, role: Role, who: str) -> None:
    """For OpenIKED its kernel says that the SA has lived long enough."""
    require("tshark")
    scene = stage(role)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    before = scene.ours.child()
    if who == "we":
        scene.ours.rekey_child(before.spi_in)
    else:
        scene.theirs.kernel.expire(before.spi_in)
    scene.ours.event(ChildSaUp, lambda up: up.spi_in != before.spi_in)
    scene.assert_same()

    assert {before.spi_in, before.spi_out}.isdisjoint(scene.theirs.loaded())
    assert asked(read(lab, scene, wire), ExchangeType.CREATE_CHILD_SA) == [who]


def test_we_rekey_the_ike_sa(lab: Lab, stage: Stage) -> None:
    require("tshark")
    scene = stage("we initiate")
    wire = Sniffer(scene.ours.namespace)
    old = rekey_ike(scene)
    assert scene.ours.sa().spi_i != old.spi_i
    scene.ours.delete()
    scene.idle()
    read(lab, scene, wire)


def test_we_rekey_an_ike_sa_that_openiked_has_begun(stage: Stage) -> None:
    """It never answers the DELETE of the old one, which we then give up.

    It takes the Initiator flag, which the original initiator sets (RFC 7296 3.1), for that of whoever rekeys,
    and drops other requests of an SA that was replaced. The new SA is none the worse for it.
    """
    scene = stage("we respond")
    rekey_ike(scene)
    until(lambda: len(scene.ours.sent("HDR, SK {D}")) > 1, scene.ours.story)
    scene.theirs.expect(r"recv INFORMATIONAL req 1", times=2)
    assert not re.search(r"send INFORMATIONAL res 1", scene.theirs.log())
    scene.assert_same()
    scene.ours.check_liveness()
    until(lambda: scene.ours.received("HDR, SK {}"), scene.ours.story)


def rekey_ike(scene: Scene) -> SaView:
    """We do so; the SA that was before."""
    scene.establish()
    old = scene.ours.sa()
    scene.ours.rekey_ike()
    scene.ours.event(IkeSaUp, lambda up: up.replaces == old.ike_id)
    scene.assert_same()
    return old


def test_openiked_rekeys_the_ike_sa(lab: Lab, stage: Stage, role: Role) -> None:
    require("tshark")
    scene = stage(role, conf={"more": "ikelifetime 3"})
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    old = scene.ours.sa()
    scene.ours.event(IkeSaUp, lambda up: up.replaces == old.ike_id)
    scene.assert_same()
    scene.ours.delete()
    scene.idle()

    assert "they" in asked(read(lab, scene, wire), ExchangeType.CREATE_CHILD_SA)


def test_openiked_follows_us_to_another_address(stage: Stage) -> None:
    """RFC 4555 3.5: its SAs have the new port of the NAT, and their SPIs stay."""
    scene = stage("we initiate", "masquerade", ours={"local": "%any"})
    scene.establish()
    before = set(scene.theirs.loaded())
    scene.initiator.move("eth0", f"{MOVED_TO}/24", "192.168.1.1")
    scene.ours.event(PathChanged)
    scene.theirs.expect("type UPDATE_SA_ADDRESSES")

    assert scene.ours.sa().local[0] == pack_address(MOVED_TO)
    assert set(scene.theirs.loaded()) == before
    scene.ours.delete()
    scene.idle()


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_certificates(lab: Lab, stage: Stage, role: Role, kind: str) -> None:
    require("tshark")
    scene = certified(stage, role, kind)
    wire = Sniffer(scene.ours.namespace)
    scene.establish()
    scene.ours.delete()
    scene.idle()

    assert scene.ours.events(IkeSaUp)[0].remote_id == (RIGHT if role == "we initiate" else LEFT)
    read(lab, scene, wire)


def test_openiked_gives_an_address_to_whoever_knows_a_password(stage: Stage) -> None:
    """EAP-MSCHAPv2 and a configuration payload."""
    scene = road_warrior(stage, "Ar3etTnp")
    scene.establish()
    (address,) = scene.ours.sa().vips
    assert address[:3] == bytes((10, 3, 0))
    scene.ours.delete()
    scene.idle()


def test_openiked_does_not_answer_a_wrong_password(stage: Stage) -> None:
    """It sends no Failure (RFC 3748 4.2), so we repeat our response, and give up in the end."""
    scene = road_warrior(stage, "another")
    scene.attempt()

    until(lambda: any(sent.retransmission for sent in scene.ours.sent("HDR, SK {EAP}")), scene.ours.story)
    assert not scene.ours.events(IkeSaUp)


def road_warrior(stage: Stage, password: str) -> Scene:
    sides = made("we initiate", "rsa-2048")
    files = {"private/local.key": sides.theirs.key_pem, f"certs/{RIGHT}.crt": sides.theirs.cert_pem}
    files["ca/ca.crt"] = sides.they_trust.cert_pem
    ours = {
        "local": {"auth": "eap-mschapv2", "eap_id": "carol"},
        "remote": {"auth": "pubkey", "cacerts": [sides.we_trust.cert_pem]},
    }
    return stage(
        "we initiate",
        ours={
            "sides": ours,
            "passwords": {"carol": password},
            "settings": {"vips": ["0.0.0.0"]},
            "local_ts": "dynamic",
        },
        theirs={"remote_ts": "dynamic"},
        conf={
            "top": 'user "carol" "Ar3etTnp"',
            "auth": 'eap "mschap-v2" config address 10.3.0.0/24 config name-server 10.2.0.53',
        },
        files=files,
    )


@pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-2048"])
def test_raw_public_keys(stage: Stage, role: Role, kind: str) -> None:
    """Each knows the other's key and sends no certificate; a CERTREQ for a raw key OpenIKED cannot stand."""
    sides = made(role, kind)
    yours = RIGHT if role == "we respond" else LEFT
    files = {"private/local.key": sides.theirs.key_pem, f"pubkeys/fqdn/{yours}": public(sides.ours)}
    ours = {
        "local": {"auth": "pubkey", "key": sides.ours.key_pem, "send_cert": "never"},
        "remote": {"auth": "pubkey", "pubkeys": [public(sides.theirs)], "send_certreq": False},
    }
    scene = stage(role, ours={"sides": ours}, conf={"auth": "rfc7427"}, files=files)
    scene.establish()


def test_both_cut_their_messages(lab: Lab, stage: Stage, role: Role) -> None:
    """RFC 7383; OpenIKED cuts what does not fit into 1280 octets of IP."""
    require("tshark")
    scene = certified(stage, role, "rsa-2048", top="set fragmentation", settings={"fragment_size": "300 B"})
    wire = Sniffer(scene.ours.namespace)
    scene.establish()

    assert scene.ours.sent("SKF {ID")[0].fragments > 1
    assert scene.ours.received("SKF {ID")[0].fragments > 1
    scene.ours.delete()
    scene.idle()
    read(lab, scene, wire)


def certified(
    stage: Stage,
    role: Role,
    kind: str,
    *,
    top: str = "",
    settings: Mapping[str, str] | None = None,
) -> Scene:
    """Both sides with certificates of one CA, which both trust."""
    sides = made(role, kind)
    mine = RIGHT if role == "we initiate" else LEFT
    files = {
        "private/local.key": sides.theirs.key_pem,
        f"certs/{mine}.crt": sides.theirs.cert_pem,
        "ca/ca.crt": sides.they_trust.cert_pem,
    }
    ours = {
        "local": {"auth": "pubkey", "certs": [sides.ours.chain_pem], "key": sides.ours.key_pem},
        "remote": {"auth": "pubkey", "cacerts": [sides.we_trust.cert_pem]},
    }
    changes = {"sides": ours, "settings": settings or {}}
    return stage(role, ours=changes, conf={"auth": "rfc7427", "top": top}, files=files)


def public(issued: Issued) -> str:
    key = issued.key.public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
