"""A router: an IP node that forwards."""

from sim.net.node import IpNode


class Router(IpNode):
    forwarding = True
