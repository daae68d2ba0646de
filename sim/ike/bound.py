"""Transport mode does not move: its SAs are for two addresses and no others (RFC 4555 1.2).

A change of ports alone, which a NAT makes, is no move. What becomes of one that is left behind is in
`tasks.replace_bound`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.wire.esp import Mode

if TYPE_CHECKING:
    from sim.ike.child import ChildSa
    from sim.ike.config import ChildConfig
    from sim.ike.path import Path
    from sim.wire.selector import Selector


def bind(child: ChildSa, path: Path) -> None:
    """Note which addresses a new Child SA is for."""
    if child.mode is Mode.TRANSPORT:
        child.ends = _ends(path)


def may_follow(child: ChildSa, path: Path) -> bool:
    """Whether a Child SA goes along to where its IKE SA is now."""
    return child.ends is None or child.ends == _ends(path)


def stayed_behind(child: ChildSa) -> bool:
    """Whether its IKE SA has gone where it cannot."""
    return not (child.deleting or child.expired or may_follow(child, child.ike.path))


def fits(config: ChildConfig, path: Path) -> bool:
    """Whether its configuration allows a Child SA between the present addresses."""
    sides = zip((config.local_ts, config.remote_ts), _ends(path), strict=True)
    return all(not selectors or _any_has(selectors, address) for selectors, address in sides)


def _ends(path: Path) -> tuple[bytes, bytes]:
    return path.local[0], (path.esp_remote or path.remote)[0]


def _any_has(selectors: tuple[Selector, ...], address: bytes) -> bool:
    return any(len(each.start) == len(address) and each.start <= address <= each.end for each in selectors)
