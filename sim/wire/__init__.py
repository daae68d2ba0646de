"""Octets to values and back: IP, UDP, ICMP, ESP, checksums and captures."""
