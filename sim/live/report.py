"""What a live peer says: a line for people on the standard error, or a JSON object a line on standard output.

Fields are chosen by name; none of them holds a secret or a key. Events that strangers can cause at will are
limited in rate, and what was left out is counted and told. That nobody reads us any more is no error.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections import Counter
from dataclasses import fields
from typing import Any, TextIO

from sim.ike.events import (
    Event,
    IkeKeysDerived,
    IkeSaDown,
    IkeSaUp,
    MessageReceived,
    MessageSent,
    Rejected,
)
from sim.net.limit import TokenBucket
from sim.tunnels.narrate import narrate
from sim.wire.address import format_sock

_SHOWN = frozenset(
    {
        *{"ike_id", "connection", "child", "initiator", "spi_i", "spi_r", "spi_in", "spi_out", "spis_in"},
        *{"local", "remote", "local_id", "remote_id", "nat_local", "nat_remote", "encap", "mobike", "mode"},
        *{"proposal", "local_ts", "remote_ts", "reason", "text", "src", "dst", "exchange", "message_id"},
        *{"ike_remote", "response", "payloads", "size", "retransmission", "esn", "replay_window"},
        *{"cpi_in", "cpi_out", "cpu"},
    }
)
_SOCKS = frozenset({"local", "remote", "ike_remote", "src", "dst"})
_PER_SECOND, _BURST = 20, 200


class Reporter:
    """`verbose` shows IKE messages, too."""

    def __init__(self, *, as_json: bool, verbose: bool) -> None:
        self._as_json = as_json
        self._verbose = verbose
        self._limit = TokenBucket(rate_per_s=_PER_SECOND, burst=_BURST)
        self._up: set[int] = set()
        self._untold: Counter[str] = Counter()
        self.left_out = 0
        self.pipe = _pipe_of(sys.stdout if as_json else sys.stderr)
        """A descriptor of the pipe that our events go to, None if that is none; readable: nobody reads it."""

    def close(self) -> None:
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def ike(self, event: Event, now: int) -> None:
        """Say what the endpoint reported."""
        if isinstance(event, IkeKeysDerived):
            return
        if isinstance(event, MessageSent | MessageReceived) and not self._verbose:
            return
        entry = narrate("", event, now)
        assert entry is not None, "only keys have no row"
        if self._for_strangers(event) and not self._limit.take(now):
            self.left_out += 1
            self._untold[event.reason if isinstance(event, Rejected) else entry.event] += 1
            return
        if isinstance(event, IkeSaUp):
            self._up.add(event.ike_id)
        elif isinstance(event, IkeSaDown):
            self._up.discard(event.ike_id)
        self.say(entry.event, entry.detail, **_plain(event))

    @property
    def has_untold(self) -> bool:
        """Whether `summarise` has something to say; call it soon, but not for each event."""
        return bool(self._untold)

    def summarise(self) -> None:
        """Say how many events were left out since the last time, and of which kinds."""
        if not self._untold:
            return
        untold, self._untold = self._untold, Counter()
        kinds = ", ".join(f"{count} {kind}" for kind, count in untold.most_common())
        self.say("suppressed", f"{untold.total()} more suppressed: {kinds}", count=untold.total())

    def _for_strangers(self, event: Event) -> bool:
        """Whether somebody who has proved nothing can cause it: copies of old messages are such, too."""
        if isinstance(event, MessageSent | MessageReceived):
            return event.ike_id not in self._up or event.retransmission > 0
        if isinstance(event, IkeSaDown):
            return not event.initiator and event.ike_id not in self._up
        return isinstance(event, Rejected)

    def say(self, event: str, detail: str, **more: Any) -> None:
        """One event: a word for programs, a sentence for people, and its values."""
        if self._as_json:
            self.object({"time": round(time.time(), 6), "event": event, "detail": detail, **more})
            return
        names = "/".join(more[key] for key in ("connection", "child") if more.get(key))
        clock = time.strftime("%H:%M:%S")
        self._write(sys.stderr, f"{clock} {event:13} {f'{names}: ' if names else ''}{detail}")

    def warn(self, text: str) -> None:
        """A warning, on the standard error in any case."""
        self._write(sys.stderr, f"warning: {text}")

    def object(self, value: dict[str, Any]) -> None:
        """One JSON object as a line of standard output."""
        self._write(sys.stdout, json.dumps(value))

    def status(self, value: dict[str, Any]) -> None:
        """The whole state, asked for by SIGUSR1."""
        if self._as_json:
            self.object({"time": round(time.time(), 6), "event": "status", **value})
        else:
            self._write(sys.stderr, "\n".join(_table(value)))

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text + "\n")
            stream.flush()
        except BrokenPipeError:
            _lead_nowhere(stream)


def _pipe_of(stream: TextIO) -> int | None:
    """One of our own, so that it stays when the stream is led elsewhere."""
    try:
        descriptor = stream.fileno()
    except OSError:  # no real file
        return None
    return os.dup(descriptor) if stat.S_ISFIFO(os.fstat(descriptor).st_mode) else None


def _lead_nowhere(stream: TextIO) -> None:
    """Let what is still in the buffer, and all that follows, vanish without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _plain(event: Event) -> dict[str, Any]:
    names = [field.name for field in fields(event) if field.name in _SHOWN]
    return {name: _value(name, getattr(event, name)) for name in names}


def _value(name: str, value: Any) -> Any:
    if name in _SOCKS:
        return format_sock(value) if value else ""
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
                f"    {child['name']}{_whose(child)}: {child['state']} {child['mode']}, in {child['spi_in']} "
                f"{child['packets_in']} packets {child['bytes_in']} B, out {child['spi_out']} "
                f"{child['packets_out']} packets {child['bytes_out']} B"
            )
    for title in ("counters", "drops", "xfrm"):
        if value[title]:
            lines.append(f"  {title}: " + ", ".join(f"{k} {v}" for k, v in value[title].items()))
    return lines


def _whose(child: dict[str, Any]) -> str:
    """Which CPUs send on a Child SA, where there are several for the same traffic."""
    if not child["per_cpu_sas"]:
        return ""
    return " (all CPUs)" if child["cpu"] is None else f" (CPU {child['cpu']})"
