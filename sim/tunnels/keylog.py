"""Key material in Wireshark's own file formats, so that a capture opens decrypted.

`esp_sa` and `ikev2_decryption_table` are the files that Wireshark and tshark read from their profile
(Preferences > Protocols > ESP and ISAKMP). A suite that Wireshark cannot decrypt is written as a comment:
the keys are there, and the rest of the file still loads. A MAC that it lacks is passed over, unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sim.crypto.ids import EncryptionId, IntegrityId
from sim.crypto.suites import Encryption, Integrity
from sim.ike.constants import ProtocolId
from sim.ike.events import ChildSaUp, IkeKeysDerived, PathChanged

_ESP_ENCRYPTION = {
    EncryptionId.ENCR_3DES: "TripleDES-CBC [RFC2451]",
    EncryptionId.ENCR_NULL: "NULL",
    EncryptionId.ENCR_AES_CBC: "AES-CBC [RFC3602]",
    EncryptionId.ENCR_AES_CTR: "AES-CTR [RFC3686]",
    EncryptionId.ENCR_AES_GCM_8: "AES-GCM with 8 octet ICV [RFC4106]",
    EncryptionId.ENCR_AES_GCM_12: "AES-GCM with 12 octet ICV [RFC4106]",
    EncryptionId.ENCR_AES_GCM_16: "AES-GCM with 16 octet ICV [RFC4106]",
}
_ESP_INTEGRITY = {
    IntegrityId.AUTH_HMAC_SHA1_96: "HMAC-SHA-1-96 [RFC2404]",
    IntegrityId.AUTH_AES_XCBC_96: "ANY 96 bit authentication [no checking]",
    IntegrityId.AUTH_AES_CMAC_96: "ANY 96 bit authentication [no checking]",
    IntegrityId.AUTH_HMAC_SHA2_256_128: "HMAC-SHA-256-128 [RFC4868]",
    IntegrityId.AUTH_HMAC_SHA2_384_192: "HMAC-SHA-384-192 [RFC4868]",
    IntegrityId.AUTH_HMAC_SHA2_512_256: "HMAC-SHA-512-256 [RFC4868]",
}
_IKE_AES = {
    EncryptionId.ENCR_AES_CBC: "AES-CBC-{} [RFC3602]",
    EncryptionId.ENCR_AES_CTR: "AES-CTR-{} [RFC5930]",
    EncryptionId.ENCR_AES_CCM_8: "AES-CCM-{} with 8 octet ICV [RFC5282]",
    EncryptionId.ENCR_AES_CCM_12: "AES-CCM-{} with 12 octet ICV [RFC5282]",
    EncryptionId.ENCR_AES_CCM_16: "AES-CCM-{} with 16 octet ICV [RFC5282]",
    EncryptionId.ENCR_AES_GCM_8: "AES-GCM-{} with 8 octet ICV [RFC5282]",
    EncryptionId.ENCR_AES_GCM_12: "AES-GCM-{} with 12 octet ICV [RFC5282]",
    EncryptionId.ENCR_AES_GCM_16: "AES-GCM-{} with 16 octet ICV [RFC5282]",
}
_IKE_ENCRYPTION: dict[tuple[EncryptionId, int | None], str] = {
    (id_, bits): name.format(bits) for id_, name in _IKE_AES.items() for bits in (128, 192, 256)
}
_IKE_ENCRYPTION[EncryptionId.ENCR_3DES, None] = "3DES [RFC2451]"
_UNCHECKED = "ANY 96-bits of Authentication [No Checking]"
_IKE_INTEGRITY = {
    IntegrityId.AUTH_HMAC_SHA1_96: "HMAC_SHA1_96 [RFC2404]",
    IntegrityId.AUTH_AES_XCBC_96: _UNCHECKED,
    IntegrityId.AUTH_AES_CMAC_96: _UNCHECKED,
    IntegrityId.AUTH_HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    IntegrityId.AUTH_HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    IntegrityId.AUTH_HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}


def _any(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, names))


_HEX = "(?:[0-9a-f]{2})"
_KEY = f"(?:0x{_HEX}+)?"
_ROWS = {
    "esp_sa": re.compile(
        rf'"IPv[46]","\*","\*","0x{_HEX}{{4}}","(?:{_any(_ESP_ENCRYPTION.values())})","{_KEY}",'
        rf'"(?:NULL|{_any(_ESP_INTEGRITY.values())})","{_KEY}"'
    ),
    "ikev2_decryption_table": re.compile(
        rf'{_HEX}{{8}},{_HEX}{{8}},{_HEX}+,{_HEX}+,"(?:{_any(_IKE_ENCRYPTION.values())})",'
        rf'{_HEX}*,{_HEX}*,"(?:NONE \[RFC4306\]|{_any(_IKE_INTEGRITY.values())})"'
    ),
}
KEY_FILES = tuple(_ROWS)

EARLIER = "# for its IKE_INTERMEDIATE instead of the row below: "
"""What stands before keys that protected only messages before the next key exchange."""

_FAMILY = {4: "IPv4", 16: "IPv6"}


class KeyLog:
    """Collects the keys of every SA of a run, once for both ends.

    Both ends of an SA report the same keys; a row is written once, in the order of first sight. Addresses are
    wildcards, because NAT and MOBIKE change them while the SPI stays. Rows are made when a file is asked for.
    """

    def __init__(self) -> None:
        self._ike: list[IkeKeysDerived] = []
        self._esp: list[tuple[ChildSaUp, int]] = []  # with the size of an address
        self._by_spi: dict[int, ChildSaUp] = {}

    def ike_sa(self, event: IkeKeysDerived) -> None:
        self._ike.append(event)

    def child_sa(self, event: ChildSaUp) -> None:
        self._by_spi[event.spi_in] = event
        self._esp.append((event, len(event.local[0])))

    def path(self, event: PathChanged) -> None:
        """A Child SA may continue over the other IP version, where Wireshark wants a row of its own."""
        for spi in event.spis_in:
            self._esp.append((self._by_spi[spi], len(event.local[0])))

    def receiving(self, spi: int) -> ChildSaUp | None:
        """The end that receives on an SPI, with its keys; None when no SA of the run has it."""
        return self._by_spi.get(spi)

    def ikev2_decryption_table(self) -> str:
        """Wireshark holds one set of keys for an IKE SA: those that its last key exchange made (RFC 9370)."""
        last = {(event.spi_i, event.spi_r): event for event in self._ike}
        rows: dict[str, None] = {}
        for event in self._ike:
            now = last[event.spi_i, event.spi_r]
            rows[_ike_row(event) if event.sk_ei == now.sk_ei else EARLIER + _ike_row(event)] = None
        return "".join(rows)

    def esp_sa(self) -> str:
        return "".join(dict.fromkeys(row for event, size in self._esp for row in _esp_rows(event, size)))


def damaged_line(file: str, text: str) -> int | None:
    """The number of the first line that is none of this kind of file (one of KEY_FILES), as written here."""
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        if not line.startswith("#") and not _ROWS[file].fullmatch(line):
            return number
    return None


def _esp_rows(event: ChildSaUp, address_bytes: int) -> list[str]:
    row = _ah_row if event.suite.protocol is ProtocolId.AH else _esp_row
    return [
        row(_FAMILY[address_bytes], spi, event.suite.encryption, event.suite.integrity, keys)
        for spi, keys in ((event.spi_in, event.keys_in), (event.spi_out, event.keys_out))
    ]


def _esp_row(
    family: str, spi: int, encryption: Encryption, integrity: Integrity | None, keys: tuple[bytes, bytes]
) -> str:
    cipher = _ESP_ENCRYPTION.get(encryption.id)
    mac = "NULL" if integrity is None else _ESP_INTEGRITY.get(integrity.id)
    fields = [
        family,
        "*",
        "*",
        f"0x{spi:08x}",
        cipher or encryption.name,
        _hex(keys[0]),
        mac or "?",
        _hex(keys[1]),
    ]
    return _row(fields, known=cipher is not None and mac is not None)


def _ah_row(
    family: str, spi: int, _encryption: Encryption, integrity: Integrity | None, keys: tuple[bytes, bytes]
) -> str:
    """Wireshark takes AH apart without keys, and never checks its ICV."""
    mac = "?" if integrity is None else _ESP_INTEGRITY.get(integrity.id, integrity.name)
    fields = [family, "*", "*", f"0x{spi:08x}", mac, _hex(keys[1])]
    return "# AH, which Wireshark does not check: " + ",".join(f'"{field}"' for field in fields) + "\n"


def _ike_row(event: IkeKeysDerived) -> str:
    encryption, integrity = event.suite.encryption, event.suite.integrity
    cipher = _IKE_ENCRYPTION.get((encryption.id, encryption.key_bits))
    mac = "NONE [RFC4306]" if integrity is None else _IKE_INTEGRITY.get(integrity.id)
    keys = [event.sk_ei.hex(), event.sk_er.hex()]
    # Wireshark takes no keys for a MAC that it does not check.
    macs = ["", ""] if mac == _UNCHECKED else [event.sk_ai.hex(), event.sk_ar.hex()]
    head = [event.spi_i.hex(), event.spi_r.hex()]
    quoted = f'{",".join(head + keys)},"{cipher or encryption.name}",{",".join(macs)},"{mac or "?"}"\n'
    return quoted if cipher and mac else _comment(quoted)


def _row(fields: list[str], *, known: bool) -> str:
    text = ",".join(f'"{field}"' for field in fields) + "\n"
    return text if known else _comment(text)


def _comment(row: str) -> str:
    return f"# Wireshark cannot decrypt this suite: {row}"


def _hex(key: bytes) -> str:
    return f"0x{key.hex()}" if key else ""
