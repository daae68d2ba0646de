"""Which resource of a host a Child SA is for, such as a CPU (RFC 9611).

Several Child SAs have the same selectors: one that all resources may use, and one for each of them.
"""

from __future__ import annotations

from zlib import crc32

from sim.wire.value import value

ALL = -1
"""Instead of a number: the Child SA that every resource may use while it has none of its own."""


@value
class Share:
    """The part of one Child SA among those with its selectors.

    `cpus` are this host's; `cpu` is which of them sends on it, or ALL. `asks` is that a packet of a CPU that
    has none asks for it. With `scatter` ESP in UDP comes from a port of its own, so that a receiver can tell
    the SAs apart by ports; the peer is not told.
    """

    cpus: int
    cpu: int = ALL
    asks: bool = False
    scatter: bool = False

    @property
    def is_bound(self) -> bool:
        return self.cpu != ALL


def cpu_of(flow: bytes, cpus: int) -> int:
    """The CPU that handles a flow, of which `flow` is what all its packets have in common.

    A host spreads flows by a hash, too (receive side scaling); this one is CRC-32, so it never changes.
    """
    return crc32(flow) % cpus


_FIRST_PORT, _PORTS = 49152, 16384  # the dynamic ports (RFC 6335 6)


def scattered_port(spi_out: int) -> int:
    """A dynamic port for an SA of its own; nobody foresees it, as the peer has drawn the SPI."""
    return _FIRST_PORT + spi_out % _PORTS
