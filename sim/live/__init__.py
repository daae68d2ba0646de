"""The real world: UDP sockets, TUN devices, and the same IPsec stack in real time."""
