"""A small scenario for tests: one host, a NAT, a gateway and a host behind it."""

from __future__ import annotations

from sim.scenario.errors import ScenarioError
from sim.scenario.load import load_text

TEXT = """\
name: base
duration: 3 s
nodes:
  alice: {kind: host, interfaces: {wlan: 192.168.1.10/24, lte: 203.0.113.77/24}}
  home: {kind: nat, interfaces: {lan: 192.168.1.1/24, wan: 198.18.0.10/24}}
  core: {kind: router, interfaces: {home: 198.18.0.1/24, cell: 203.0.113.1/24, moon: 198.51.100.254/24}}
  moon: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.1.0.1/16}}
  bob: {kind: host, interfaces: {eth: 10.1.0.10/16}}
links:
  - {ends: [alice:wlan, home:lan], rate: 10 Mbit/s, delay: 2 ms}
  - {ends: [alice:lte, core:cell], delay: 20 ms}
  - {ends: [home:wan, core:home], delay: 5 ms}
  - {ends: [core:moon, moon:wan], delay: 1 ms}
  - {ends: [moon:lan, bob:eth]}
tunnels:
  rw:
    initiator: alice
    responder: moon
    auth: {psk: secret}
    children:
      net: {remote_ts: [10.1.0.0/16]}
traffic:
  - {name: up, kind: cbr, from: alice, to: bob, size: 500 B, rate: 400 kbit/s, start: 500 ms}
events:
  - {at: 2 s, node: alice, do: move, from: wlan, to: lte}
checks:
  - {connection: rw, is: established, by: 1 s}
  - {flow: up, max_loss: 5 %}
"""


def changed(*replacements: tuple[str, str]) -> str:
    """The text with each old part, which must be there, replaced."""
    text = TEXT
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    return text


def problems(text: str | bytes, *overrides: str) -> list[str]:
    """What is wrong with a scenario, one line each; it must be wrong."""
    try:
        load_text(text, "lab.yaml", overrides)
    except ScenarioError as error:
        return str(error).splitlines()
    raise AssertionError("this scenario was accepted")


def line_of(text: str, part: str) -> int:
    """The number of the first line that contains a part."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)
