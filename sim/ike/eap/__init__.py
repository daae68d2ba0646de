"""EAP inside IKE_AUTH (RFC 7296 2.16): packets, methods, and the conversations of both sides (RFC 3748)."""
