"""What one IKE SA knows of the ways to start over: crash detection, redirection, resumption.

RFC 6290, RFC 5685, RFC 5723. Each is set up by a task of its own; this is what they leave behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.ike.events import Reason

if TYPE_CHECKING:
    from sim.ike.resumption import Session


@dataclass(slots=True)
class Alternatives:
    """`crash_token` is what shows that the peer has forgotten this IKE SA; empty if it gave none.

    `hinted_at` is when a message that nobody vouches for last made us ask the peer, in ns.
    """

    crash_token: bytes = b""
    hinted_at: int = -1

    may_redirect: bool = False
    """Whether the initiator goes where its responder sends it."""
    redirected_from: bytes = b""
    """The gateway that has sent us here."""
    resumed: Session | None = None
    """The IKE SA that this one takes up again."""
    ticket: bytes = b""
    """By what the initiator showed that."""
    id_i: bytes = b""
    """The body of IDi as the initiator has sent it."""
    breaks_why: tuple[Reason, str] | None = None
    """Why the IKE SA that this one replaces goes, if its peers do not just authenticate again."""

    def inherit(self, old: Alternatives) -> None:
        """What holds for the IKE SA that replaces another one as well, when it is rekeyed."""
        self.may_redirect, self.id_i = old.may_redirect, old.id_i
