"""Pseudorandom functions and prf+ (RFC 7296 2.13; RFC 2104, RFC 4868)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import HashContext

from sim.crypto.ids import PrfId
from sim.wire.buffer import Buf

MacStart = Callable[[bytes], HashContext]
"""A keyed MAC that has seen no data yet; copying it saves the key schedule."""

_MAX_BLOCKS = 255  # the counter of prf+ is one octet


@dataclass(frozen=True, slots=True, eq=False)
class Prf:
    """One pseudorandom function, called as `prf(key, data)`.

    `key_bytes` is the preferred key size, which SK_d, SK_pi and SK_pr have (RFC 7296 2.14); any size works.
    """

    id: PrfId
    key_bytes: int
    out_bytes: int
    name: str
    start: MacStart

    def __call__(self, key: bytes, data: Buf) -> bytes:
        mac = self.start(key)
        mac.update(data)
        return mac.finalize()

    def plus(self, key: bytes, seed: Buf, size: int) -> bytes:
        """The first `size` octets of prf+(key, seed); ValueError beyond 255 blocks (RFC 7296 2.13)."""
        blocks = -(-size // self.out_bytes)
        if blocks > _MAX_BLOCKS:
            raise ValueError(f"prf+ of {self.name} cannot give {size} octets")
        keyed = self.start(key)
        block, out = b"", bytearray()
        for counter in range(1, blocks + 1):
            mac = keyed.copy()
            mac.update(b"".join((block, seed, bytes((counter,)))))
            block = mac.finalize()
            out += block
        return bytes(out[:size])
