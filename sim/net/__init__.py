"""The simulated network: time, links, hosts, routers and NAT boxes. It knows no IPsec."""
