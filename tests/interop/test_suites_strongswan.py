"""Algorithms that tshark cannot judge alone: strongSwan derives the same keys, and opens what we seal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.netns import Lab
from tests.interop.ping import ping
from tests.interop.scene import Role, set_up
from tests.interop.strongswan import PLUGINS

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        " aes " not in Path("/proc/cpuinfo").read_text(),
        reason="Debian's strongSwan has CCM, counter mode and CMAC from its plugin for AES-NI alone",
    ),
]

# Each algorithm once. As PRFs, AES-XCBC and AES-CMAC take eight octets of each nonce (RFC 7296 2.14).
SUITES = {
    "aes192-aesxcbc-modp1536": "aes192-aesxcbc",
    "aes128ctr-aescmac-ecp384": "aes256ctr-sha512",
    "3des-sha384-modp1024": "3des-sha384",
    "aes256gcm12-prfsha384-ecp521": "aes192gcm12",
    "aes192gcm8-prfsha256-modp3072": "aes256gcm8",
    "aes128ccm8-prfsha512-ecp256bp": "aes192ccm16",
    "aes256ccm12-prfsha1-ecp384bp": "aes128ccm12",
    "aes192ccm16-prfsha256-x448": "aes256ccm8",
    "aes256-sha512-ecp512bp": "null-sha256",
    "aes256-sha256-modp4096": "aes128-sha1",
    "aes128-sha1-modp6144": "aes192-sha512",
    "aes128-sha256-modp8192": "aes256-sha384",
}


@pytest.mark.parametrize("suite", SUITES)
def test_strongswan_speaks_the_same_suite(lab: Lab, suite: str, role: Role) -> None:
    esp = SUITES[suite]
    words = {"proposals": suite, "esp_proposals": esp}
    scene = set_up(lab, role, ours=words, theirs=words, daemon=f"load = {PLUGINS} aesni xcbc")
    scene.establish()
    assert scene.ours.sa().proposal == suite
    for size in (64, 65, 71, 300, 1300):
        assert ping(scene.ours.namespace, scene.their_inner, size=size).received == 1
        assert ping(scene.theirs.namespace, scene.our_inner, size=size).received == 1
    assert not scene.ours.drops
