"""Mutated messages by the hundred thousand: `make fuzz`; the tests replay a corpus and a small share."""
