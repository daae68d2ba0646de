"""DER elements and object identifiers (X.690 8.1, 8.19, 10.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import der
from sim.wire.buffer import WireError


@given(st.sampled_from([der.OID, der.SEQUENCE, 0xA0, 0x81]), st.binary(max_size=70000))
def test_an_element_is_read_again(tag: int, content: bytes) -> None:
    octets = der.element(tag, content)
    assert der.read(octets) == (tag, content, len(octets))
    assert der.only(octets, tag) == content
    assert der.elements(octets * 2) == [(tag, content)] * 2
    for wrong in (octets[:-1], octets + b"\0"):
        with pytest.raises(WireError):
            der.only(wrong, tag)


@pytest.mark.parametrize(
    "octets", ["", "30", "3080", "308101ff", "308480000000", "30850000000000", "1f0100", "3082007f"]
)
def test_what_der_forbids_is_refused(octets: str) -> None:
    """No indefinite, overlong or missing length, no long tag."""
    with pytest.raises(WireError):
        der.read(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("text", "octets"),
    [("1.2.840.113549.1.1.11", "06092a864886f70d01010b"), ("2.5.4.3", "0603550403"), ("2.999", "06028837")],
)
def test_object_identifiers_are_text_and_octets(text: str, octets: str) -> None:
    assert der.emit_oid(text).hex() == octets
    assert der.oid_text(der.only(bytes.fromhex(octets), der.OID)) == text


def test_what_is_no_object_identifier_is_refused() -> None:
    for text in ("", "1", "3.1", "1.40", "1.x", "1.-2"):
        with pytest.raises(ValueError):
            der.emit_oid(text)
    for octets in (b"", b"\x2a\x86"):
        with pytest.raises(WireError):
            der.oid_text(octets)
