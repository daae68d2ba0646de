"""What strongSwan reads from strongswan.conf(5), not swanctl.conf(5): retransmission, keepalives, fragments.

The section `ipsec-sim` is this project's own, which strongSwan does not look at: settings of a connection
that the daemon has only for all connections together, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sim.ike.config import RETRANSMIT
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.swanctl import iptfs
from sim.scenario.swanctl.keys import suggest
from sim.scenario.swanctl.syntax import View, parse
from sim.scenario.swanctl.values import one_of, parse_bool, parse_number, parse_time
from sim.units import NS_PER_S, parse_duration, parse_size
from sim.wire.address import pack_address

TIMING = {"strongswan": (4.0, 1.8, 5), "iked": (2.0, 2.0, 5)}
"""retransmit_timeout, _base and _tries of the presets that strongSwan can follow exactly."""
OWN = (
    *("keep_alive", "retransmit", "return_routability", "nat_traversal", "window", "make_before_break"),
    *(
        "fragment_size",
        "keepalive_policy",
        "keepalive_max",
        "radio_tail",
        "resumption",
        "qcd",
        "follow_redirects",
        "redirect_to",
        "redirect_when",
    ),
)
_SECTIONS = ("charon", "charon-systemd")
_PORTS = {"port": 500, "port_nat_t": 4500}
_KEYS = {"retransmit_timeout": 0, "retransmit_base": 1, "retransmit_tries": 2}


@dataclass(slots=True)
class DaemonSettings:
    """The daemon's settings, and those of single connections that differ, by name and key."""

    keep_alive_ns: int = 20 * NS_PER_S
    preset: str = "strongswan"
    overlap: bool = False
    follow: bool = True
    fragment_bytes: int = 1280
    iptfs: dict[str, object] = field(default_factory=dict)
    own_iptfs: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    def keep_alive(self, name: str) -> int:
        text = self.own.get(name, {}).get("keep_alive")
        return self.keep_alive_ns if text is None else parse_duration(text)

    def retransmit(self, name: str) -> str:
        return self.own.get(name, {}).get("retransmit", self.preset)

    def make_before_break(self, name: str) -> bool:
        text = self.own.get(name, {}).get("make_before_break")
        return self.overlap if text is None else parse_bool(text)

    def window(self, name: str) -> int:
        return parse_number(self.own.get(name, {}).get("window", "1"))

    def fragment_size(self, name: str) -> int:
        text = self.own.get(name, {}).get("fragment_size")
        return self.fragment_bytes if text is None else parse_size(text)

    def iptfs_of(self, name: str, child: str) -> dict[str, object]:
        """How a Child SA uses AGGFRAG mode, as a scenario says it."""
        return self.own_iptfs.get((name, child), self.iptfs)

    def keepalives(self, name: str) -> dict[str, str]:
        """How keepalives adapt, as a scenario says it."""
        keys = ("keepalive_policy", "keepalive_max", "radio_tail")
        return {key: text for key in keys if (text := self.own.get(name, {}).get(key)) is not None}

    def resumption(self, name: str) -> bool:
        return parse_bool(self.own.get(name, {}).get("resumption", "no"))

    def qcd(self, name: str) -> bool:
        return parse_bool(self.own.get(name, {}).get("qcd", "no"))

    def follow_redirects(self, name: str) -> bool:
        text = self.own.get(name, {}).get("follow_redirects")
        return self.follow if text is None else parse_bool(text)

    def redirect_to(self, name: str) -> str | None:
        return self.own.get(name, {}).get("redirect_to")

    def redirect_when(self, name: str) -> str:
        return self.own.get(name, {}).get("redirect_when", "auth")

    def return_routability(self, name: str) -> str:
        return _parse_routability(self.own.get(name, {}).get("return_routability", "before"))

    def nat_traversal(self, name: str) -> bool:
        return parse_bool(self.own.get(name, {}).get("nat_traversal", "yes"))


