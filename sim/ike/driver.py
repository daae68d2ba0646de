"""The pump that every driver of an endpoint shares, in virtual and in real time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.ike.endpoint import Datagram, IkeEndpoint
    from sim.ike.events import Event


class IkeDriver(ABC):
    """Carries an endpoint's outputs into some world; call `pump` after every input.

    Events are applied before datagrams leave, so that a new SA can receive before the peer hears of it
    (RFC 7296 2.8). `apply` may call inputs of the endpoint; what they cause is drained in the same pump.
    """

    def __init__(self, endpoint: IkeEndpoint) -> None:
        self.endpoint = endpoint

    @abstractmethod
    def apply(self, event: Event, now: int) -> None:
        """Act on one event: install, move or remove SAs, record a line."""

    @abstractmethod
    def transmit(self, datagram: Datagram, now: int) -> None:
        """Send one UDP datagram."""

    @abstractmethod
    def arm(self, at: int | None) -> None:
        """Call `handle_timer` at `at`, and no longer at any time set before; None cancels."""

    def pump(self, now: int) -> None:
        endpoint, apply = self.endpoint, self.apply
        next_event = endpoint.next_event
        while (event := next_event()) is not None:
            apply(event, now)
        for datagram in endpoint.datagrams_to_send():
            self.transmit(datagram, now)
        self.arm(endpoint.next_timer())
