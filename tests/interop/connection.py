"""One IKE connection between two hosts, written as each side's swanctl.conf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

PSK = "a secret of the tests only"


@dataclass(frozen=True)
class FurtherChild:
    """A Child SA beside `net`, for swanctl.conf."""

    name: str
    local_ts: str
    remote_ts: str
    esp_proposals: str

    def mirrored(self) -> FurtherChild:
        return replace(self, local_ts=self.remote_ts, remote_ts=self.local_ts)


@dataclass(frozen=True)
class Connection:
    """What one side knows; `settings` and `child_settings` are further keys, `remote` "%any" for any peer.

    `child_settings` are those of all its Child SAs; `local_auth` and `remote_auth` say, as in swanctl.conf,
    how each side proves itself, `second` the sections of a second round by their names, and `sides` the same
    as our own files have it. `pools` are strongSwan's, `passwords` are for EAP.
    """

    local: str
    remote: str
    local_ts: str
    remote_ts: str
    local_id: str = "left.example"
    remote_id: str = "right.example"
    proposals: str = "aes128gcm16-prfsha256-x25519"
    esp_proposals: str = "aes128gcm16"
    psk: str = PSK
    ppk: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    child_settings: Mapping[str, str] = field(default_factory=dict)
    further: tuple[FurtherChild, ...] = ()
    local_auth: Mapping[str, str] = field(default_factory=lambda: {"auth": "psk"})
    remote_auth: Mapping[str, str] = field(default_factory=lambda: {"auth": "psk"})
    sides: Mapping[str, object] = field(default_factory=dict)
    pools: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    second: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def mirrored(self, **changes: str) -> Connection:
        """The other side's view, with some values changed."""
        other = replace(
            self,
            local=self.remote,
            remote=self.local,
            local_ts=self.remote_ts,
            remote_ts=self.local_ts,
            local_id=self.remote_id,
            remote_id=self.local_id,
            further=tuple(child.mirrored() for child in self.further),
        )
        return replace(other, **changes)  # type: ignore[arg-type]

    def swanctl(self) -> str:
        """A connection `home` with a child `net`, and further ones."""
        net = FurtherChild("net", self.local_ts, self.remote_ts, self.esp_proposals)
        more = _lines(self.child_settings)
        children = "".join(_CHILD.format(c=child, more=more) for child in (net, *self.further))
        return _CONF.format(
            c=self,
            settings=_lines(self.settings),
            local=_lines(self.local_auth),
            remote=_lines(self.remote_auth),
            children=children,
            ppks="\n    ".join(f"ppk-{n} {{ id = {n}\n secret = {s} }}" for n, s in self.ppk.items()),
            second="".join(f"{name} {{\n{_lines(part)}\n}}\n" for name, part in self.second.items()),
            pools="".join(f"{name} {{\n{_lines(pool)}\n}}\n" for name, pool in self.pools.items()),
            passwords="".join(
                _EAP.format(number=number, name=name, secret=text)
                for number, (name, text) in enumerate(self.passwords.items())
            ),
        )


_CONF = """\
connections {{
    home {{
        version = 2
        local_addrs = {c.local}
        remote_addrs = {c.remote}
        proposals = {c.proposals}
        {settings}
        local {{
            {local}
            id = {c.local_id}
        }}
        remote {{
            {remote}
            id = {c.remote_id}
        }}
        {second}
        children {{
{children}        }}
    }}
}}
pools {{
{pools}}}
secrets {{
    ike-home {{
        id-1 = {c.local_id}
        id-2 = {c.remote_id}
        secret = "{c.psk}"
    }}
    {ppks}
{passwords}}}
"""

_EAP = """\
    eap-{number} {{
        id = {name}
        secret = "{secret}"
    }}
"""

_CHILD = """\
            {c.name} {{
                local_ts = {c.local_ts}
                remote_ts = {c.remote_ts}
                esp_proposals = {c.esp_proposals}
                mode = tunnel
                {more}
            }}
"""


def _lines(settings: Mapping[str, str]) -> str:
    return "\n        ".join(f"{key} = {value}" for key, value in settings.items())
