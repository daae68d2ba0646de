"""AGGFRAG mode in strongswan.conf(5): `charon.iptfs`, one set of settings for all Child SAs.

Times are microseconds there. `dont_frag` is what strongSwan's manual says, `dont_fragment` what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.scenario.schema_iptfs import IptfsSettings
from sim.scenario.swanctl.keys import suggest
from sim.scenario.swanctl.values import parse_bool, parse_number
from sim.units import NS_PER_US

_TIMES = ("drop_time", "init_delay")
_SIZES = ("max_queue_size", "packet_size")
_FLAGS = ("accept_fragments", "dont_frag", "dont_fragment")
_KEYS = (*_TIMES, *_SIZES, *_FLAGS, "reorder_window")
LACKING = ("l3_fixed_rate", "congestion_control", "ecn")
"""What strongSwan has not, nor the kernel below it."""


def read(key: str, text: str) -> tuple[str, object]:
    """One setting under its name in a scenario; ValueError says what is wrong with it."""
    if key not in _KEYS:
        raise ValueError(f"unknown key; {suggest(key, _KEYS)}")
    if key in _FLAGS:
        return "dont_frag" if key == "dont_fragment" else key, parse_bool(text)
    number = parse_number(text)
    if key in _TIMES:
        return key, f"{number} us"
    return key, f"{number} B" if key in _SIZES else number


def read_own(key: str, text: str) -> tuple[str, object]:
    """As `read`, of the section that strongSwan does not look at: values as a scenario has them."""
    if key not in IptfsSettings.model_fields:
        raise ValueError(f"unknown key; {suggest(key, IptfsSettings.model_fields)}")
    if isinstance(IptfsSettings.model_fields[key].default, bool):
        return key, parse_bool(text)
    return key, parse_number(text) if key == "reorder_window" else text


def write_own(settings: IptfsSettings) -> Iterator[str]:
    """What `read_own` reads."""
    for key, value in settings.model_dump(mode="json", exclude_none=True).items():
        yield f"{key} = {('no', 'yes')[value] if isinstance(value, bool) else value}"


def as_daemon(settings: IptfsSettings, daemon: IptfsSettings | None) -> bool:
    """Whether strongSwan can say them of a Child SA, having said `daemon` of all."""
    whole = not any(getattr(settings, key) % NS_PER_US for key in _TIMES)
    return settings == daemon and whole and not any(getattr(settings, key) for key in LACKING)


def write(settings: IptfsSettings) -> Iterator[str]:
    """The section for the settings of one Child SA."""
    yield "iptfs {"
    for key in _TIMES:
        yield f"    {key} = {-(-getattr(settings, key) // NS_PER_US)}"
    for key in (*_SIZES, "reorder_window"):
        yield f"    {key} = {getattr(settings, key)}"
    yield f"    accept_fragments = {'yes' if settings.accept_fragments else 'no'}"
    for key in ("dont_frag", "dont_fragment"):
        yield f"    {key} = {'yes' if settings.dont_frag else 'no'}"
    yield "}"
