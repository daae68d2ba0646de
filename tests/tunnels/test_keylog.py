"""Key files in Wireshark's own format. tests/interop lets tshark judge whole captures with them."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import pytest

from sim.crypto.ids import EncryptionId
from sim.ike.events import ChildSaUp, Event, IkeKeysDerived, PathChanged
from sim.tunnels.keylog import KeyLog, damaged_line
from sim.wire.address import pack_address
from tests.tunnels.lab import CHILD, Lab

COMMENT = "# Wireshark cannot decrypt this suite: "
ESP = {
    "aes128gcm16": ("AES-GCM with 16 octet ICV [RFC4106]", 20, "NULL", 0),
    "aes256gcm16": ("AES-GCM with 16 octet ICV [RFC4106]", 36, "NULL", 0),
    "aes128-sha256": ("AES-CBC [RFC3602]", 16, "HMAC-SHA-256-128 [RFC4868]", 32),
    "aes256-sha1": ("AES-CBC [RFC3602]", 32, "HMAC-SHA-1-96 [RFC2404]", 20),
    "aes192ctr-aesxcbc": ("AES-CTR [RFC3686]", 28, "ANY 96 bit authentication [no checking]", 16),
    "3des-sha512": ("TripleDES-CBC [RFC2451]", 24, "HMAC-SHA-512-256 [RFC4868]", 64),
    "aes192gcm8": ("AES-GCM with 8 octet ICV [RFC4106]", 28, "NULL", 0),
}
IKE = {
    "aes128gcm16-prfsha256-x25519": ("AES-GCM-128 with 16 octet ICV [RFC5282]", 20, "NONE [RFC4306]", 0),
    "aes256gcm16-prfsha384-ecp256": ("AES-GCM-256 with 16 octet ICV [RFC5282]", 36, "NONE [RFC4306]", 0),
    "aes128-sha256-x25519": ("AES-CBC-128 [RFC3602]", 16, "HMAC_SHA2_256_128 [RFC4868]", 32),
    "aes256-sha1-modp2048": ("AES-CBC-256 [RFC3602]", 32, "HMAC_SHA1_96 [RFC2404]", 20),
    "aes256ccm12-prfsha256-x448": ("AES-CCM-256 with 12 octet ICV [RFC5282]", 35, "NONE [RFC4306]", 0),
    "aes128ctr-aescmac-mlkem768": (
        "AES-CTR-128 [RFC5930]",
        20,
        "ANY 96-bits of Authentication [No Checking]",
        0,
    ),
}


@pytest.mark.parametrize("suite", ESP)
def test_an_esp_row_has_the_fields_of_wireshark_s_esp_sa(suite: str) -> None:
    """Protocol, both addresses, SPI, encryption, its key, authentication, its key; all quoted."""
    lab = Lab(f"{CHILD}.esp_proposals=[{suite}]").up()
    cipher, key_bytes, mac, mac_bytes = ESP[suite]
    rows = lab.world.keys.esp_sa().splitlines()
    assert all(re.fullmatch(r'"[^"]*"(,"[^"]*"){7}', row) for row in rows)
    fields = list(csv.reader(rows))
    ((inbound, outbound, _),) = lab.stack("moon").engine.sad.values()
    assert {row[3] for row in fields} == {f"0x{inbound.spi:08x}", f"0x{outbound.spi:08x}"}
    for version, src, dst, _, name, key, mac_name, mac_key in fields:
        assert (version, src, dst) == ("IPv4", "*", "*"), "NAT and MOBIKE change addresses, not SPIs"
        assert (name, mac_name) == (cipher, mac)
        assert re.fullmatch(f"0x[0-9a-f]{{{2 * key_bytes}}}", key)
        assert mac_key == "" if not mac_bytes else re.fullmatch(f"0x[0-9a-f]{{{2 * mac_bytes}}}", mac_key)


@pytest.mark.parametrize("suite", [*ESP, "chacha20poly1305", "aes128gcm16iiv"])
def test_what_is_written_is_read_again_and_nothing_that_is_cut_off(suite: str) -> None:
    keys = Lab(f"{CHILD}.esp_proposals=[{suite}]").up().world.keys
    for file, text in (("esp_sa", keys.esp_sa()), ("ikev2_decryption_table", keys.ikev2_decryption_table())):
        assert damaged_line(file, text) is None
        start = text.rindex("\n", 0, -1) + 1 if text.count("\n") > 1 else 0
        for size in range(start + 1, len(text) - 1):
            cut = None if text.startswith("#", start) else text.count("\n")
            assert damaged_line(file, text[:size]) == cut
    assert damaged_line("esp_sa", "") is None


@pytest.mark.parametrize("suite", IKE)
def test_an_ike_row_has_the_fields_of_wireshark_s_decryption_table(suite: str) -> None:
    """Both SPIs, SK_ei, SK_er, encryption, SK_ai, SK_ar, integrity; only the algorithms are quoted."""
    lab = Lab(f"tunnels.sites.proposals=[{suite}]").up()
    cipher, key_bytes, mac, mac_bytes = IKE[suite]
    (row,) = lab.world.keys.ikev2_decryption_table().splitlines()
    key, mac_key = f"[0-9a-f]{{{2 * key_bytes}}}", f"[0-9a-f]{{{2 * mac_bytes}}}"
    (view,) = lab.stack("moon").endpoint.sas
    head = f"{view.spi_i.hex()},{view.spi_r.hex()},"
    assert row.startswith(head)
    tail = f'{key},{key},"{re.escape(cipher)}",{mac_key},{mac_key},"{re.escape(mac)}"'
    assert re.fullmatch(tail, row.removeprefix(head))


def test_a_suite_that_wireshark_lacks_is_a_comment_that_keeps_the_keys() -> None:
    lab = Lab(
        f"{CHILD}.esp_proposals=[chacha20poly1305]",
        "tunnels.sites.proposals=[chacha20poly1305-prfsha256-x25519]",
    )
    lab.up()
    for text in (lab.world.keys.esp_sa(), lab.world.keys.ikev2_decryption_table()):
        assert text
        assert all(line.startswith(COMMENT) for line in text.splitlines())
        assert re.search(r"[0-9a-f]{72}", text), "32 octets of key and 4 of salt"


@pytest.mark.parametrize("suite", ["aes128gmac", "aes128ccm16", "aes128gcm16iiv", "chacha20poly1305iiv"])
def test_esp_that_wireshark_lacks_is_a_comment_that_keeps_the_keys(suite: str) -> None:
    """It has no CCM and no GMAC for ESP, and takes the first octets of a payload without an IV for one."""
    text = Lab(f"{CHILD}.esp_proposals=[{suite}]").up().world.keys.esp_sa()
    assert text.count("\n") == 2
    assert all(line.startswith(COMMENT) and re.search(r"[0-9a-f]{38}", line) for line in text.splitlines())


def test_every_line_ends_with_a_newline_and_none_is_twice() -> None:
    """Both ends report the same keys."""
    keys = Lab().up().world.keys
    assert keys.esp_sa().count("\n") == len(set(keys.esp_sa().splitlines())) == 2
    assert keys.ikev2_decryption_table().count("\n") == 1


def test_the_keys_of_an_sa_that_never_came_up_are_kept() -> None:
    """IKE_AUTH failed, and its messages are what one wants to look into."""
    lab = Lab(
        "tunnels.sites.auth={psk: a, local_id: moon, remote_id: sun, responder: {psk: b}}",
        f"{CHILD}.start=at once",
    )
    lab.run()
    assert lab.world.keys.ikev2_decryption_table().count("\n") == 1
    assert lab.world.keys.esp_sa() == ""


def test_an_sa_that_continues_over_ipv6_has_rows_for_both() -> None:
    """Wireshark's table is per IP version."""
    lab = Lab().up()
    reported = events(lab, ChildSaUp, IkeKeysDerived)
    (up,) = [event for event in reported if isinstance(event, ChildSaUp)]
    log = KeyLog()
    log.child_sa(up)
    assert log.receiving(up.spi_in) is up
    assert log.receiving(up.spi_in ^ 1) is None
    local, remote = pack_address("2001:db8::1"), pack_address("2001:db8::2")
    log.path(PathChanged(up.ike_id, "sites", (local, 4500), (remote, 4500), True, False, False, (up.spi_in,)))
    versions = [row[0] for row in csv.reader(log.esp_sa().splitlines())]
    assert sorted(versions) == ["IPv4", "IPv4", "IPv6", "IPv6"]


def test_an_unknown_cipher_does_not_spoil_the_file() -> None:
    """The row of the other SA still loads."""
    lab = Lab().up()
    (up,) = (event for event in events(lab, ChildSaUp) if isinstance(event, ChildSaUp))
    log = KeyLog()
    odd = replace(up.suite, encryption=replace(up.suite.encryption, id=EncryptionId.ENCR_CAMELLIA_CBC))
    log.child_sa(replace(up, suite=odd))
    log.child_sa(up)
    lines = log.esp_sa().splitlines()
    assert [line.startswith("#") for line in lines] == [True, True, False, False]


def events(lab: Lab, *kinds: type[Event]) -> list[Event]:
    """What moon reports when it sets up the SA once more."""
    moon, found = lab.stack("moon"), list[Event]()
    moon._observe = lambda node, event, now: found.append(event)
    moon.endpoint.delete("sites", lab.now)
    moon.pump(lab.now)
    lab.run()
    lab.send()
    lab.run()
    return [event for event in found if isinstance(event, kinds)]
