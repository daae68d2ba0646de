"""Our live initiators move across real NATs of Linux, which forget, time out, and come and go on the way.

    caller 10.8.0.n -- 192.168.1.10 -- box -- 203.0.113+n.10 -- core -- 198.51.100.1 gateway 10.1.0.10

The gateway is strongSwan, whose user-space ESP follows nobody: we must find out what changed, and say so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from sim.ike.events import IkeSaDown
from sim.wire.address import format_address
from tests.interop.connection import Connection
from tests.interop.linux_grid import MOON, PUBLIC_MOON, access
from tests.interop.nat import forget, tracked
from tests.interop.netns import Lab, Namespace, Process, until
from tests.interop.ours import Ours
from tests.interop.ping import ping, replies, start_pinging, stop_pinging
from tests.interop.strongswan import Sa, StrongSwan

pytestmark = pytest.mark.peers

KEEPS = ("masquerade", "masquerade persistent")
OTHER_PORTS = ("masquerade random", "masquerade fully-random")
QUICK = {"dpd_delay": "200 ms", "retransmit": "libreswan"}
"""What is lost is found out soon, and a request that is lost goes out again after half a second."""
INTERVAL = 0.05
AT_MOST_LOST = 40
"""Pings in a row, which is two seconds."""
TIMEOUTS = {"udp_timeout": 2, "udp_timeout_stream": 2}


@dataclass(frozen=True)
class Caller:
    """One of our peers behind a box of its own."""

    number: int
    how: str
    namespace: Namespace
    box: Namespace
    ours: Ours

    @property
    def address(self) -> str:
        return public(self.number)

    @property
    def inner(self) -> str:
        return f"10.8.0.{self.number}"


def test_we_go_on_behind_each_of_linux_nats_that_forgets_and_gets_another_address(lab: Lab) -> None:
    """All mappings are flushed, then those of UDP deleted, then the provider's address is another."""
    core, _, swan = answering(lab)
    callers = [caller(lab, core, n, how, QUICK) for n, how in enumerate((*KEEPS, *OTHER_PORTS))]
    before = {one.number: tunnel(one, swan).remote for one in callers}
    pings = [start_pinging(one.namespace, MOON, interval=INTERVAL) for one in callers]
    assert [before[one.number] == (one.address, 4500) for one in callers] == [True, True, False, False]

    each_goes_on(callers, pings, lambda one: forget(one.box))
    each_goes_on(callers, pings, lambda one: one.box.run("conntrack", "-D", "-p", "udp"))
    assert_both_believe_the_same(callers, swan)
    for one in callers:
        there = theirs(one, swan).remote
        assert there[0] == one.address
        told = bool(one.ours.sent("N(UPDATE_SA_ADDRESSES)"))
        if one.how in KEEPS:  # unless the gateway's packet came first, and has made an entry in the way
            assert there == before[one.number] or told, one.how
        else:
            assert told, one.how
            assert there != before[one.number], one.how

    each_goes_on(callers, pings, lease)
    assert_both_believe_the_same(callers, swan)
    assert {theirs(one, swan).remote[0] for one in callers} == {leased(one.number) for one in callers}
    for one, pinging in zip(callers, pings, strict=True):
        result = stop_pinging(pinging)
        assert result.longest_gap <= AT_MOST_LOST, (one.how, result)
        assert not one.ours.events(IkeSaDown)


def test_keepalives_hold_a_mapping_whose_time_out_is_short(lab: Lab) -> None:
    """RFC 3948 4: without them strongSwan reaches nobody, until our liveness check has said where we are."""
    core, gateway, swan = answering(lab)
    settings = [{"dpd_delay": "0 s", "keep_alive": interval} for interval in ("800 ms", "0 s")]
    kept, silent = (caller(lab, core, n, "masquerade", mine) for n, mine in enumerate(settings))
    for one in (kept, silent):
        tunnel(one, swan)
        learn_mapping(one)
        assert ping(one.namespace, MOON).received == 1
    until(lambda: not mapped(silent), lambda: "the time-out of conntrack does not pass")

    assert mapped(kept)
    assert ping(gateway, kept.inner, wait=1.0).received == 1
    assert ping(gateway, silent.inner, wait=1.0).received == 0
    silent.ours.check_liveness()
    until(lambda: ping(gateway, silent.inner, wait=0.5).received, silent.ours.story)


@pytest.mark.parametrize("peer", ["strongSwan", "ours"])
def test_a_nat_appears_and_disappears_on_our_way(lab: Lab, peer: str) -> None:
    """Behind it ESP is in UDP, and without it plain again, except that strongSwan always asks for UDP."""
    core, _, other = answering(lab) if peer == "strongSwan" else answering_ourselves(lab)
    host = lab.namespace("host")
    host.inner_address("10.8.0.0/32")
    access(lab, core, host, "192.168.1", public(0), "masquerade fully-random", {})
    access(lab, core, host, "", public(1), "", {})
    ours = Ours(lab, host, view(0, QUICK))
    ours.initiate()
    seen = [situation(ours)]
    pinging = start_pinging(host, MOON, interval=INTERVAL)
    goes_on(pinging, lambda: None, ours.story)
    for there, step in ((public(0), behind_the_nat), (public(1), in_the_open)):
        goes_on(pinging, lambda step=step: step(host), ours.story)  # type: ignore[misc]
        until(lambda there=there: remote_of(other) == there, ours.story)  # type: ignore[misc]
        seen.append(situation(ours))

    always_udp = peer == "strongSwan"
    assert seen == [(False, always_udp), (True, True), (False, always_udp)], "behind a NAT, ESP in UDP"
    assert stop_pinging(pinging).longest_gap <= AT_MOST_LOST
    assert not ours.events(IkeSaDown)


