"""Calendar dates as text and in seconds since 1970: only certificates have any."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_date(text: str) -> int:
    """Seconds since 1970; ISO 8601, UTC unless an offset is written."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date: write such as 2026-01-01 or 2026-01-01 12:00:00") from None
    if not 1970 <= found.year <= 2200:
        raise ValueError(f"{text!r} is too far away: dates go from 1970 to 2200")
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def format_date(seconds: int) -> str:
    """The text that `parse_date` reads."""
    return calendar(seconds).strftime("%Y-%m-%d %H:%M:%S")


def calendar(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
