"""What does not fit into the tunnel: the source learns the size that does (RFC 4301 8.2.1, RFC 1191)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.wire import icmp, ip
from sim.wire.address import pack_address
from tests.tunnels.lab import ALICE, BOB, CHILD, Lab

SUITES = ["aes128gcm16", "aes256-sha256", "aes128-sha1", "chacha20poly1305"]
FRAGMENTATION_NEEDED = (3, 4)


class Errors:
    """The MTUs that ICMP errors tell a node."""

    def __init__(self, lab: Lab, node: str) -> None:
        self.mtus: list[int] = []
        lab.world.nodes[node].on_icmp.append(self)

    def __call__(self, message: icmp.IcmpMessage, header: ip.IpHeader, now: int) -> None:
        assert (message.type, message.code) == FRAGMENTATION_NEEDED
        self.mtus.append(int.from_bytes(bytes(message.rest)[2:], "big"))


@pytest.mark.parametrize("mtu", [1500, 1400, 577])
@pytest.mark.parametrize("encap", ["true", "false"])
@pytest.mark.parametrize("suite", SUITES)
def test_the_mtu_that_the_source_is_told_fits_and_one_octet_more_does_not(
    suite: str, encap: str, mtu: int
) -> None:
    lab = Lab(f"{CHILD}.esp_proposals=[{suite}]", f"tunnels.sites.encap={encap}", f"links.1.mtu={mtu} B").up()
    errors = Errors(lab, "alice")
    ear = lab.listen("moon:wan")
    lab.send(size=mtu, df=True)
    lab.run()
    (told,) = errors.mtus
    assert ear.seen == [], "nothing of it left"
    assert lab.drops("moon") == {"packet too big": 1}

    fits = lab.send(size=told, df=True)
    lab.run()
    assert lab.boxes["bob"].seqs == [fits]
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [False]
    assert mtu - 16 < len(ear.seen[0].data) <= mtu

    lab.send(size=told + 1, df=True)
    lab.run()
    assert errors.mtus == [told, told]
    assert lab.boxes["bob"].seqs == [fits]


def test_without_df_the_outer_packet_is_fragmented_and_comes_together_again() -> None:
    lab = Lab().up()
    errors = Errors(lab, "alice")
    ear = lab.listen("moon:wan")
    whole = lab.send(size=1500)
    lab.run()
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [True, True]
    assert lab.boxes["bob"].seqs == [whole]
    assert errors.mtus == []


def test_fragments_of_two_sas_do_not_mix_when_some_are_lost() -> None:
    """RFC 6864 4.3: the first datagram never becomes whole, and spoils none of the other SA."""
    first, second = "local_ts: [10.1.0.0/16], remote_ts: [10.2.0.10/32]", "remote_ts: [10.2.1.0/24]"
    children = f"{{one: {{{first}}}, two: {{local_ts: [10.1.0.0/16], {second}}}}}"
    lab = Lab("links.1.mtu=1000 B", f"tunnels.sites.children={children}").up()
    lab.run()
    assert len(lab.stack("moon").engine.sad) == 2
    ear = lab.listen("moon:wan")
    lab.world.ports["sun:wan"].set_up(False)
    lab.send(size=1400)
    lab.run()
    lab.world.ports["sun:wan"].set_up(True)
    port = lab.world.ports["sun:wan"]
    port.node.enter(Packet(bytearray(ear.seen[-1].data), lab.now), port, lab.now)
    lab.send(dst=pack_address("10.2.1.9"), to="bob", size=1400)
    lab.run()
    inbound = {pair.outbound.spec.child: pair.inbound for pair in lab.stack("sun").engine.sad.values()}
    assert (inbound["one"].packets, inbound["two"].packets) == (0, 1)


def test_a_df_that_is_not_copied_lets_the_outer_packet_be_fragmented() -> None:
    lab = Lab(f"{CHILD}.copy_df=false").up()
    ear = lab.listen("moon:wan")
    whole = lab.send(size=1500, df=True)
    lab.run()
    assert len(ear.seen) == 2
    assert lab.boxes["bob"].seqs == [whole]


def test_a_packet_that_is_refused_is_not_counted_as_sent() -> None:
    """`packets_out` is what the peer could have received."""
    lab = Lab().up()
    lab.send(size=1500, df=True)
    lab.send(size=1000, df=True)
    lab.run()
    ((_, outbound, _),) = lab.stack("moon").engine.sad.values()
    ((inbound, _, _),) = lab.stack("sun").engine.sad.values()
    assert (inbound.packets, inbound.bytes) == (outbound.packets, outbound.bytes) == (1, 1000)


def test_a_host_learns_that_its_own_packet_is_too_big() -> None:
    """Source and tunnel end are one node here: the error does not travel."""
    lab = Lab("tunnels.sites.initiator=alice", f"{CHILD}.local_ts=[]").up()
    errors = Errors(lab, "alice")
    lab.send(ALICE, BOB, 1500, df=True)
    lab.run()
    assert len(errors.mtus) == 1
    fits = lab.send(ALICE, BOB, errors.mtus[0], df=True)
    lab.run()
    assert lab.boxes["bob"].seqs == [fits]
