"""Two engines that share a Child SA, and the packets to put through them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from sim.crypto.ids import EncryptionId, IntegrityId
from sim.crypto.suites import AH_INTEGRITY, ENCRYPTION, INTEGRITY, Encryption, Integrity
from sim.ike.algorithms import NAMES
from sim.ike.constants import TransformType
from sim.ipsec.engine import Engine
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import Drop, Verdict
from sim.wire import udp
from sim.wire.address import Sock, pack_address
from sim.wire.esp import Mode
from sim.wire.ip import Protocol
from sim.wire.selector import Selector

Suite = tuple[Encryption, Integrity | None]


def word(row: Encryption | Integrity) -> str:
    """An algorithm as proposals name it."""
    if isinstance(row, Encryption):
        return NAMES[TransformType.ENCR, row.id, row.key_bits]
    return NAMES[TransformType.INTEG, row.id, None]


_GCM, _CBC = EncryptionId.ENCR_AES_GCM_16, EncryptionId.ENCR_AES_CBC
_SHA1, _SHA256 = IntegrityId.AUTH_HMAC_SHA1_96, IntegrityId.AUTH_HMAC_SHA2_256_128
SUITES: dict[str, Suite] = {
    "aes128gcm16": (ENCRYPTION[_GCM, 128], None),
    "aes256gcm16": (ENCRYPTION[_GCM, 256], None),
    "chacha20poly1305": (ENCRYPTION[EncryptionId.ENCR_CHACHA20_POLY1305, None], None),
    "aes128-sha1": (ENCRYPTION[_CBC, 128], INTEGRITY[_SHA1]),
    "aes256-sha256": (ENCRYPTION[_CBC, 256], INTEGRITY[_SHA256]),
    "aes192ccm16": (ENCRYPTION[EncryptionId.ENCR_AES_CCM_16, 192], None),
    "aes192ctr-sha384": (
        ENCRYPTION[EncryptionId.ENCR_AES_CTR, 192],
        INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_384_192],
    ),
    "3des-aescmac": (ENCRYPTION[EncryptionId.ENCR_3DES, None], INTEGRITY[IntegrityId.AUTH_AES_CMAC_96]),
    "null-sha512": (ENCRYPTION[EncryptionId.ENCR_NULL, None], INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_512_256]),
    "aes192gmac": (ENCRYPTION[EncryptionId.ENCR_NULL_AUTH_AES_GMAC, 192], None),
    "aes128gcm16iiv": (ENCRYPTION[EncryptionId.ENCR_AES_GCM_16_IIV, 128], None),
    "aes256ccm8iiv": (ENCRYPTION[EncryptionId.ENCR_AES_CCM_8_IIV, 256], None),
    "chacha20poly1305iiv": (ENCRYPTION[EncryptionId.ENCR_CHACHA20_POLY1305_IIV, None], None),
}
"""One of each kind, for the tests of what does not depend on sizes of keys."""
EVERY_SUITE: dict[str, Suite] = SUITES | {
    "-".join(word(part) for part in (encryption, integrity) if part): (encryption, integrity)
    for encryption in ENCRYPTION.values()
    for integrity in ([None] if encryption.aead else INTEGRITY.values())
}
_NULL = ENCRYPTION[EncryptionId.ENCR_NULL, None]
AH_SUITES: dict[str, Suite] = {
    f"ah-{name}": (_NULL, AH_INTEGRITY[id_])
    for name, id_ in {
        "sha1": _SHA1,
        "sha256": _SHA256,
        "sha384": IntegrityId.AUTH_HMAC_SHA2_384_192,
        "sha512": IntegrityId.AUTH_HMAC_SHA2_512_256,
        "aesxcbc": IntegrityId.AUTH_AES_XCBC_96,
        "aescmac": IntegrityId.AUTH_AES_CMAC_96,
        "aes128gmac": IntegrityId.AUTH_AES_128_GMAC,
        "aes192gmac": IntegrityId.AUTH_AES_192_GMAC,
        "aes256gmac": IntegrityId.AUTH_AES_256_GMAC,
    }.items()
}

A4, B4 = pack_address("192.0.2.1"), pack_address("198.51.100.1")
A6, B6 = pack_address("2001:db8::1"), pack_address("2001:db8:1::1")
MODES = (Mode.TUNNEL, Mode.TRANSPORT)
"""The modes in which one packet becomes one."""
# Hosts behind A and B.
HOST_A4, HOST_B4 = pack_address("10.1.0.10"), pack_address("10.2.0.20")
HOST_A6, HOST_B6 = pack_address("fd01::10"), pack_address("fd02::20")
NET_A = (Selector.from_prefix("10.1.0.0/16"), Selector.from_prefix("fd01::/16"))
NET_B = (Selector.from_prefix("10.2.0.0/16"), Selector.from_prefix("fd02::/16"))
SPI_A, SPI_B = 0xA0000001, 0xB0000002
"""What A and B receive on."""


@dataclass
class Pair:
    a: Engine
    b: Engine
    spec: ChildSpec

    def seal(self, packet: bytearray, now: int = 0) -> bytearray:
        """What A makes of a packet that it must protect."""
        return packet_of(self.a.outbound(packet, now))

    def open(self, packet: bytearray, now: int = 0) -> bytearray | Verdict:
        """What B makes of a copy of a packet."""
        return self.b.inbound(bytearray(packet), now)

    def state_b(self) -> tuple[object, ...]:
        """All that an accepted packet changes at B."""
        sa, window = self.b.sad[SPI_B].inbound, self.b.sad[SPI_B].inbound.window
        seen = tuple(window.check(seq) for seq in range(max(0, window.top - window.size), window.top + 1))
        return sa.packets, sa.bytes, sa.last_at, sa.spec, window.top, seen, self.b.next_event()


def make_pair(
    suite: str = "aes128gcm16",
    *,
    mode: Mode = Mode.TUNNEL,
    encap: bool = False,
    outer: int = 4,
    **settings: Any,
) -> Pair:
    """A and B with one Child SA between their networks, or between themselves in transport mode."""
    spec = make_spec(suite, mode=mode, encap=encap, outer=outer, **settings)
    a, b = bare_engine(A4, A6), bare_engine(B4, B6)
    a.install(spec, 0)
    b.install(mirrored(spec), 0)
    return Pair(a, b, spec)


def bare_engine(*addresses: bytes) -> Engine:
    engine = Engine(rand=random.Random(7).randbytes)
    engine.local_addresses = addresses
    return engine


def make_spec(
    suite: str = "aes128gcm16",
    *,
    mode: Mode = Mode.TUNNEL,
    encap: bool = False,
    outer: int = 4,
    **settings: Any,
) -> ChildSpec:
    """A's side of a Child SA; `settings` are fields of ChildSpec."""
    encryption, integrity = (EVERY_SUITE | AH_SUITES)[suite]
    local, remote = (A4, B4) if outer == 4 else (A6, B6)
    hosts = mode is Mode.TRANSPORT
    fields: dict[str, Any] = {
        "connection": "site",
        "child": "net",
        "spi_in": SPI_A,
        "spi_out": SPI_B,
        "mode": mode,
        "encryption": encryption,
        "integrity": integrity,
        "keys_in": keys(encryption, integrity, 1),
        "keys_out": keys(encryption, integrity, 2),
        "local": (local, 4500),
        "remote": (remote, 4500),
        "encap": encap,
        "local_ts": (Selector.host(local),) if hosts else NET_A,
        "remote_ts": (Selector.host(remote),) if hosts else NET_B,
        "protocol": Protocol.AH if suite in AH_SUITES else Protocol.ESP,
    }
    return ChildSpec(**{**fields, **settings})


