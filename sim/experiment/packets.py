"""The packets of a run's capture as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.units import NS_PER_S
from sim.wire import ah, ip, udp, udp_encap
from sim.wire.address import format_address
from sim.wire.esp import parse_header
from sim.wire.ip import Protocol
from sim.wire.pcapng import Captured, read_capture

if TYPE_CHECKING:
    import pandas as pd

IKE_PORT, NATT_PORT = 500, 4500


def packets(folder: str | Path) -> pd.DataFrame:
    """Every packet that a run captured, in the order of the capture, which is that of time.

    `folder` is what `out` named, or a capture file with IP packets. Columns: at_s, interface
    (`node:interface`), src, dst, protocol (ESP, "ESP in UDP", IKE, keepalive, or the upper layer's name),
    size, spi (of ESP, eight hexadecimal digits, else empty), seq (of ESP, else missing) and octets (the
    whole IP packet). OSError when there is no
    capture.
    """
    import pandas as pd

    path = Path(folder)
    file = path / "capture.pcapng" if path.is_dir() else path
    table = pd.DataFrame([_row(captured) for captured in read_capture(file)], columns=_COLUMNS)
    return table.astype({"seq": "Int64"})


_COLUMNS = ["at_s", "interface", "src", "dst", "protocol", "size", "spi", "seq", "octets"]


def _row(captured: Captured) -> dict[str, Any]:
    packet = captured.data
    header = ip.parse_quoted(packet)
    protocol, esp_at = _protocol(packet, header)
    spi, seq = parse_header(packet, esp_at) if esp_at else (0, None)
    if protocol == "AH":
        spi, seq = ah.parse(packet, header.upper_offset)[2:]
    return {
        "at_s": captured.at_ns / NS_PER_S,
        "interface": captured.interface,
        "src": format_address(header.src),
        "dst": format_address(header.dst),
        "protocol": protocol,
        "size": captured.wire_bytes,
        "spi": f"{spi:08x}" if spi else "",
        "seq": seq,
        "octets": packet,
    }


def _protocol(packet: bytes, header: ip.IpHeader) -> tuple[str, int]:
    """The name of what the packet carries, and where its ESP begins, 0 for none."""
    at = header.upper_offset
    if header.is_fragment:
        return "fragment", 0
    if header.protocol == Protocol.ESP:
        return "ESP", at
    if header.protocol == Protocol.UDP:
        return _datagram(packet, at)
    known = {int(item): item.name for item in Protocol}
    return known.get(header.protocol, str(header.protocol)), 0


def _datagram(packet: bytes, at: int) -> tuple[str, int]:
    ports = udp.parse(packet, at)[:2]
    data = at + udp.UDP_HEADER_BYTES
    if NATT_PORT in ports:
        kind = udp_encap.classify(packet[data:])
        return ("ESP in UDP", data) if kind is udp_encap.Kind.ESP else (kind.value, 0)
    return ("IKE" if IKE_PORT in ports else "UDP"), 0
