"""What a byte map consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Some octets of a packet in a row.

    `added` says that the original packet did not have them. Of `octets` 0 is what belongs to a packet
    without being sent with it, such as the salt of a nonce.
    """

    offset: int
    octets: int
    layer: str
    field: str
    value: str
    source: str
    added: bool


def laid_out(parts: list[tuple[int, str, str, str, str, bool]]) -> list[Piece]:
    """Pieces one after another, from (octets, layer, field, value, source, added)."""
    pieces, at = [], 0
    for octets, layer, name, value, source, added in parts:
        pieces.append(Piece(at, octets, layer, name, value, source, added))
        at += octets
    return pieces


def added_octets(pieces: list[Piece]) -> int:
    return sum(piece.octets for piece in pieces if piece.added)
