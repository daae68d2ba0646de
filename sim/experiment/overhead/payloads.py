"""What inner packets carry. It matters to IPComp alone, which has nothing to gain from what is random.

All are the same in each study. How much smaller DEFLATE makes `text` is zlib's affair and may change with its
version by a few octets.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from hashlib import shake_128

_LONGEST = 1 << 16
_CYCLE = bytes(range(256))
_WORDS = (
    *("the", "of", "and", "to", "a", "in", "is", "it", "that", "was", "for", "on", "are", "with", "as", "be"),
    *("at", "by", "this", "have", "from", "or", "had", "not", "but", "what", "all", "were", "when", "we"),
    *(
        "there",
        "can",
        "an",
        "your",
        "which",
        "their",
        "said",
        "if",
        "do",
        "will",
        "each",
        "about",
        "how",
        "up",
    ),
    *("packet", "tunnel", "gateway", "address", "network", "between", "hosts", "before", "after", "security"),
)


class Payload(StrEnum):
    """Kinds of content, by their words on the command line."""

    TEXT = "text"
    RANDOM = "random"
    ZEROS = "zeros"


def counting(size: int) -> bytes:
    """0, 1, 2 and so on: where nobody looks at the content."""
    return (_CYCLE * (size // len(_CYCLE) + 1))[:size]


def text(size: int) -> bytes:
    """English words in no order; DEFLATE makes half or less of a large packet of it."""
    return _text()[:size]


def random(size: int) -> bytes:
    """What looks random, as anything that is encrypted or compressed already does."""
    return _random()[:size]


PAYLOADS: dict[Payload, Callable[[int], bytes]] = {
    Payload.TEXT: text,
    Payload.RANDOM: random,
    Payload.ZEROS: bytes,
}


@lru_cache(1)
def _random() -> bytes:
    return shake_128(b"payload").digest(_LONGEST)


@lru_cache(1)
def _text() -> bytes:
    words = (_WORDS[octet % len(_WORDS)] for octet in _random())
    return " ".join(words).encode()[:_LONGEST]