def read_daemon(path: Path) -> DaemonSettings:
    """The settings of a strongswan.conf; strongSwan's defaults where the file does not exist."""
    found = DaemonSettings()
    if not path.exists():
        return found
    tree = parse(path)
    timing = list(TIMING["strongswan"])
    for name in _SECTIONS:
        view = tree.section(name)
        if view is not None:
            _daemon(view, found, timing)
            found.iptfs |= _iptfs(tree.section(name, "iptfs"), iptfs.read)
    preset = next((preset for preset, times in TIMING.items() if list(times) == timing), None)
    if preset is None:
        known = "; ".join(f"{name} is {times}" for name, times in TIMING.items())
        text = f"timeout, base and tries are no preset's: {known}"
        raise ScenarioError([Problem(str(path), "charon.retransmit_*", text)])
    found.preset = preset
    own = tree.section("ipsec-sim")
    for name in own.sections if own else ():
        view = tree.section("ipsec-sim", name)
        if view is not None:
            found.own[name] = _own(view)
        children = tree.section("ipsec-sim", name, "iptfs")
        for child in children.sections if children else ():
            settings = tree.section("ipsec-sim", name, "iptfs", child)
            found.own_iptfs[name, child] = _iptfs(settings, iptfs.read_own)
    return found


def _daemon(view: View, found: DaemonSettings, timing: list[float]) -> None:
    for key, setting in view.settings.items():
        text = setting.value or ""
        try:
            if key == "keep_alive":
                found.keep_alive_ns = parse_time(text)
            elif key == "make_before_break":
                found.overlap = parse_bool(text)
            elif key == "follow_redirects":
                found.follow = parse_bool(text)
            elif key == "fragment_size":
                found.fragment_bytes = int(text)
            elif key in _KEYS:
                timing[_KEYS[key]] = float(text)
            elif key in _PORTS:
                _check_port(key, text)
            else:
                found.warnings.append(
                    setting.at.problem(f"{view.key}.{key}", "ignored: no such setting here")
                )
        except ValueError as error:
            raise ScenarioError([setting.at.problem(f"{view.key}.{key}", str(error))]) from None
    for name in (name for name in view.sections if name != "iptfs"):
        found.warnings.append(view.at.problem(f"{view.key}.{name}", "ignored: no such settings here"))


def _iptfs(view: View | None, reader: Callable[[str, str], tuple[str, object]]) -> dict[str, object]:
    found = {}
    for key, setting in view.settings.items() if view else ():
        try:
            name, value = reader(key, setting.value or "")
        except ValueError as error:
            raise ScenarioError([setting.at.problem(f"iptfs.{key}", str(error))]) from None
        found[name] = value
    return found


def _check_port(key: str, text: str) -> None:
    if text != str(_PORTS[key]):
        raise ValueError(f"{text} is not supported in a file: ports are chosen when the endpoint is started")


def _parse_routability(text: str) -> str:
    """ValueError for what is neither a time nor yes or no."""
    if text in ("before", "after", "none"):
        return text
    return "before" if parse_bool(text) else "none"


def _own(view: View) -> dict[str, str]:
    for key, setting in view.settings.items():
        try:
            if key not in OWN:
                raise ValueError(f"unknown key; {suggest(key, OWN)}")
            if key == "keep_alive":
                parse_duration(setting.value or "")
            elif key == "fragment_size":
                parse_size(setting.value or "")
            elif key in ("nat_traversal", "make_before_break", "resumption", "qcd", "follow_redirects"):
                parse_bool(setting.value or "")
            elif key == "redirect_to":
                pack_address(setting.value or "")
            elif key in ("keepalive_max", "radio_tail"):
                parse_duration(setting.value or "")
            elif key == "keepalive_policy":
                one_of("fixed", "adaptive")(setting.value or "")
            elif key == "redirect_when":
                one_of("init", "auth")(setting.value or "")
            elif key == "return_routability":
                _parse_routability(setting.value or "")
            elif key == "window":
                parse_number(setting.value or "")
            elif setting.value not in RETRANSMIT:
                raise ValueError(f"{setting.value!r} is no preset; {suggest(str(setting.value), RETRANSMIT)}")
        except ValueError as error:
            raise ScenarioError([setting.at.problem(f"{view.key}.{key}", str(error))]) from None
    return {key: setting.value or "" for key, setting in view.settings.items()}
