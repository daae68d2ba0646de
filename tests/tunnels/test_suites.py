"""Every suite, from the first IKE message to a packet each way: two endpoints, two engines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import cycle, product

import pytest

from sim.crypto.suites import ESP_ONLY
from sim.ike.algorithms import NAMES, TOKENS, is_aead, is_supported
from sim.ike.constants import NotifyType, TransformType
from sim.ike.events import ChildSaUp, MessageSent, RekeyFailed
from sim.ike.message import parse_message
from sim.ipsec.engine import Engine
from sim.tunnels.driver import child_spec
from sim.wire.address import pack_address
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET_A, NET_B, A, B, End, Pair, esp, ike
from tests.ipsec.pair import bare_engine, between, packet_of

HERE, THERE = pack_address("10.1.0.10"), pack_address("10.2.0.10")


def words(kind: TransformType) -> list[str]:
    """The names of the algorithms of one type that work."""
    return [name for name, t in TOKENS.items() if t.type == kind and is_supported(t) and name != "modpnone"]


CIPHERS = words(TransformType.ENCR)
AEADS = [name for name in CIPHERS if is_aead(TOKENS[name].id)]
OTHERS = [name for name in CIPHERS if name not in AEADS]
MACS, PRFS, GROUPS = words(TransformType.INTEG), words(TransformType.PRF), words(TransformType.KE)


def joined(*parts: Iterable[str]) -> list[str]:
    return ["-".join(choice) for choice in product(*parts)]


ESP = [f"{suite}{esn}" for suite in AEADS + joined(OTHERS, MACS) for esn in ("", "-esn")]
FOR_IKE = [name for name in CIPHERS if TOKENS[name].id not in ESP_ONLY]
IKE = joined([name for name in AEADS if name in FOR_IKE], PRFS)
IKE += joined([name for name in OTHERS if name in FOR_IKE], MACS, PRFS)
SUITES = [(f"{ike}-{group}", esp) for ike, group, esp in zip(IKE, cycle(GROUPS), cycle(ESP), strict=False)]


def test_the_tables_hold_what_the_product_promises() -> None:
    """The lists above come from the tables: an algorithm that drops out of them must not go unnoticed."""
    sizes = ("128", "192", "256")
    modes = ("gcm8", "gcm12", "gcm16", "ccm8", "ccm12", "ccm16")
    for_esp = {f"aes{bits}{mode}" for bits in sizes for mode in ("gmac", "gcm16iiv", "ccm8iiv")}
    for_esp.add("chacha20poly1305iiv")
    for_both = {f"aes{bits}{mode}" for bits in sizes for mode in modes} | {"chacha20poly1305"}
    assert set(AEADS) == for_both | for_esp
    assert set(CIPHERS) - set(FOR_IKE) == for_esp | {"null"}
    assert set(OTHERS) == {f"aes{bits}{mode}" for bits in sizes for mode in ("", "ctr")} | {"3des", "null"}
    assert set(MACS) == {"sha1", "sha256", "sha384", "sha512", "aesxcbc", "aescmac"}
    assert set(PRFS) == {f"prf{name}" for name in MACS}
    modp = {f"modp{bits}" for bits in (1024, 1536, 2048, 3072, 4096, 6144, 8192)}
    ecp = {"ecp256", "ecp384", "ecp521", "ecp256bp", "ecp384bp", "ecp512bp"}
    assert set(GROUPS) == modp | ecp | {"x25519", "x448", "mlkem768", "mlkem1024"}
    assert {esp_suite for _, esp_suite in SUITES} == set(ESP)


@pytest.mark.parametrize(("ike_suite", "esp_suite"), SUITES)
def test_every_suite_establishes_and_carries_a_packet_both_ways(ike_suite: str, esp_suite: str) -> None:
    pair = tunnel(ike_suite, esp_suite)
    up = pair.a.last(ChildSaUp)
    encryption, *others = esp_suite.split("-")
    assert NAMES[TransformType.ENCR, up.suite.encryption.id, up.suite.encryption.key_bits] == encryption
    assert up.esn == ("esn" in others)
    carry(pair)


@pytest.mark.parametrize("prf", PRFS)
@pytest.mark.parametrize("group", GROUPS)
def test_every_group_establishes_with_every_prf(group: str, prf: str) -> None:
    """RFC 7296 2.14: the whole of g^ir, with its leading zeros, goes into SKEYSEED."""
    carry(tunnel(f"aes128gcm16-{prf}-{group}", "aes128gcm16"))


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_gives_a_child_sa_fresh_keys(group: str) -> None:
    """RFC 7296 1.3.1, 2.17: a KE payload each way in CREATE_CHILD_SA."""
    pair = tunnel("aes128gcm16-prfsha256-x25519", "aes128gcm16", f"aes128gcm16-{group}")
    first = pair.a.last(ChildSaUp)
    pair.initiate("pfs")
    pair.settle()
    second = pair.a.last(ChildSaUp)
    assert second.spi_in != first.spi_in
    assert second.keys_in != first.keys_in
    asked, answered = pair.a.last(MessageSent), pair.b.last(MessageSent)
    assert "KEi" in asked.payloads
    assert "KEr" in answered.payloads
    carry(pair)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("group", GROUPS)
def test_every_group_rekeys_both_kinds_of_sa(group: str, side: str) -> None:
    """RFC 7296 1.3.2, 1.3.3: whoever asks encapsulates or raises as an initiator does."""
    pair = tunnel(f"aes128gcm16-prfsha256-{group}", f"aes128gcm16-{group}")
    end: End = getattr(pair, side)
    old, (old_ike,) = end.last(ChildSaUp), end.endpoint.sas
    pair.command(end, lambda endpoint: endpoint.rekey(old.spi_in, pair.now))
    pair.settle()
    assert end.last(ChildSaUp).keys_in != old.keys_in
    carry(pair)
    pair.command(end, lambda endpoint: endpoint.rekey_ike(old_ike.ike_id, pair.now))
    pair.settle()
    (new,), (peer,) = pair.a.endpoint.sas, pair.b.endpoint.sas
    assert (new.spi_i, new.spi_r) == (peer.spi_i, peer.spi_r)
    assert old_ike.spi_i not in (new.spi_i, new.spi_r)
    assert not pair.a.all(RekeyFailed) + pair.b.all(RekeyFailed)


@pytest.mark.parametrize("group", GROUPS)
def test_the_responders_wish_for_another_group_is_granted(group: str) -> None:
    """RFC 7296 1.2: INVALID_KE_PAYLOAD names the group, whatever kind of method it is."""
    first = "ecp256" if group == "x25519" else "x25519"
    a = replace(CONNECTION_A, proposals=ike(f"aes128gcm16-prfsha256-{first}-{group}"))
    b = replace(CONNECTION_B, proposals=ike(f"aes128gcm16-prfsha256-{group}"))
    pair = Pair(a, b).establish()
    refusal = parse_message(pair.octets("b")[0]).notify(NotifyType.INVALID_KE_PAYLOAD)
    assert refusal is not None
    assert refusal.data == TOKENS[group].id.to_bytes(2, "big")
    carry(pair)


@pytest.mark.parametrize("group", GROUPS)
def test_equal_seeds_give_equal_messages_but_for_what_ml_kem_encapsulates(group: str) -> None:
    """Of ML-KEM the sizes and the times are equal: OpenSSL draws the responder's randomness itself."""
    one, other = (tunnel(f"aes128gcm16-prfsha256-{group}", "aes128gcm16") for _ in range(2))
    shapes = [[(s.at, s.side, len(s.octets)) for s in pair.sent] for pair in (one, other)]
    assert shapes[0] == shapes[1]
    assert one.octets("a")[0] == other.octets("a")[0]
    assert (one.octets("b")[0] == other.octets("b")[0]) == ("mlkem" not in group)


