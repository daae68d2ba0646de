"""Several datagrams in one go: each takes effect before what came behind it."""

from __future__ import annotations

from collections import deque
from typing import cast

import pytest

from sim.ike.config import EndpointConfig
from sim.ike.endpoint import IkeEndpoint
from sim.live.peer import LivePeer
from sim.live.udp import LiveSocket
from sim.wire.address import Sock

LOCAL: Sock = (bytes((127, 0, 0, 1)), 4500)
PEER: Sock = (bytes((127, 0, 0, 2)), 4500)
IKE = bytes(4) + b"an IKE message"  # behind the non-ESP marker (RFC 3948 2.2)
ESP = bytes((0, 0, 1, 0)) + b"an ESP packet"


def test_an_ike_message_is_in_effect_before_the_esp_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A responder sends on a new SA right behind its answer (RFC 7296 2.8)."""
    done: list[str] = []
    peer = LivePeer.__new__(LivePeer)
    peer.config = EndpointConfig(())
    peer.endpoint = cast(IkeEndpoint, Endpoint(done))
    monkeypatch.setattr(peer, "pump", lambda now: done.append("pump"))
    monkeypatch.setattr(peer, "_receive_esp", lambda outer, now: done.append("esp"))
    peer._readable(cast(LiveSocket, Arrived(IKE, ESP, ESP, IKE)))
    assert done == ["ike", "pump", "esp", "esp", "ike", "pump"]


class Endpoint:
    def __init__(self, done: list[str]) -> None:
        self._done = done

    def receive_datagram(self, data: bytes, src: Sock, dst: Sock, now: int) -> None:
        self._done.append("ike")


class Arrived:
    """A socket that holds these datagrams."""

    local, esp, ah = LOCAL, False, False

    def __init__(self, *payloads: bytes) -> None:
        self._payloads = deque(payloads)

    def receive(self) -> tuple[bytes, Sock, int] | None:
        return (self._payloads.popleft(), PEER, 0) if self._payloads else None
