"""What seals and what opens for an SA: its protocol and its mode are chosen here, once, at set-up.

          in front of the payload      what is done to the packet
ESP       EspSealer, EspOpener         TunnelSealer, TransportSealer; their openers
AH        AhSealer, AhOpener           the same, completed by AhMode
"""

from __future__ import annotations

from collections.abc import Callable

from sim.crypto.cipher import AeadCipher, Rand, check_keys, cipher
from sim.crypto.suites import Integrity
from sim.ipsec import express
from sim.ipsec.ah import AhMode, AhOpener, AhSealer
from sim.ipsec.compress import CompressingSealer, InflatingOpener, Tally
from sim.ipsec.esp import EspOpener, EspSealer
from sim.ipsec.outer import Number, outer
from sim.ipsec.replay import ReplayWindow
from sim.ipsec.resources import source_port
from sim.ipsec.spec import ChildSpec
from sim.ipsec.transport import TransportOpener, TransportSealer, Wrapper
from sim.ipsec.tunnel import TunnelOpener, TunnelSealer
from sim.wire.esp import Mode
from sim.wire.ip import IPV4_HEADER_BYTES, IPV6_HEADER_BYTES, Protocol

Sealer = EspSealer | AhSealer
Opener = EspOpener | AhOpener
ModeSealer = TunnelSealer | TransportSealer | AhMode
ModeOpener = TunnelOpener | TransportOpener | InflatingOpener
Express = Callable[[bytearray, int, int], bytearray | None]


def check(spec: ChildSpec, keys: tuple[bytes, bytes]) -> None:
    """ValueError for algorithms, keys and settings that do not fit together."""
    if spec.mode is not Mode.TRANSPORT and len(spec.local[0]) != len(spec.remote[0]):
        raise ValueError("the ends of a tunnel are of different IP versions")
    if spec.protocol is Protocol.AH:
        _check_ah(spec, keys)
    else:
        check_keys(spec.encryption, spec.integrity, *keys)


def sealer(spec: ChildSpec, rand: Rand) -> Sealer:
    """What makes the ESP or AH of an outbound SA."""
    if spec.protocol is Protocol.AH:
        return AhSealer(
            _integrity(spec), spec.keys_out[1], spec.spi_out, version=_version(spec), esn=spec.esn
        )
    keyed = cipher(spec.encryption, spec.integrity, *spec.keys_out, rand)
    return EspSealer(keyed, spec.spi_out, aead=spec.encryption.aead, esn=spec.esn)


def opener(spec: ChildSpec, rand: Rand) -> Opener:
    """What takes ESP or AH away for an inbound SA, with its replay window."""
    window = ReplayWindow(spec.replay_window, esn=spec.esn)
    if spec.protocol is Protocol.AH:
        return AhOpener(_integrity(spec), spec.keys_in[1], spec.spi_in, window, esn=spec.esn)
    keyed = cipher(spec.encryption, spec.integrity, *spec.keys_in, rand)
    return EspOpener(keyed, spec.spi_in, window, aead=spec.encryption.aead, esn=spec.esn)


def mode_sealer(spec: ChildSpec, wrapper: Sealer, number: Number, tally: Tally | None = None) -> ModeSealer:
    """What an outbound SA does to a packet, between the addresses of `spec`; with a tally it compresses."""
    inner = wrapper if tally is None else CompressingSealer(wrapper, spec.cpi_out, tally)
    if not isinstance(wrapper, AhSealer):
        return _mode_sealer(spec, inner, number)
    wrapper.version = _version(spec)
    return AhMode(_mode_sealer(spec, inner, number), wrapper)


def express_seal(spec: ChildSpec, mode: ModeSealer, wrapper: Sealer) -> Callable[[bytearray], bytearray]:
    """The shortest way through an outbound SA."""
    if (
        isinstance(mode, TunnelSealer)
        and isinstance(wrapper, EspSealer)
        and isinstance(wrapper.cipher, AeadCipher)
        and express.fits(spec)
    ):
        return express.express_sealer(mode, wrapper, wrapper.cipher, spec)
    return mode.seal


def mode_opener(spec: ChildSpec, tally: Tally | None = None) -> ModeOpener:
    """What an inbound SA does to what its ESP or AH held; with a tally it inflates."""
    opener = TunnelOpener(spec.outer_fields) if spec.mode is Mode.TUNNEL else TransportOpener(spec.original)
    return opener if tally is None else InflatingOpener(opener, spec.cpi_in, spec.mode, tally)


def express_open(spec: ChildSpec, wrapper: Opener) -> Express | None:
    """The shortest way through an inbound SA, if there is a shorter one: see `express`."""
    if spec.mode is not Mode.TUNNEL or spec.esn or spec.cpi_in or not isinstance(wrapper, EspOpener):
        return None
    if spec.outer_fields.copy_dscp.inwards:
        return None
    keyed = wrapper.cipher
    return express.express_opener(keyed, wrapper.window) if isinstance(keyed, AeadCipher) else None


def _mode_sealer(spec: ChildSpec, wrapper: Wrapper, number: Number) -> TunnelSealer | TransportSealer:
    if spec.mode is Mode.TUNNEL:
        fields = spec.outer_fields
        local = spec.local[0], source_port(spec)
        around = outer(local, spec.remote, number, encap=spec.encap, ttl=fields.ttl, protocol=spec.protocol)
        return TunnelSealer(wrapper, around, copy_df=spec.copy_df, df=spec.df, fields=fields)
    header = IPV4_HEADER_BYTES if _version(spec) == 4 else IPV6_HEADER_BYTES
    ports = (source_port(spec), spec.remote[1]) if spec.encap else None
    return TransportSealer(wrapper, header, ports, spec.protocol)


def _check_ah(spec: ChildSpec, keys: tuple[bytes, bytes]) -> None:
    if spec.encap:
        raise ValueError("AH cannot travel in UDP: a NAT rewrites addresses, which it protects (RFC 3948 1)")
    integrity = _integrity(spec)
    if keys[0]:
        raise ValueError("AH encrypts nothing and takes no encryption key")
    if len(keys[1]) != integrity.key_bytes:
        raise ValueError(f"{integrity.name} takes {integrity.key_bytes} octets of key, not {len(keys[1])}")


def _integrity(spec: ChildSpec) -> Integrity:
    if spec.integrity is None:
        raise ValueError("AH needs an integrity algorithm")
    return spec.integrity


def _version(spec: ChildSpec) -> int:
    return 4 if len(spec.remote[0]) == 4 else 6
