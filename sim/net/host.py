"""A host: an IP node that does not forward."""

from sim.net.node import IpNode


class Host(IpNode):
    forwarding = False
