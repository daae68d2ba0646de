"""A simulated NAT between two namespaces: its packets cross it in real time, through TUN devices.

192.168.1.2 inside --- 192.168.1.1 home NAT 203.0.113.1 --- 203.0.113.2 outside
"""

from __future__ import annotations

from contextlib import ExitStack

from tests.interop.netns import Lab, Namespace
from tests.live.emulation import emulation

_TOPOLOGY = """\
name: simulated-nat
duration: 5 min
nodes:
  inside:  {kind: host, interfaces: {eth: 192.168.1.2/24}}
  home:    {kind: nat, preset: home, interfaces: {lan: 192.168.1.1/24, wan: 203.0.113.1/24}}
  outside: {kind: host, interfaces: {eth: 203.0.113.2/24}}
links:
  - {ends: [inside:eth, home:lan], delay: 200 us}
  - {ends: [home:wan, outside:eth], delay: DELAY}
"""


def simulated_nat(lab: Lab, inside: Namespace, outside: Namespace, delay: str = "300 us") -> None:
    """Join them by `ipsec-sim emulate`, which sets their addresses and routes, until the lab closes."""
    topology = lab.folder / "simulated-nat.yaml"
    topology.write_text(_TOPOLOGY.replace("DELAY", delay))
    stack = ExitStack()
    lab.on_close(stack.close)
    attach = (
        f"{node}={namespace.free_interface()}@{namespace.name}"
        for node, namespace in (("inside", inside), ("outside", outside))
    )
    stack.enter_context(emulation(topology, *attach))
