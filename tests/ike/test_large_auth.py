"""Every way to authenticate, with an additional key exchange before it, in small fragments, or with a PPK."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import ConnectionConfig
from sim.ike.credentials import LocalAuth, Method, RemoteAuth
from sim.ike.events import IkeSaDown, IkeSaUp, MessageSent, Reason
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, Pair, ike
from tests.ike.test_eap import initiator, responder
from tests.ike.test_pubkey import CERT_A, CERT_B, remote

HYBRID = ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768")
NULL_A = replace(CONNECTION_A, psk=b"", local_id=None, local=LocalAuth(Method.NULL), remote=remote())
NULL_B = replace(CERT_B, remote_id=None, remote=RemoteAuth(Method.NULL))
Ends = tuple[ConnectionConfig, ConnectionConfig]
WAYS: dict[str, Ends] = {
    "shared key": (CONNECTION_A, CONNECTION_B),
    "certificates": (CERT_A, CERT_B),
    "null": (NULL_A, NULL_B),
    "eap-mschapv2": (initiator(), responder()),
    "eap-tls": (initiator("eap-tls"), responder("eap-tls")),
}


@pytest.mark.parametrize("size", [1280, 200])
@pytest.mark.parametrize("way", WAYS)
def test_c58_c82_auth_of_every_kind_covers_the_intermediate_exchange(way: str, size: int) -> None:
    pair = Pair(*with_hybrid(WAYS[way], size)).establish()

    assert pair.a.last(IkeSaUp).proposal.endswith("ke1_mlkem768")
    assert any(event.fragments > 1 for event in pair.a.all(MessageSent))
    assert len(pair.a.children) == len(pair.b.children) == 1


@pytest.mark.parametrize("way", WAYS)
def test_c58_auth_of_no_kind_accepts_a_changed_intermediate_exchange(way: str) -> None:
    pair = Pair(*with_hybrid(WAYS[way], 1280))
    pair.initiate()
    pair.drive(3 * LATENCY)
    (sa,) = pair.b.endpoint._ctx.sas.values()
    assert sa.int_auth is not None
    sa.int_auth._chain[True] = bytes(32)
    pair.drive(20 * NS_PER_S)

    assert not pair.a.all(IkeSaUp)
    assert pair.a.all(IkeSaDown)


@pytest.mark.parametrize("way", ["shared key", "certificates", "null"])
def test_a_ppk_goes_with_every_method_but_eap(way: str) -> None:
    ours, theirs = (replace(end, ppk=b"a secret", ppk_id=b"one") for end in WAYS[way])
    pair = Pair(ours, theirs).establish()
    assert pair.a.last(IkeSaUp).ppk
    assert pair.b.last(IkeSaUp).ppk

    pair = Pair(ours, replace(theirs, ppk=b"another"))
    pair.initiate()
    pair.drive(20 * NS_PER_S)
    assert not pair.b.all(IkeSaUp)
    assert pair.b.last(IkeSaDown).reason in (Reason.AUTHENTICATION_FAILED, Reason.WRONG_SIGNATURE)

    pair = Pair(ours, replace(theirs, ppk_id=b"two")).establish()
    assert not pair.b.last(IkeSaUp).ppk


def with_hybrid(ends: Ends, size: int) -> Ends:
    ours, theirs = (replace(end, proposals=HYBRID, fragment_size=size) for end in ends)
    return ours, theirs
