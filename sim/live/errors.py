"""What keeps a live endpoint from running."""

from __future__ import annotations


class LiveError(Exception):
    """Missing privileges, a busy port, no device: the text is one sentence for the user."""


class DeviceGoneError(LiveError):
    """Somebody removed a device that was in use; nothing can be read from it or written to it any more."""
