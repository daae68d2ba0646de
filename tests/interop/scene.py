"""Our endpoint and a real strongSwan, the initiator perhaps behind a NAT, and the tunnel between them.

10.1.0.1 initiator .2 --- 192.168.1/24 --- .1 NAT .1 --- 203.0.113/24 --- .2 responder 10.2.0.1
10.1.0.1 initiator .1 -------------------- 203.0.113/24 ------------------ .2 responder 10.2.0.1
10.1.0.1 initiator ::1 ------------------- 2001:db8::/64 ---------------- ::2 responder 10.2.0.1

The NAT is Linux with nftables, or simulated by us and with the same addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sim.ike.config import RetransmitPolicy
from sim.ike.pool import PoolConfig
from sim.wire.address import format_address
from tests.interop.connection import Connection
from tests.interop.nat import masquerade
from tests.interop.netns import Lab, Namespace
from tests.interop.ours import Ours
from tests.interop.ping import ping
from tests.interop.simulated import simulated_nat
from tests.interop.strongswan import StrongSwan

Role = Literal["we initiate", "we respond"]
Path = Literal["veth", "veth6", "masquerade", "simulated"]

ROLES: tuple[Role, ...] = ("we initiate", "we respond")
PATHS: tuple[Path, ...] = ("veth", "masquerade", "simulated")
"""Those of IPv4."""
SUITES = {
    "aes128gcm16-prfsha256-x25519": "aes128gcm16",
    "aes256-sha256-modp2048": "aes256-sha256",
    "aes256-sha1-ecp256": "aes256-sha1",
    "chacha20poly1305-prfsha512-x25519": "chacha20poly1305",
}
"""IKE proposal and the ESP proposal that goes with it."""

QUICK = "retransmit_timeout = 0.3"
"""For strongSwan as an initiator that must begin anew: it ignores an answer to its second IKE_SA_INIT that
comes while it still works on the answer to the first ("ignoring request with ID 0, already processing")."""

INSIDE, OUTSIDE = "10.1.0.1", "10.2.0.1"
INITIATOR = {
    "veth": "203.0.113.1",
    "veth6": "2001:db8::1",
    "masquerade": "192.168.1.2",
    "simulated": "192.168.1.2",
}
RESPONDER = "203.0.113.2"
RESPONDER_6 = "2001:db8::2"


@dataclass
class Scene:
    role: Role
    path: Path
    ours: Ours
    theirs: StrongSwan
    initiator: Namespace
    responder: Namespace
    router: Namespace | None
    our_inner: str
    their_inner: str

    def establish(self) -> None:
        """The initiator sets up the tunnel; both sides have it when this returns."""
        if self.role == "we initiate":
            self.ours.initiate()
        else:
            said = self.theirs.initiate("net")
            assert "initiate completed successfully" in said, said + self.theirs.log() + self.ours.story()
        self.ours.sa()
        self.theirs.sa()

    def attempt(self) -> None:
        """Let the initiator try, whatever comes of it."""
        if self.role == "we initiate":
            self.ours.initiate()
        else:
            self.theirs.initiate("net", patience=5)

    def assert_works(self) -> None:
        """Each side reaches the other through the tunnel, and the NAT is seen where it is.

        At strongSwan's side there always seems to be one: that is how it asks for ESP in UDP.
        """
        sa = self.ours.sa()
        assert (sa.nat_local, sa.nat_remote) == (self.nat and self.role == "we initiate", True)
        self.assert_seen_by_responder()
        assert ping(self.ours.namespace, self.their_inner).received == 1
        assert ping(self.theirs.namespace, self.our_inner).received == 1

    def idle(self) -> None:
        """Wait until neither side has an SA."""
        self.theirs.idle()
        self.ours.idle()

    @property
    def our_address(self) -> str:
        """As we see it ourselves."""
        return INITIATOR[self.path] if self.role == "we initiate" else responder(self.path)

    @property
    def nat(self) -> bool:
        return self.path in ("masquerade", "simulated")

    def assert_seen_by_responder(self) -> None:
        """The initiator's address is its own, or that of the NAT."""
        if self.role == "we initiate":
            seen = self.theirs.sa().remote[0]
        else:
            seen = format_address(self.ours.sa().remote[0])
        assert seen == ("203.0.113.1" if self.nat else INITIATOR[self.path])


