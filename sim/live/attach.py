"""Which interface of which node is which device in which namespace: `--attach NODE[:IFACE]=TUN[@NETNS]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sim.live.errors import LiveError
from sim.scenario.schema import Scenario

_SPEC = re.compile(r"(?P<node>[^:=@]+)(:(?P<interface>[^:=@]+))?=(?P<device>[^=@]+)(@(?P<netns>[^=@/]+))?")


class Attachment(NamedTuple):
    """A TUN device that is an interface of a node.

    `netns` None is the namespace of this process, whose default route stays as it is.
    """

    node: str
    interface: str
    device: str
    netns: str | None

    @property
    def label(self) -> str:
        return f"{self.node}:{self.interface}"

    def __str__(self) -> str:
        return f"{self.label} is {self.device}" + (f" in namespace {self.netns}" if self.netns else "")


def parse_attachments(texts: Iterable[str], scenario: Scenario) -> list[Attachment]:
    """All interfaces of the nodes to attach; LiveError with one sentence for the first thing wrong."""
    found = [_parse(text, scenario) for text in texts]
    if not found:
        raise LiveError("nothing is attached: name a node that is a real host, as --attach alice=tun0@alice")
    _check_unique(found)
    for node in dict.fromkeys(attachment.node for attachment in found):
        _check_complete(node, [one for one in found if one.node == node], scenario)
    _check_apart(found)
    return found


def _parse(text: str, scenario: Scenario) -> Attachment:
    match = _SPEC.fullmatch(text)
    if match is None:
        raise LiveError(f"--attach {text}: write NODE=TUN@NETNS or NODE:INTERFACE=TUN@NETNS")
    node, interface = match["node"], match["interface"]
    model = scenario.nodes.get(node)
    if model is None:
        raise LiveError(f"--attach {text}: there is no node {node}; known: {', '.join(scenario.nodes)}")
    if model.kind in ("nat", "firewall"):
        raise LiveError(
            f"--attach {text}: {node} is a {model.kind}; a real host can be a host, a gateway or a router"
        )
    names = list(model.interfaces)
    if interface is None and len(names) > 1:
        raise LiveError(f"--attach {text}: {node} has the interfaces {', '.join(names)}: name each of them")
    if interface is not None and interface not in names:
        raise LiveError(f"--attach {text}: {node} has no interface {interface}; known: {', '.join(names)}")
    return Attachment(node, interface or names[0], match["device"], match["netns"])


def _check_unique(found: list[Attachment]) -> None:
    labels, devices = set[str](), set[tuple[str, str | None]]()
    for one in found:
        if one.label in labels:
            raise LiveError(f"{one.label} is attached twice")
        if (one.device, one.netns) in devices:
            raise LiveError(f"{one.device} is attached twice: every interface needs a device of its own")
        labels.add(one.label)
        devices.add((one.device, one.netns))


def _check_complete(node: str, found: list[Attachment], scenario: Scenario) -> None:
    if len({one.netns for one in found}) > 1:
        raise LiveError(f"{node} is one host: all its interfaces must be in one namespace")
    missing = [
        name for name in scenario.nodes[node].interfaces if name not in {one.interface for one in found}
    ]
    if missing:
        raise LiveError(f"{node} is a real host: attach its interface {', '.join(missing)} as well")


def _check_apart(found: list[Attachment]) -> None:
    """Linux delivers packets between its own addresses itself: they would never enter the network."""
    owner: dict[str | None, str] = {}
    for one in found:
        other = owner.setdefault(one.netns, one.node)
        if other != one.node:
            where = f"the namespace {one.netns}" if one.netns else "this system's own namespace"
            raise LiveError(f"{other} and {one.node} are both in {where}, and would talk past the network")
