"""Both sides rekeyed the same SA at once: which of the two successors stays (RFC 7296 2.8.1, 2.8.2)."""

from __future__ import annotations

Nonces = tuple[bytes, bytes]
"""The two nonces of one exchange."""


def is_redundant(own: Nonces, others: Nonces) -> bool:
    """Whether the SA of our own exchange goes: it was made with the lowest of the four nonces.

    Nonces are compared octet by octet, and one that is the beginning of another is the lower one.
    """
    return min(own) < min(others)
