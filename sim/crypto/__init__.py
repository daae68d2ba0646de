"""Algorithms by IANA id: ciphers, integrity, PRFs and key exchange, each a row of a table."""
