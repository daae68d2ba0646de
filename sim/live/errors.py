"""What keeps a live endpoint from running."""

from __future__ import annotations


class LiveError(Exception):
    """Missing privileges, a busy port, no device: the text is one sentence for the user."""