def set_up(
    lab: Lab,
    role: Role,
    path: Path = "veth",
    *,
    suite: str = "aes128gcm16-prfsha256-x25519",
    ours: Mapping[str, object] | None = None,
    theirs: Mapping[str, object] | None = None,
    limits: Mapping[str, int] | None = None,
    daemon: str = "",
    random_ports: bool = False,
    keys: bool = False,
    retransmit: RetransmitPolicy | None = None,
    files: Mapping[str, str] | None = None,
    delay: str = "300 us",
    pools: tuple[PoolConfig, ...] = (),
) -> Scene:
    """Both endpoints, configured and running, without any SA.

    `ours` and `theirs` are changed values of that side's Connection, `limits` of our EndpointConfig; `daemon`
    are lines of strongswan.conf, `delay` is of one way through the simulated NAT. With `keys` ours go to the
    lab's folder, as tshark wants them.
    `files` are strongSwan's certificates and keys.
    """
    initiator, answerer, router = ground(lab, path, random_ports=random_ports, delay=delay)
    one, other = connections(path, suite)
    we_initiate = role == "we initiate"
    mine, yours = (one, other) if we_initiate else (other, one)
    spaces = (initiator, answerer) if we_initiate else (answerer, initiator)
    inner = (INSIDE, OUTSIDE) if we_initiate else (OUTSIDE, INSIDE)
    peer = StrongSwan(spaces[1], settings=daemon)
    peer.load(replace(yours, **(theirs or {})).swanctl(), files)  # type: ignore[arg-type]
    folder = lab.folder / "keys" if keys else None
    view = replace(mine, **(ours or {}))  # type: ignore[arg-type]
    we = Ours(lab, spaces[0], view, keys=folder, retransmit=retransmit, pools=pools, **(limits or {}))
    return Scene(role, path, we, peer, initiator, answerer, router, *inner)


def ground(
    lab: Lab, path: Path, *, random_ports: bool = False, delay: str = "300 us"
) -> tuple[Namespace, Namespace, Namespace | None]:
    """The initiator's and the responder's host with their networks, and the router if Linux plays one."""
    initiator, responder = lab.namespace("initiator"), lab.namespace("responder")
    router = _join(lab, path, initiator, responder, random_ports=random_ports, delay=delay)
    initiator.inner_address(f"{INSIDE}/32")
    responder.inner_address(f"{OUTSIDE}/32")
    return initiator, responder, router


def _join(
    lab: Lab, path: Path, initiator: Namespace, responder: Namespace, *, random_ports: bool, delay: str
) -> Namespace | None:
    """Lay the path between them; the router, if Linux plays one."""
    if path == "veth":
        lab.link(initiator, "203.0.113.1/24", responder, "203.0.113.2/24")
        return None
    if path == "veth6":
        lab.link(initiator, f"{INITIATOR[path]}/64", responder, f"{RESPONDER_6}/64")
        return None
    if path == "simulated":
        simulated_nat(lab, initiator, responder, delay)
        return None
    router = lab.namespace("router")
    lab.link(initiator, "192.168.1.2/24", router, "192.168.1.1/24")
    wan, _ = lab.link(router, "203.0.113.1/24", responder, "203.0.113.2/24")
    initiator.ip("route", "add", "default", "via", "192.168.1.1")
    masquerade(router, wan, random_ports=random_ports)
    return router


def responder(path: Path) -> str:
    return RESPONDER_6 if path == "veth6" else RESPONDER


def connections(path: Path, suite: str) -> tuple[Connection, Connection]:
    """The initiator's and the responder's; the latter takes whoever knows the secret."""
    one = Connection(
        INITIATOR[path],
        responder(path),
        "10.1.0.0/24",
        "10.2.0.0/24",
        proposals=suite,
        esp_proposals=SUITES.get(suite, "aes128gcm16"),
    )
    return one, one.mirrored(remote="%any")
