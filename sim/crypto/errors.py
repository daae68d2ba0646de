"""What the cryptography refuses."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

__all__ = ["CryptoError", "IntegrityError", "InvalidTag"]


class CryptoError(Exception):
    """A peer's octets are refused for a cryptographic reason; the text says which."""


class IntegrityError(CryptoError):
    """The integrity check value does not fit: the octets were changed, or made with another key."""
