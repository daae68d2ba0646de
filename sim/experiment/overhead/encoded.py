"""Packets that the engine really seals: one SA for each variant, its sizes and maps read off the octets."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_128

from sim.experiment.overhead.alone import Alone
from sim.experiment.overhead.carriers import Carrier
from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.inner import Inner
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.reading import read
from sim.experiment.overhead.variant import Variant
from sim.ike.constants import ProtocolId
from sim.ike.events import ChildSaUp
from sim.ike.proposals import EspSuite
from sim.ipsec.engine import Engine
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import Drop
from sim.tunnels.keylog import KeyLog
from sim.wire import gre, l2tp
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.fragment import fragment
from sim.wire.fragment6 import fragment6
from sim.wire.handling import Handling
from sim.wire.ip import Protocol
from sim.wire.ipcomp import Transform
from sim.wire.selector import Selector

_SPI_IN, _SPI_OUT = 0xC0000001, 0xC0000002
_NATT_PORT = 4500
_DEFLATE = int(Transform.DEFLATE)
_ENDS = {
    4: (pack_address("192.0.2.1"), pack_address("198.51.100.1")),
    6: (pack_address("2001:db8::1"), pack_address("2001:db8:1::1")),
}
ENDS_OF_HOSTS = {
    4: (pack_address("10.1.0.10"), pack_address("10.2.0.20")),
    6: (pack_address("fd01::10"), pack_address("fd02::20")),
}
_ANY = (Selector.from_prefix("0.0.0.0/0"), Selector.from_prefix("::/0"))
_NEGOTIATED = {Protocol.ESP: ProtocolId.ESP, Protocol.AH: ProtocolId.AH}
_CUT: dict[int, Callable[[bytearray, int], list[bytearray]]] = {
    4: fragment,
    6: lambda packet, mtu: fragment6(packet, mtu, 1),
}
_SHELLS = {Carrier.GRE: gre.build, Carrier.L2TP: l2tp.build}


class Encoded(Alone):
    """One variant's SA. Between the same ends in transport mode, otherwise between hosts behind them."""

    def __init__(self, variant: Variant, inner: Inner, mtu: int = 1500) -> None:
        self.variant = variant
        self._inner = inner
        self._shell = _SHELLS.get(variant.carrier)
        direct = variant.mode is Mode.TRANSPORT and self._shell is None
        self._hosts = (_ENDS if direct else ENDS_OF_HOSTS)[inner.version]
        self._engine: Engine | None = None
        if variant.suite is not None:
            self.spec = spec_of(variant)
            self._engine = engine_with(self.spec)
            self._engine.path_mtu = lambda _sa: mtu

    def packet(self, size: int) -> bytearray:
        """The inner packet of `size` octets."""
        return self._inner.build(size, *self._hosts)

    def encode(self, size: int) -> bytearray:
        """The packet that carries it; OverheadError when the engine refuses."""
        packet = self.packet(size)
        if self._shell is not None:
            packet = self._shell(*_ENDS[self.variant.outer], packet)
        if self._engine is None:
            return packet
        sealed = self._engine.outbound(packet, 0)
        if not isinstance(sealed, bytearray):
            why = sealed.reason if isinstance(sealed, Drop) else sealed
            raise OverheadError(f"{self.variant.label} cannot carry {size} bytes: {why}")
        return sealed

    def wire(self, size: int) -> int:
        return len(self.encode(size))

    def on_path(self, size: int, mtu: int) -> list[int]:
        cut = _CUT[self.variant.outer]
        return [len(piece) for piece in cut(self.encode(size), mtu)]

    def byte_map(self, size: int) -> list[Piece]:
        keys = KeyLog() if self._engine is None else receiver_keys(self.spec)
        return read(bytes(self.encode(size)), self.variant, keys)


def engine_with(spec: ChildSpec) -> Engine:
    """An engine at the near end of a pair of SAs."""
    engine = Engine(rand=_Octets())
    engine.local_addresses = (spec.local[0],)
    engine.install(spec, 0)
    return engine


class _Octets:
    """Octets for IVs: the same in each study."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return shake_128(self._count.to_bytes(8, "big")).digest(size)


def spec_of(variant: Variant) -> ChildSpec:
    """The near end of a pair of SAs for a variant that has a suite and a mode."""
    suite, mode = variant.suite, variant.mode
    assert suite is not None
    assert mode is not None
    near, far = _ENDS[variant.outer]
    key = _Octets()
    keys = (
        key(suite.encryption.keymat_bytes),
        key(suite.integrity.key_bytes) if suite.integrity is not None else b"",
    )
    return ChildSpec(
        connection="overhead",
        child=variant.label,
        spi_in=_SPI_IN,
        spi_out=_SPI_OUT,
        mode=mode,
        encryption=suite.encryption,
        integrity=suite.integrity,
        keys_in=keys,
        keys_out=keys,
        local=(near, _NATT_PORT),
        remote=(far, _NATT_PORT),
        encap=variant.natt,
        local_ts=_ANY,
        remote_ts=_ANY,
        esn=suite.esn,
        copy_df=False,
        handling=Handling(tfc_padding=variant.tfc),
        cpi_in=_DEFLATE if variant.ipcomp else 0,
        cpi_out=_DEFLATE if variant.ipcomp else 0,
        protocol=Protocol.AH if variant.carrier is Carrier.AH else Protocol.ESP,
    )


def receiver_keys(spec: ChildSpec) -> KeyLog:
    """The far end's keys, with which a packet is read."""
    keys = KeyLog()
    keys.child_sa(_receiver(spec))
    return keys


def _receiver(spec: ChildSpec) -> ChildSaUp:
    return ChildSaUp(
        ike_id=0,
        connection=spec.connection,
        child=spec.child,
        mode=spec.mode,
        spi_in=spec.spi_out,
        spi_out=spec.spi_in,
        suite=EspSuite(spec.encryption, spec.integrity, spec.esn, None, _NEGOTIATED[spec.protocol]),
        keys_in=spec.keys_out,
        keys_out=spec.keys_in,
        local=spec.remote,
        remote=spec.local,
        encap=spec.encap,
        local_ts=spec.remote_ts,
        remote_ts=spec.local_ts,
        replay_window=spec.replay_window,
        esn=spec.esn,
        initiator=False,
        copy_df=spec.copy_df,
    )
