"""What may carry an inner packet, as rows of a table: a new way is a new row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sim.wire.esp import Mode

FORMULA = "formula"
ENCODED = "encoded"


class Carrier(StrEnum):
    """The ways; the value is the word for it on the command line."""

    PLAIN = "plain"
    ESP = "esp"
    AH = "ah"
    GRE = "gre"
    L2TP = "l2tp"
    IPTFS = "iptfs"
    WIREGUARD = "wireguard"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Way:
    """What is known of a carrier before any packet is.

    `default_suite` and `default_mode` are what it takes where nothing is asked for: "" and None where there
    is nothing to choose. `origin` says whether its numbers are those of encoded packets, or of a formula
    until the protocol itself is here.
    """

    title: str
    default_suite: str = ""
    default_mode: Mode | None = None
    origin: str = ENCODED
    natt: bool = False


WAYS: dict[Carrier, Way] = {
    Carrier.PLAIN: Way("plain IP"),
    Carrier.ESP: Way("ESP", "aes128gcm16", Mode.TUNNEL, natt=True),
    Carrier.AH: Way("AH", "sha256", Mode.TUNNEL),
    Carrier.GRE: Way("GRE over ESP", "aes128gcm16", Mode.TRANSPORT, natt=True),
    Carrier.L2TP: Way("L2TP over ESP", "aes128gcm16", Mode.TRANSPORT, natt=True),
    Carrier.IPTFS: Way("IP-TFS", "aes128gcm16", Mode.IPTFS, natt=True),
    Carrier.WIREGUARD: Way("WireGuard", origin=FORMULA),
    Carrier.TLS: Way("TLS VPN", origin=FORMULA),
}
