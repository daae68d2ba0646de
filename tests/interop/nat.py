"""A real NAT and a lossy router: Linux with nftables and conntrack."""

from __future__ import annotations

from tests.interop.netns import Namespace
from tests.peers import require


def masquerade(router: Namespace, outside: str, *, random_ports: bool = False) -> None:
    """Forward, and translate what leaves by this interface.

    With `random_ports` a flow gets another port whenever its mapping was forgotten; otherwise Linux keeps the
    port of the source where it can.
    """
    translate(router, outside, "masquerade fully-random" if random_ports else "masquerade")


def translate(router: Namespace, outside: str, how: str) -> None:
    """Forward, and translate what leaves by this interface as a statement of nftables says, from now on."""
    require("nft")
    router.forward()
    chain = f'type nat hook postrouting priority srcnat; policy accept; oifname "{outside}" {how};'
    instead = "table ip home\ndelete table ip home\n"
    router.run("nft", "-f", "-", stdin=f"{instead}table ip home {{ chain out {{ {chain} }}; }}\n")


def forget(router: Namespace) -> None:
    """The NAT loses all its mappings, as after a power cut."""
    require("conntrack")
    router.run("conntrack", "-F")


def tracked(router: Namespace) -> str:
    """What conntrack knows of UDP, a line for each exchange."""
    require("conntrack")
    return router.run("conntrack", "-L", "-p", "udp")


def lose(router: Namespace, percent: int) -> None:
    """Drop that share of what is forwarded, each packet by its own throw."""
    router.forward()
    chain = (
        f"type filter hook forward priority filter; policy accept; numgen random mod 100 < {percent} drop;"
    )
    router.run("nft", "-f", "-", stdin=f"table ip lossy {{ chain through {{ {chain} }}; }}\n")
