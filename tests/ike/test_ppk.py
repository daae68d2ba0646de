"""Post-quantum preshared keys: optional, required, unknown to one side, wrong (RFC 8784)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.ike.constants import NotifyType
from sim.ike.events import IkeSaDown, IkeSaUp, Reason
from sim.units import NS_PER_S
from tests.ike import test_intermediate as intermediate
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, Pair, ike
from tests.ike.test_rekey_child import rekey, rekey_ike
from tests.ike.test_rekey_multi_ke import agreed

HAS: dict[str, Any] = {"ppk": b"an unguessable secret of 32 octets", "ppk_id": b"ppk-1"}
MUST = {**HAS, "ppk_required": True}
OTHER_ID: dict[str, Any] = {**HAS, "ppk_id": b"ppk-2"}
OTHER = {**HAS, "ppk": b"another secret, with the same name"}


@pytest.mark.parametrize("ours", [HAS, MUST])
@pytest.mark.parametrize("theirs", [HAS, MUST])
def test_both_sides_mix_the_ppk_in(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """USE_PPK both ways, then PPK_IDENTITY with the name, and without it in the answer."""
    pair = pair_of(ours, theirs).establish()

    assert pair.a.last(IkeSaUp).ppk
    assert pair.b.last(IkeSaUp).ppk
    assert "N(USE_PPK)" in pair.a.ladder[0]
    assert "N(USE_PPK)" in pair.b.ladder[0]
    assert "N(PPK_IDENTITY)" in pair.a.ladder[1]
    assert "N(PPK_IDENTITY)" in pair.b.ladder[1]
    assert ("N(NO_PPK_AUTH)" in pair.a.ladder[1]) is (ours is HAS)
    assert agreed(pair, 1)


def test_keys_are_as_the_rfc_computes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """SK_d = prf+(PPK, SK_d'), SK_pi, SK_pr alike; what protects messages stays (RFC 8784 3)."""
    secrets: list[bytes] = []
    intermediate.watch(monkeypatch, secrets)
    pair = pair_of(HAS, HAS).establish()
    (sa,) = pair.a.endpoint._ctx.sas.values()
    seed = intermediate.prf(sa.nonce_i + sa.nonce_r, secrets[0])
    plain = intermediate.ike_keys(seed, sa.nonce_i, sa.nonce_r, sa.spi_i, sa.spi_r)
    mixed = [intermediate.prf(HAS["ppk"], plain[at] + b"\1") for at in (0, 3, 4)]

    assert [sa.keys.sk_d, sa.keys.sk_pi, sa.keys.sk_pr] == mixed
    assert (sa.keys.sk_ei, sa.keys.sk_er) == (plain[1], plain[2])


@pytest.mark.parametrize(("ours", "theirs"), [(HAS, {}), ({}, HAS), (HAS, OTHER_ID)])
def test_who_does_not_insist_goes_on_without(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """A responder that does not have this PPK verifies NO_PPK_AUTH instead."""
    pair = pair_of(ours, theirs).establish()

    assert not pair.a.last(IkeSaUp).ppk
    assert not pair.b.last(IkeSaUp).ppk
    assert "PPK" not in pair.b.ladder[1]
    rekey(pair, pair.a)
    pair.settle()
    assert agreed(pair, 1)


@pytest.mark.parametrize(
    ("ours", "theirs", "side"),
    [(MUST, {}, "a"), ({}, MUST, "b"), (HAS, {**MUST, "ppk_id": b"x"}, "b"), (MUST, OTHER_ID, "b")],
)
def test_who_insists_refuses_without(ours: dict[str, Any], theirs: dict[str, Any], side: str) -> None:
    pair = pair_of(ours, theirs)
    pair.initiate()
    pair.drive(60 * NS_PER_S)

    assert not pair.a.all(IkeSaUp)
    assert getattr(pair, side).last(IkeSaDown).reason is Reason.PPK_REQUIRED


def test_a_responder_that_ignores_our_ppk_is_refused_if_we_insist() -> None:
    """It says USE_PPK for another connection's sake, and then does not use it."""
    pair = pair_of(HAS, OTHER_ID)
    pair.initiate()
    pair.drive(3 * LATENCY)
    (sa,) = pair.a.endpoint._ctx.sas.values()
    sa.connection = replace(sa.connection, ppk_required=True)
    pair.drive(NS_PER_S)

    assert pair.a.last(IkeSaDown).reason is Reason.PPK_REQUIRED


def test_a_wrong_ppk_of_the_right_name_does_not_authenticate() -> None:
    pair = pair_of(HAS, OTHER)
    pair.initiate()
    pair.drive(NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED
    assert not pair.up


def test_a_proof_that_a_ppk_is_mixed_into_names_the_ppk_when_it_fails() -> None:
    """RFC 8784 3: with the right secret and another PPK, neither side may blame the secret alone."""
    pair = pair_of(HAS, OTHER)
    pair.initiate()
    pair.drive(NS_PER_S)

    assert "or the same PPK" in pair.b.last(IkeSaDown).text
    assert "or has not the same PPK" in pair.a.last(IkeSaDown).text


@pytest.mark.parametrize("theirs", [{}, OTHER_ID])
def test_a_proof_without_a_ppk_does_not_name_one_when_it_fails(theirs: dict[str, Any]) -> None:
    pair = Pair(replace(CONNECTION_A, psk=b"wrong", **HAS), replace(CONNECTION_B, **theirs))
    pair.initiate()
    pair.drive(NS_PER_S)

    assert "PPK" not in pair.b.last(IkeSaDown).text


def test_what_stands_in_for_the_ppk_is_verified() -> None:
    """NO_PPK_AUTH of somebody who does not know the shared key."""
    pair = Pair(replace(CONNECTION_A, psk=b"wrong", **HAS), replace(CONNECTION_B, **OTHER_ID))
    pair.initiate()
    pair.drive(NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.AUTHENTICATION_FAILED


@pytest.mark.parametrize("response", [False, True])
def test_a_ppk_cannot_be_talked_away(response: bool) -> None:
    """AUTH covers IKE_SA_INIT, where USE_PPK stands."""
    pair = pair_of(HAS, HAS)
    pair.rewrite = lambda d: intermediate.without(d, NotifyType.USE_PPK, response)
    pair.initiate()
    pair.drive(NS_PER_S)

    assert not pair.up


def test_a_ppk_goes_with_additional_key_exchanges_and_into_every_rekeying() -> None:
    pair = pair_of(HAS, HAS, "aes128gcm16-prfsha256-x25519-ke1_mlkem768").establish()
    rekey(pair, pair.b)
    pair.settle()
    rekey_ike(pair, pair.a)
    pair.drive(60 * NS_PER_S)

    assert pair.a.last(IkeSaUp).ppk
    assert pair.b.last(IkeSaUp).ppk
    assert agreed(pair, 1)


@pytest.mark.parametrize(
    "wrong", [{"ppk": b"x"}, {"ppk_id": b"x"}, {"ppk_required": True}], ids=["no id", "no secret", "neither"]
)
def test_half_a_ppk_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="PPK"):
        replace(CONNECTION_A, **wrong)


def pair_of(
    ours: dict[str, Any], theirs: dict[str, Any], suite: str = "aes128gcm16-prfsha256-x25519"
) -> Pair:
    a, b = (replace(c, proposals=ike(suite)) for c in (CONNECTION_A, CONNECTION_B))
    return Pair(replace(a, **ours), replace(b, **theirs))
