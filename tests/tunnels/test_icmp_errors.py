"""ICMP errors inside a tunnel, by the packets that they quote (RFC 4301 6.2), and traceroute through one.

alice 10.1.0.10 - moon ==== sun - deep (10.9.0.1 | 10.2.0.2) - bob 10.2.0.10
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.ipsec.verdict import Reason
from sim.net.packet import Packet
from sim.wire import icmp, ip, udp
from sim.wire.address import format_address, pack_address
from sim.wire.checksum import internet_checksum
from sim.wire.icmp import IcmpError, IcmpMessage, IcmpType
from sim.wire.ip import IpHeader, Protocol
from tests.tunnels.lab import ALICE, BOB, CHILD, MOON, SITES, SUN, Lab

STRANGER = pack_address("10.9.0.1")
DEEP = SITES.replace(
    "wan: 198.51.100.1/24, lan: 10.2.0.1/16}", "wan: 198.51.100.1/24, lan: 10.9.0.2/24}"
).replace(
    "links:\n",
    """\
  deep: {kind: router, interfaces: {up: 10.9.0.1/24, lan: 10.2.0.2/16}, routes: {10.1.0.0/16: up}}
links:
""",
).replace("{ends: [sun:lan, bob:eth], delay: 1 ms}", "{ends: [sun:lan, deep:up], delay: 1 ms}\n"
          "  - {ends: [deep:lan, bob:eth], delay: 1 ms}")  # fmt: skip
"""A router behind sun whose address towards it is outside of the selectors."""

Heard = list[tuple[str, int]]


def heard_by(lab: Lab, node: str) -> Heard:
    heard: Heard = []

    def listen(message: IcmpMessage, header: IpHeader, _now: int) -> None:
        heard.append((format_address(header.src), message.type))

    lab.world.nodes[node].on_icmp.append(listen)
    return heard


def probe(lab: Lab, ttl: int) -> None:
    data = udp.build((ALICE, 40000), (BOB, 33434), bytes(32), ttl=ttl)
    lab.world.nodes["alice"].send(Packet(data, lab.now), lab.now)
    lab.run()


def test_c92_traceroute_through_a_tunnel_shows_every_hop() -> None:
    """The router behind the far gateway answers from an address that no selector covers."""
    lab = Lab(text=DEEP).up()
    ear = lab.listen("moon:wan")
    heard = heard_by(lab, "alice")
    for ttl in range(1, 5):
        probe(lab, ttl)
    assert [source for source, _ in heard] == ["10.1.0.1", "198.51.100.1", "10.9.0.1", "10.2.0.10"]
    assert [kind for _, kind in heard] == [IcmpType.TIME_EXCEEDED] * 3 + [IcmpType.DESTINATION_UNREACHABLE]
    assert ear.clear == []


def test_c92_an_error_that_no_selector_covers_goes_back_on_the_sa_of_what_it_quotes() -> None:
    lab = Lab(text=DEEP).up()
    probe(lab, 3)
    ((inbound, _, _),) = lab.stack("moon").engine.sad.values()
    assert inbound.packets == 1


@pytest.mark.parametrize("ttl", [2, 3])
def test_c92_without_icmp_such_an_error_does_not_leave(ttl: int) -> None:
    """It would show in clear text what the tunnel hides."""
    lab = Lab(f"{CHILD}.icmp=false", text=DEEP).up()
    ear = lab.listen("sun:wan")
    heard = heard_by(lab, "alice")
    probe(lab, ttl)
    assert heard == []
    assert ear.clear == []
    assert lab.drops("sun")[Reason.ICMP_IN_CLEAR] == 1


def from_sun(lab: Lab, src: bytes, quoted_src: bytes, quoted_dst: bytes) -> None:
    """An error that sun sends through its SA whatever it quotes."""
    quoted = udp.build((quoted_src, 40000), (quoted_dst, 33434), bytes(32))
    error = icmp.error(quoted, src, IcmpError.PORT_UNREACHABLE)
    assert error is not None
    ((_, outbound, _),) = lab.stack("sun").engine.sad.values()
    sealed = outbound.seal(error, lab.now)
    assert isinstance(sealed, bytearray)
    lab.world.nodes["sun"].transmit(Packet(sealed, lab.now), lab.now)
    lab.run()


def test_c92_an_error_that_quotes_another_packet_is_not_forwarded() -> None:
    """MUST NOT, where its own selectors do not cover it."""
    lab = Lab().up()
    heard = heard_by(lab, "alice")
    from_sun(lab, STRANGER, ALICE, SUN)
    assert lab.drops("moon") == {Reason.ICMP_PAYLOAD: 1}
    from_sun(lab, STRANGER, ALICE, BOB)
    assert heard == [("10.9.0.1", IcmpType.DESTINATION_UNREACHABLE)]
    assert lab.drops("moon") == {Reason.ICMP_PAYLOAD: 1}


def test_c92_one_error_that_is_right_does_not_let_the_next_pass() -> None:
    lab = Lab().up()
    heard = heard_by(lab, "alice")
    for dst in (BOB, SUN, BOB):
        from_sun(lab, STRANGER, ALICE, dst)
    assert len(heard) == 2
    assert lab.drops("moon") == {Reason.ICMP_PAYLOAD: 1}


@pytest.mark.parametrize(("check", "passes"), [("false", True), ("true", False)])
def test_c92_an_error_that_selectors_cover_is_checked_if_so_configured(check: str, passes: bool) -> None:
    lab = Lab(f"{CHILD}.icmp_check={check}").up()
    heard = heard_by(lab, "alice")
    from_sun(lab, BOB, ALICE, SUN)
    assert bool(heard) is passes
    assert lab.drops("moon") == ({} if passes else {Reason.ICMP_PAYLOAD: 1})


def test_c92_other_icmp_has_no_such_way_around_the_selectors() -> None:
    lab = Lab().up()
    reply = icmp.echo_reply_to(icmp.echo_request(ALICE, STRANGER, 1, 1, bytes(56)))
    ((_, outbound, _),) = lab.stack("sun").engine.sad.values()
    sealed = outbound.seal(reply, lab.now)
    assert isinstance(sealed, bytearray)
    lab.world.nodes["sun"].transmit(Packet(sealed, lab.now), lab.now)
    lab.run()
    assert lab.drops("moon") == {Reason.SELECTOR_MISMATCH: 1}


def test_c92_an_error_about_what_is_not_protected_goes_in_clear() -> None:
    lab = Lab().up()
    ear = lab.listen("sun:wan")
    data = udp.build((MOON, 40000), (SUN, 33434), bytes(32))
    lab.world.nodes["moon"].send(Packet(data, lab.now), lab.now)
    lab.run()
    assert [seen.outbound for seen in ear.clear] == [False, True]


def test_c92_errors_reach_selectors_of_single_protocols() -> None:
    """The SA is for UDP alone; what happens to UDP is told in it all the same."""
    lab = Lab(f"{CHILD}.local_ts=['10.1.0.0/16[udp]']", f"{CHILD}.remote_ts=['10.2.0.0/16[udp]']").up()
    heard = heard_by(lab, "alice")
    ear = lab.listen("moon:wan")
    probe(lab, 2)
    probe(lab, 4)
    assert [kind for _, kind in heard] == [IcmpType.TIME_EXCEEDED, IcmpType.DESTINATION_UNREACHABLE]
    assert ear.clear == []


HEADS = st.tuples(st.sampled_from([0, 3, 4, 5, 11, 12]), st.sampled_from([0, 1, 4, 255]))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    head=HEADS, rest=st.binary(min_size=4, max_size=4), quote=st.binary(max_size=80), cut=st.integers(0, 60)
)
def test_any_icmp_to_a_gateway_is_taken(
    gateway: Lab, head: tuple[int, int], rest: bytes, quote: bytes, cut: int
) -> None:
    """In clear and out of an SA, to the gateway and through it, with any quote or the start of a real one."""
    real = bytes(udp.build((ALICE, 40000), (BOB, 33434), bytes(32)))[:cut]
    ((_, outbound, _),) = gateway.stack("sun").engine.sad.values()
    moon = gateway.world.ports["moon:wan"]
    for quoted in (quote, real, real + quote):
        message = bytearray(bytes(head) + bytes(2) + rest + quoted)
        message[2:4] = internet_checksum(message).to_bytes(2, "big")
        for dst in (MOON, ALICE):
            data = ip.build(STRANGER, dst, Protocol.ICMP, message)
            sealed = outbound.seal(data, gateway.now)
            assert isinstance(sealed, bytearray)
            for arriving in (data, sealed):
                moon.node.enter(Packet(arriving, gateway.now), moon, gateway.now)
        leaving = ip.build(ALICE, STRANGER, Protocol.ICMP, message)
        moon.node.enter(Packet(leaving, gateway.now), moon, gateway.now)
    gateway.run(10**6)


@pytest.fixture(scope="module")
def gateway() -> Lab:
    return Lab().up()
