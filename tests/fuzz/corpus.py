"""The messages that the tests replay: each had an outcome that none before it had."""

from __future__ import annotations

import base64
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus.txt"
MAX_BYTES = 700


def read_corpus() -> list[bytes]:
    """One message a line, in base64; none before the first run."""
    return [base64.b64decode(line) for line in CORPUS.read_text().splitlines()] if CORPUS.exists() else []
