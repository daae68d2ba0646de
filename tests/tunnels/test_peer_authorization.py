"""Who proves which identity may negotiate which selectors (the PAD, RFC 4301 4.4.3).

A connection is an entry of the PAD: it says by which identity a peer is known, how that is proved, and, by
its children, for what the peer may have SAs.
"""

from __future__ import annotations

import pytest

from sim.ike.events import Reason
from tests.tunnels.lab import Lab

TEXT = """\
name: pad
duration: 100 s
nodes:
  alice: {kind: host, interfaces: {eth: 192.0.2.10/24}}
  carol: {kind: host, interfaces: {eth: 192.0.3.20/24}}
  net: {kind: router, interfaces: {eth: 192.0.2.1/24, two: 192.0.3.1/24, sun: 198.51.100.254/24}}
  sun: {kind: gateway, interfaces: {wan: 198.51.100.1/24}}
links:
  - {ends: [alice:eth, net:eth], delay: 1 ms}
  - {ends: [carol:eth, net:two], delay: 1 ms}
  - {ends: [net:sun, sun:wan], delay: 5 ms}
connections:
  alice:
    up:
      remote_addrs: [198.51.100.1]
      local_id: alice
      remote_id: sun
      psk: secret of alice
      children: {net: {local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/24], start_action: start}}
  sun:
    carol:
      local_id: sun
      remote_id: carol
      psk: secret of carol
      children: {lab: {local_ts: [10.2.1.0/24], remote_ts: [10.3.0.0/16]}}
    alice:
      local_id: sun
      remote_id: alice
      psk: secret of alice
      children: {web: {local_ts: [10.2.0.0/24], remote_ts: [10.1.0.0/16]}}
"""
NET = "connections.alice.up.children.net"


def test_a_peer_has_what_its_own_entry_allows() -> None:
    assert selectors(lab()) == [("10.2.0.0/24", "10.1.0.0/16")]


def test_more_is_narrowed_to_that() -> None:
    assert selectors(lab(f"{NET}.remote_ts=[0.0.0.0/0]", f"{NET}.local_ts=[10.0.0.0/8]")) == [
        ("10.2.0.0/24", "10.1.0.0/16")
    ]


@pytest.mark.parametrize(
    "override",
    [
        f"{NET}.remote_ts=[10.2.1.0/24]",  # what carol may reach
        f"{NET}.local_ts=[10.3.0.0/16]",  # where carol's packets come from
        f"{NET}.remote_ts=['10.9.0.0/16']",
    ],
)
def test_what_another_entry_allows_is_refused(override: str) -> None:
    found = lab(override)
    assert selectors(found) == []
    (record,) = found.stack("sun").ledger.records.values()
    assert (record.state, record.failed_child) == ("established", "web")
    (mine,) = found.stack("alice").ledger.records.values()
    assert mine.failed_child == "net"
    assert any(Reason.TS_UNACCEPTABLE in entry.detail for entry in found.world.log)


def test_the_name_of_another_entry_needs_its_secret() -> None:
    found = lab("connections.alice.up.local_id=carol")
    assert selectors(found) == []
    (record,) = found.stack("alice").ledger.records.values()
    assert (record.state, record.reason) == ("failed", Reason.AUTHENTICATION_FAILED)


def lab(*overrides: str) -> Lab:
    return Lab(*overrides, text=TEXT).run()


def selectors(found: Lab) -> list[tuple[str, str]]:
    """Of sun's SAs: its own side, and the peer's."""
    specs = [pair.inbound.spec for pair in found.stack("sun").engine.sad.values()]
    return [(str(*spec.local_ts), str(*spec.remote_ts)) for spec in specs]
