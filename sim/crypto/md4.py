"""MD4 (RFC 1320), which OpenSSL 3 no longer offers: MSCHAPv2 keeps passwords as MD4 hashes (RFC 2759 8.3).

Broken as a hash function; here for that protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

_WORDS = Struct("<16I")
_STATE = Struct("<4I")
_LENGTH = Struct("<Q")
_MASK = 0xFFFFFFFF
_BLOCK = 64

Function = Callable[[int, int, int], int]

# The function, the constant, the order of the words, and the four shifts of each round (RFC 1320 3.4).
_ROUNDS: tuple[tuple[Function, int, tuple[int, ...], tuple[int, ...]], ...] = (
    (lambda x, y, z: x & y | ~x & z, 0, tuple(range(16)), (3, 7, 11, 19)),
    (
        lambda x, y, z: x & y | x & z | y & z,
        0x5A827999,
        (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        (3, 5, 9, 13),
    ),
    (
        lambda x, y, z: x ^ y ^ z,
        0x6ED9EBA1,
        (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15),
        (3, 9, 11, 15),
    ),
)


def md4(data: bytes) -> bytes:
    """The digest, 16 octets."""
    padded = data + b"\x80" + bytes(-(len(data) + 9) % _BLOCK) + _LENGTH.pack(len(data) * 8)
    state: tuple[int, ...] = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for words in _WORDS.iter_unpack(padded):
        mixed = _mix(state, words)
        state = tuple((old + new) & _MASK for old, new in zip(state, mixed, strict=True))
    return _STATE.pack(*state)


def _mix(state: tuple[int, ...], words: tuple[int, ...]) -> tuple[int, ...]:
    a, b, c, d = state
    for function, constant, order, shifts in _ROUNDS:
        for step, index in enumerate(order):
            total = (a + function(b, c, d) + words[index] + constant) & _MASK
            shift = shifts[step % 4]
            a, b, c, d = d, (total << shift | total >> 32 - shift) & _MASK, b, c
    return a, b, c, d