def mirrored(spec: ChildSpec) -> ChildSpec:
    """The other side of a Child SA."""
    return replace(
        spec,
        spi_in=spec.spi_out,
        spi_out=spec.spi_in,
        keys_in=spec.keys_out,
        keys_out=spec.keys_in,
        local=spec.remote,
        remote=spec.local,
        local_ts=spec.remote_ts,
        remote_ts=spec.local_ts,
        cpi_in=spec.cpi_out,
        cpi_out=spec.cpi_in,
    )


def keys(encryption: Encryption, integrity: Integrity | None, seed: int) -> tuple[bytes, bytes]:
    source = random.Random(seed)
    return source.randbytes(encryption.keymat_bytes), source.randbytes(
        integrity.key_bytes if integrity else 0
    )


def datagram(
    size: int = 100, *, version: int = 4, ports: tuple[int, int] = (1000, 2000), **fields: Any
) -> bytearray:
    """A UDP packet of `size` octets in all, from a host behind A to one behind B."""
    src, dst = (HOST_A4, HOST_B4) if version == 4 else (HOST_A6, HOST_B6)
    return between((src, ports[0]), (dst, ports[1]), size, **fields)


def between(src: Sock, dst: Sock, size: int = 100, **fields: Any) -> bytearray:
    header = 28 if len(src[0]) == 4 else 48
    return udp.build(src, dst, bytes(i & 0xFF for i in range(size - header)), **fields)


def packet_of(outcome: bytearray | Verdict) -> bytearray:
    assert isinstance(outcome, bytearray), outcome
    return outcome


def reason_of(outcome: bytearray | Verdict) -> str:
    assert isinstance(outcome, Drop), outcome
    return str(outcome.reason)
