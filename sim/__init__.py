"""A deterministic network simulator with a complete IKEv2 and ESP stack."""