def tunnel(ike_suite: str, esp_suite: str, pfs_suite: str = "aes128gcm16") -> Pair:
    """A pair with its first Child SA up, and a second one to ask for."""
    more_a, more_b = (replace(net, name="pfs", esp_proposals=esp(pfs_suite)) for net in (NET_A, NET_B))
    a, b = (replace(net, esp_proposals=esp(esp_suite)) for net in (NET_A, NET_B))
    proposals = ike(ike_suite)
    return Pair(
        replace(CONNECTION_A, proposals=proposals, children=(a, more_a)),
        replace(CONNECTION_B, proposals=proposals, children=(b, more_b)),
    ).establish()


def carry(pair: Pair) -> None:
    """A packet each way through the newest Child SA; sizes beside every boundary of a block."""
    here, there = engine(A, pair.a.last(ChildSaUp)), engine(B, pair.b.last(ChildSaUp))
    for size in (48, 49, 63, 64, 65, 1400):
        ping, pong = between((HERE, 1000), (THERE, 2000), size), between((THERE, 2000), (HERE, 1000), size)
        for sender, receiver, packet in ((here, there, ping), (there, here, pong)):
            sealed = packet_of(sender.outbound(bytearray(packet), pair.now))
            opened = packet_of(receiver.inbound(sealed, pair.now))
            assert opened[28:] == packet[28:]


def engine(address: bytes, up: ChildSaUp) -> Engine:
    end = bare_engine(address)
    end.install(child_spec(up), 0)
    return end
