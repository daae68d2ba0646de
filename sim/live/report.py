"""What a live peer says: a line for people on the standard error, or a JSON object a line on standard output.

Fields are chosen by name; none of them holds a secret or a key. Events that strangers can cause at will are
limited in rate, and what was left out is counted.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import fields
from typing import Any

from sim.ike.events import Event, IkeKeysDerived, MessageReceived, MessageSent, Rejected
from sim.net.limit import TokenBucket
from sim.tunnels.narrate import narrate
from sim.wire.address import format_sock

_SHOWN = frozenset(
    {
        *{"ike_id", "connection", "child", "initiator", "spi_i", "spi_r", "spi_in", "spi_out", "spis_in"},
        *{"local", "remote", "local_id", "remote_id", "nat_local", "nat_remote", "encap", "mobike", "mode"},
        *{"proposal", "local_ts", "remote_ts", "reason", "text", "src", "dst", "exchange", "message_id"},
        *{"response", "payloads", "size", "retransmission", "esn", "replay_window"},
    }
)
_SOCKS = frozenset({"local", "remote", "src", "dst"})
_FOR_STRANGERS = (Rejected, MessageSent, MessageReceived)
_PER_SECOND, _BURST = 20, 200


class Reporter:
    """`verbose` shows IKE messages, too."""

    def __init__(self, *, as_json: bool, verbose: bool) -> None:
        self._as_json = as_json
        self._verbose = verbose
        self._limit = TokenBucket(rate_per_s=_PER_SECOND, burst=_BURST)
        self.left_out = 0

    def ike(self, event: Event, now: int) -> None:
        """Say what the endpoint reported."""
        if isinstance(event, IkeKeysDerived):
            return
        if isinstance(event, MessageSent | MessageReceived) and not self._verbose:
            return
        if isinstance(event, _FOR_STRANGERS) and not self._limit.take(now):
            self.left_out += 1
            return
        entry = narrate("", event, now)
        assert entry is not None, "only keys have no row"
        self.say(entry.event, entry.detail, **_plain(event))

    def say(self, event: str, detail: str, **more: Any) -> None:
        """One event: a word for programs, a sentence for people, and its values."""
        if self._as_json:
            self.object({"time": round(time.time(), 6), "event": event, "detail": detail, **more})
            return
        names = "/".join(more[key] for key in ("connection", "child") if more.get(key))
        clock = time.strftime("%H:%M:%S")
        sys.stderr.write(f"{clock} {event:13} {f'{names}: ' if names else ''}{detail}\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        """A warning, on the standard error in any case."""
        sys.stderr.write(f"warning: {text}\n")
        sys.stderr.flush()

    def object(self, value: dict[str, Any]) -> None:
        """One JSON object as a line of standard output."""
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def status(self, value: dict[str, Any]) -> None:
        """The whole state, asked for by SIGUSR1."""
        if self._as_json:
            self.object({"time": round(time.time(), 6), "event": "status", **value})
        else:
            sys.stderr.write("\n".join(_table(value)) + "\n")
            sys.stderr.flush()


def _plain(event: Event) -> dict[str, Any]:
    names = [field.name for field in fields(event) if field.name in _SHOWN]
    return {name: _value(name, getattr(event, name)) for name in names}


def _value(name: str, value: Any) -> Any:
    if name in _SOCKS:
        return format_sock(value)
    if name in ("spi_in", "spi_out"):
        return f"{value:08x}"
    if name == "spis_in":
        return [f"{spi:08x}" for spi in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if isinstance(value, str | int | bool) else value.value


def _table(value: dict[str, Any]) -> list[str]:
    lines = [f"status: listening on {', '.join(value['listening']) or 'nothing'}"]
    for row in value["connections"]:
        reason = f" ({row['reason']}: {row['text']})" if row["reason"] else ""
        lines.append(
            f"  {row['name']}: {row['state']}{reason} {row['local']} - {row['remote']} {row['proposal']}"
        )
        for child in row["children"]:
            lines.append(
                f"    {child['name']}: {child['state']} {child['mode']}, in {child['spi_in']} "
                f"{child['packets_in']} packets {child['bytes_in']} B, out {child['spi_out']} "
                f"{child['packets_out']} packets {child['bytes_out']} B"
            )
    for title in ("counters", "drops"):
        if value[title]:
            lines.append(f"  {title}: " + ", ".join(f"{k} {v}" for k, v in value[title].items()))
    return lines