def answering(lab: Lab) -> tuple[Namespace, Namespace, StrongSwan]:
    core, gateway = gateway_at_core(lab)
    swan = StrongSwan(gateway, settings="retransmit_timeout = 0.5")  # the default is 4 s
    anybody = {"remote": "%any", "remote_id": "%any", "remote_ts": "10.8.0.0/24"}
    swan.load(view(0, {}).mirrored(local=PUBLIC_MOON, **anybody).swanctl())
    return core, gateway, swan


def answering_ourselves(lab: Lab) -> tuple[Namespace, Namespace, Ours]:
    core, gateway = gateway_at_core(lab)
    return core, gateway, Ours(lab, gateway, view(0, {}).mirrored(local="%any", remote="%any"))


def gateway_at_core(lab: Lab) -> tuple[Namespace, Namespace]:
    core, gateway = lab.namespace("core"), lab.namespace("gateway")
    core.forward()
    gateway.inner_address(f"{MOON}/32")
    access(lab, core, gateway, "", PUBLIC_MOON, "", {})
    return core, gateway


def caller(lab: Lab, core: Namespace, number: int, how: str, settings: dict[str, str]) -> Caller:
    host = lab.namespace(f"host{number}")
    host.inner_address(f"10.8.0.{number}/32")
    box = access(
        lab, core, host, "192.168.1", public(number), how, TIMEOUTS if "keep_alive" in settings else {}
    )
    assert box is not None
    return Caller(number, how, host, box, Ours(lab, host, view(number, settings)))


def view(number: int, settings: dict[str, str]) -> Connection:
    return Connection(
        *("%any", PUBLIC_MOON, f"10.8.0.{number}/32", "10.1.0.0/16"),
        local_id=f"caller{number}.example",
        settings=settings,
    )


def tunnel(one: Caller, swan: StrongSwan) -> Sa:
    one.ours.initiate()
    one.ours.sa()
    return until(lambda: found(one, swan), swan.log)


def learn_mapping(one: Caller) -> None:
    """A first check tells us how the NAT maps us: only what differs from that is worth an update."""
    one.ours.check_liveness()
    until(
        lambda: one.ours.received("HDR, SK {N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}"),
        one.ours.story,
    )


def found(one: Caller, swan: StrongSwan) -> Sa | None:
    """strongSwan's SA with it, as `swanctl --list-sas` has it."""
    mine = one.ours.sa().spi_i.hex()
    return next((sa for sa in swan.sas() if sa.spi_i == mine and sa.state == "ESTABLISHED"), None)


def theirs(one: Caller, swan: StrongSwan) -> Sa:
    sa = found(one, swan)
    assert sa is not None, swan.log()
    return sa


def assert_both_believe_the_same(callers: list[Caller], swan: StrongSwan) -> None:
    """strongSwan's list of SAs and ours, once it is through with making a new Child SA after an update."""
    for one in callers:

        def agree(one: Caller = one) -> bool:
            sa, mine = theirs(one, swan), one.ours.sa()
            pairs = {(child.spi_in, child.spi_out) for child in sa.children if child.state == "INSTALLED"}
            return (
                sa.spi_r == mine.spi_r.hex()
                and sa.local == (format_address(mine.remote[0]), mine.remote[1])
                and mine.nat_local
                and pairs == {(child.spi_out, child.spi_in) for child in mine.children}
            )

        until(agree, lambda one=one: f"{one.how}:\n{one.ours.story()}\n{swan.log()}")  # type: ignore[misc]


def each_goes_on(callers: list[Caller], pings: list[Process], happens: Callable[[Caller], object]) -> None:
    """It happens to each, and replies come again afterwards."""
    for one, pinging in zip(callers, pings, strict=True):
        goes_on(pinging, lambda one=one: happens(one), one.ours.story)  # type: ignore[misc]


def goes_on(pinging: Process, happens: Callable[[], object], story: Callable[[], str]) -> None:
    until(lambda: replies(pinging), lambda: f"no reply:\n{story()}")
    happens()
    here = max(replies(pinging))
    until(
        lambda: len([seq for seq in replies(pinging) if seq > here + 2]) >= 10,
        lambda: f"no pings any more:\n{pinging.output()}\n{story()}",
    )


def lease(one: Caller) -> None:
    """The provider gives the box another address."""
    gateway = f"{one.address.rpartition('.')[0]}.254"
    one.box.move("eth1", f"{leased(one.number)}/24", gateway)


def mapped(one: Caller) -> bool:
    """Whether conntrack has a mapping for its tunnel."""
    return "dport=4500" in tracked(one.box)


def behind_the_nat(host: Namespace) -> None:
    host.ip("link", "set", "eth1", "down")
    host.ip("route", "replace", "default", "via", "192.168.1.1")


def in_the_open(host: Namespace) -> None:
    host.ip("link", "set", "eth1", "up")
    host.ip("link", "set", "eth0", "down")
    host.ip("route", "replace", "default", "via", f"{public(1).rpartition('.')[0]}.254")


def situation(ours: Ours) -> tuple[bool, bool]:
    """Whether we are behind a NAT, and whether ESP is in UDP, both for the SA and on its way out."""
    sa = ours.sa()
    (out,) = {pair.outbound.spec.encap for pair in ours.pairs()}
    assert sa.encap == out
    return sa.nat_local, out


def remote_of(other: StrongSwan | Ours) -> str:
    """Where the gateway has us."""
    if isinstance(other, StrongSwan):
        return other.sa().remote[0]
    return format_address(other.sa().remote[0])


def public(number: int) -> str:
    return f"203.0.{113 + number}.10"


def leased(number: int) -> str:
    return f"203.0.{113 + number}.77"
