"""Commands of both ends in one instant, with nonces and SPIs of the test's choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sim.ike.channel import Channel, Encoded
from sim.ike.config import ChildConfig, ConnectionConfig
from sim.ike.constants import ExchangeType, ProtocolId
from sim.ike.payloads import DeletePayload, Payload
from sim.units import NS_PER_MS
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, NET_A, NET_B, End, Pair, esp, ike
from tests.ike.test_rekey_child import rekey, rekey_ike

LOW, HIGH = b"\x00" * 32, b"\xff" * 32
NONCES = ("N1", "N2", "N3", "N4")
"""N1 and N2 are the nonces of a's and of b's request, N3 and N4 of the answers to them."""
_GROUPS = {"a": ("x25519", "ecp384"), "b": ("ecp256", "ecp384")}
"""What each side offers: its first guess is never right."""
LATE, LATER = 15 * NS_PER_MS, 55 * NS_PER_MS
"""So long that the peer's answer, or all that follows from it, is there first."""
Deletes = list[tuple[str, tuple[bytes, ...]]]
SPI_BASE = 0x1000


def settled(pair: Pair, children: int, ike_sas: int = 1) -> None:
    pair.calm()
    check_calm(pair)
    assert len(pair.a.children) == children
    assert len(pair.a.endpoint._ctx.sas) == ike_sas


def sides(pair: Pair, first: str) -> tuple[End, End]:
    return (pair.a, pair.b) if first == "a" else (pair.b, pair.a)


def start(pair: Pair, end: End, what: str) -> None:
    act: dict[str, Callable[[Pair, End], None]] = {
        "rekey child": rekey,
        "delete child": delete_children,
        "rekey ike": rekey_ike,
        "delete ike": delete_ike,
    }
    act[what](pair, end)


def delete_ike(pair: Pair, end: End) -> None:
    pair.command(end, lambda endpoint: endpoint.delete("rw", pair.now))


def delete_children(pair: Pair, end: End) -> None:
    for spi in end.children:
        pair.command(end, lambda endpoint, spi=spi: endpoint.delete_child(spi, pair.now))  # type: ignore[misc]


def collide(pair: Pair, lowest: str) -> None:
    """Both rekey the Child SA at once; without PFS the draws of 32 octets are the nonces."""
    chosen = {name: LOW if name == lowest else HIGH for name in NONCES}
    force(pair.a, 32, chosen["N1"], chosen["N4"])
    force(pair.b, 32, chosen["N2"], chosen["N3"])
    rekey(pair, pair.a)
    rekey(pair, pair.b)


def collide_ike(pair: Pair, lowest: str) -> None:
    """Both rekey the IKE SA: they draw nonce and private value for the request, the reverse for an answer."""
    chosen = {name: LOW if name == lowest else HIGH for name in NONCES}
    force(pair.a, 32, chosen["N1"], None, None, chosen["N4"])
    force(pair.b, 32, chosen["N2"], None, None, chosen["N3"])
    rekey_ike(pair, pair.a)
    rekey_ike(pair, pair.b)


def force(end: End, size: int, *values: bytes | None) -> None:
    """The next draws of `size` octets; None is any."""
    context, left = end.endpoint._ctx, list(values)
    rand = context.rand

    def draw(count: int) -> bytes:
        forced = left.pop(0) if count == size and left else None
        return rand(count) if forced is None else forced

    context.rand = draw


def number_spis(pair: Pair) -> Pair:
    """The inbound SPIs of `a` and `b` are 1 and 2, then 3 and 4, then 6 and 5."""
    for end, numbers in ((pair.a, (1, 3, 6)), (pair.b, (2, 4, 5))):
        force(end, 4, *(octets(number) for number in numbers))
    return pair


def octets(number: int) -> bytes:
    return (SPI_BASE + number).to_bytes(4, "big")


def watch_deletes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Deletes:
    """The SPIs in the requests to delete of either side, from now on."""
    seen: Deletes = []
    ends = {id(end.endpoint._ctx): end.side for end in (pair.a, pair.b)}
    encode = Channel.encode

    def watched(
        self: Channel, exchange: ExchangeType, message_id: int, response: bool, payloads: Sequence[Payload]
    ) -> Encoded:
        for payload in payloads:
            if isinstance(payload, DeletePayload) and payload.protocol == ProtocolId.ESP and not response:
                seen.append((ends[id(self._sa.ctx)], payload.spis))
        return encode(self, exchange, message_id, response, payloads)

    monkeypatch.setattr(Channel, "encode", watched)
    return seen


def by_a(pair: Pair) -> bool:
    (child,) = pair.a.children.values()
    return child.initiator


def ike_by_a(pair: Pair) -> bool:
    (sa,) = pair.a.endpoint._ctx.sas.values()
    return sa.initiator


def guessing_pair(seed: str = "1") -> Pair:
    """Both sides' IKE and Child SAs with key exchanges of which only the second choice is common."""
    suites = {side: [f"aes128gcm16-{group}" for group in groups] for side, groups in _GROUPS.items()}
    ike_suites = {
        side: [f"aes128gcm16-prfsha256-{group}" for group in groups] for side, groups in _GROUPS.items()
    }
    return Pair(
        _guessing(CONNECTION_A, NET_A, suites["a"], ike_suites["a"]),
        _guessing(CONNECTION_B, NET_B, suites["b"], ike_suites["b"]),
        seed=seed,
    )


def _guessing(
    base: ConnectionConfig, child: ChildConfig, suites: list[str], ike_suites: list[str]
) -> ConnectionConfig:
    return replace(base, proposals=ike(*ike_suites), children=(replace(child, esp_proposals=esp(*suites)),))


def forget_the_group(pair: Pair) -> Pair:
    """So that a rekeying of the IKE SA begins with the own first choice again."""
    for end in (pair.a, pair.b):
        for sa in end.endpoint._ctx.sas.values():
            sa.chosen = sa.connection.proposals[0]
    return pair
