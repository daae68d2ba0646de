"""Pseudorandom functions and prf+ (RFC 7296 2.13; RFC 2104, 4868, 4434, 4615)."""

from __future__ import annotations

from dataclasses import dataclass

from sim.crypto.ids import PrfId
from sim.crypto.mac import WholeMac
from sim.wire.buffer import Buf

_MAX_BLOCKS = 255  # the counter of prf+ is one octet
_COUNTERS = [bytes((counter,)) for counter in range(1, _MAX_BLOCKS + 1)]


@dataclass(frozen=True, slots=True, eq=False)
class Prf:
    """One pseudorandom function, called as `prf(key, data)`.

    `key_bytes` is the preferred key size, which SK_d, SK_pi and SK_pr have (RFC 7296 2.14); any size works.
    `nonce_bytes` is how much of each nonce makes the key of SKEYSEED, None for all of it.
    """

    id: PrfId
    key_bytes: int
    out_bytes: int
    name: str
    mac: WholeMac
    nonce_bytes: int | None = None

    def __call__(self, key: bytes, data: Buf) -> bytes:
        return self.mac(key, data)

    def plus(self, key: bytes, seed: bytes, size: int) -> bytes:
        """The first `size` octets of prf+(key, seed); ValueError beyond 255 blocks (RFC 7296 2.13)."""
        blocks = -(-size // self.out_bytes)
        if blocks > _MAX_BLOCKS:
            raise ValueError(f"prf+ of {self.name} cannot give {size} octets")
        mac, block, out = self.mac, b"", b""
        for counter in _COUNTERS[:blocks]:
            block = mac(key, block + seed + counter)
            out += block
        return out[:size]
