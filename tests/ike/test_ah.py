"""Child SAs with AH: what is negotiated, named, rekeyed, deleted and refused (RFC 7296 3.3.1, 3.10, 3.11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.crypto.ids import EncryptionId, IntegrityId
from sim.ike.config import ChildConfig
from sim.ike.constants import ProtocolId
from sim.ike.events import ChildFailed, ChildSaDown, ChildSaUp, Reason, RekeyFailed
from sim.ike.proposals import Proposal, format_proposal, parse_proposal
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET2_A, NET2_B, NET_A, NET_B, NatBox, Pair


def ah(*texts: str) -> tuple[Proposal, ...]:
    return tuple(parse_proposal(text, ProtocolId.AH) for text in texts)


SUITES = ["sha1", "sha256-esn", "sha384", "sha512", "aesxcbc", "aescmac", "aes128gmac", "aes256gmac-esn"]


@pytest.mark.parametrize("suite", SUITES)
def test_both_ends_hold_the_same_keys_and_none_for_encryption(suite: str) -> None:
    pair = ah_pair(suite).establish()

    a, b = pair.a.last(ChildSaUp), pair.b.last(ChildSaUp)
    assert a.suite == b.suite
    assert a.suite.protocol is ProtocolId.AH
    assert a.suite.encryption.id is EncryptionId.ENCR_NULL
    assert (a.keys_in, a.keys_out) == (b.keys_out, b.keys_in)
    assert a.keys_in[0] == b""
    assert a.suite.integrity is not None
    assert len(a.keys_in[1]) == a.suite.integrity.key_bytes
    assert a.esn is ("esn" in suite)


def test_gmac_is_an_integrity_algorithm_of_ah_and_a_cipher_of_esp() -> None:
    """RFC 4543 3 and 4: its keys end with a salt of four octets."""
    (proposal,) = ah("aes192gmac")
    assert [(t.type, t.id) for t in proposal.transforms] == [(3, IntegrityId.AUTH_AES_192_GMAC), (5, 0)]
    (cipher,) = (t for t in parse_proposal("aes192gmac", ProtocolId.ESP).transforms if t.type == 1)
    assert (cipher.id, cipher.key_bits) == (EncryptionId.ENCR_NULL_AUTH_AES_GMAC, 192)
    pair = ah_pair("aes192gmac").establish()
    assert len(pair.a.last(ChildSaUp).keys_in[1]) == 28


@pytest.mark.parametrize(
    "text", ["sha256", "sha256-sha512-esn", "aes256gmac-x25519", "aesxcbc-modp2048-esn-noesn"]
)
def test_a_proposal_for_ah_survives_its_string(text: str) -> None:
    (proposal,) = ah(text)
    assert ah(format_proposal(proposal)) == (proposal,)


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("suite", ["sha256", "sha256-x25519"])
def test_either_side_rekeys_and_deletes_the_old(side: str, suite: str) -> None:
    pair = ah_pair(suite).establish()
    old = {*pair.a.children, *pair.b.children}
    who = getattr(pair, side)
    pair.command(who, lambda end: end.rekey(next(iter(who.children)), pair.now))
    pair.settle()

    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert (a.spi_in, a.spi_out) == (b.spi_out, b.spi_in)
    assert not old & {a.spi_in, b.spi_in}
    assert a.suite.protocol is b.suite.protocol is ProtocolId.AH


def test_ah_and_esp_side_by_side_are_deleted_each_by_its_protocol() -> None:
    pair = Pair(
        replace(CONNECTION_A, children=(with_ah(NET_A, "sha256"), NET2_A)),
        replace(CONNECTION_B, children=(with_ah(NET_B, "sha256"), NET2_B)),
    )
    pair.initiate(None)
    pair.settle()
    assert {c.suite.protocol for c in pair.b.children.values()} == {ProtocolId.AH, ProtocolId.ESP}
    (spi,) = (c.spi_in for c in pair.a.children.values() if c.suite.protocol is ProtocolId.AH)
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()

    assert pair.b.last(ChildSaDown).reason is Reason.DELETED_BY_PEER
    for end in (pair.a, pair.b):
        assert [c.suite.protocol for c in end.children.values()] == [ProtocolId.ESP]


def test_esp_is_not_chosen_where_ah_is_wanted() -> None:
    pair = Pair(CONNECTION_A, replace(CONNECTION_B, children=(with_ah(NET_B, "sha256"),)))
    pair.initiate()
    pair.settle()

    assert pair.up
    assert pair.a.last(ChildFailed).reason is Reason.NO_PROPOSAL_CHOSEN
    told = pair.b.last(ChildFailed).text
    assert "no AH proposal in common: alice@example.org offered aes128gcm16; we accept AH sha256" in told


def test_c89_behind_a_nat_both_sides_refuse_ah_and_say_why() -> None:
    """What a NAT changes is signed: nothing that arrives could be authentic (RFC 3948 1)."""
    pair = ah_pair("sha256")
    NatBox(pair)
    pair.initiate()
    pair.settle()

    assert pair.up
    assert not pair.a.children
    assert not pair.b.children
    a, b = pair.a.last(ChildFailed), pair.b.last(ChildFailed)
    assert a.reason is b.reason is Reason.NO_PROPOSAL_CHOSEN
    assert "this side is behind a NAT, which changes addresses that AH protects" in a.text
    assert b.text.startswith("AH is refused; the peer is behind a NAT")


def test_c89_esp_is_chosen_behind_a_nat_where_both_are_possible() -> None:
    pair = Pair(
        replace(CONNECTION_A, children=(with_ah(NET_A, "sha256"), replace(NET_A, name="esp"))),
        replace(CONNECTION_B, children=(with_ah(NET_B, "sha256"), replace(NET_B, name="esp"))),
    )
    NatBox(pair)
    pair.initiate(None)
    pair.settle()

    assert [c.suite.protocol for c in pair.a.children.values()] == [ProtocolId.ESP]


def test_c89_forced_encapsulation_refuses_ah() -> None:
    pair = Pair(
        replace(CONNECTION_A, encap=True, children=(with_ah(NET_A, "sha256"),)),
        replace(CONNECTION_B, children=(with_ah(NET_B, "sha256"),)),
    )
    pair.initiate()
    pair.settle()

    assert not pair.a.children
    assert pair.a.last(ChildFailed).reason is Reason.NO_PROPOSAL_CHOSEN
    assert "encapsulation in UDP" in pair.a.last(ChildFailed).text or "NAT" in pair.a.last(ChildFailed).text


def test_c89_a_move_behind_a_nat_leaves_no_rekeying() -> None:
    """MOBIKE moves the Child SA; its successor is refused, and the reason is the NAT."""
    pair = ah_pair("sha256").establish()
    nat = NatBox(pair)
    pair.set_addresses(pair.a, [bytes((192, 168, 1, 77))])
    pair.settle()
    assert nat.mappings
    pair.command(pair.a, lambda end: end.rekey(next(iter(pair.a.children)), pair.now))
    pair.settle()

    failed = pair.a.last(RekeyFailed)
    assert failed.reason is Reason.NO_PROPOSAL_CHOSEN
    assert "behind a NAT" in failed.text


def ah_pair(suite: str) -> Pair:
    return Pair(
        replace(CONNECTION_A, children=(with_ah(NET_A, suite),)),
        replace(CONNECTION_B, children=(with_ah(NET_B, suite),)),
    )


def with_ah(child: ChildConfig, *suites: str) -> ChildConfig:
    return replace(child, esp_proposals=(), ah_proposals=ah(*suites))
