"""Certificates and keys beside a swanctl.conf, in the folders of swanctl(8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from sim.scenario.configs import endpoint_config
from sim.scenario.errors import ScenarioError
from sim.scenario.issue import crl, pem_crl
from sim.scenario.schema import Connection
from sim.scenario.swanctl import read
from tests.crypto.authority import ALWAYS, make_ca, make_leaf, make_root

ROOT = make_root()
SUB = make_ca(ROOT)
MOON, SUN = make_leaf(SUB, names=["moon.example"]), make_leaf(SUB, "CN=sun", names=["sun.example"])
CONF = """\
connections {
  rw {
    remote_addrs = 192.0.2.1
    CONNECTION
    local { id = moon.example
      LOCAL
    }
    remote { id = sun.example
      REMOTE
    }
    children {
      net { }
    }
  }
}
"""


def test_pubkey_is_the_default_and_finds_what_it_needs(tmp_path: Path) -> None:
    """The certificate that confirms our identity and has a key; the CAs above it; all CAs are trusted."""
    connection = _read(tmp_path)
    assert (connection.local.auth, connection.remote.auth) == ("pubkey", "pubkey")
    assert connection.local.certs == (MOON.chain_pem,)
    assert connection.local.key == MOON.key_pem
    assert set(connection.remote.cacerts) == {ROOT.cert_pem, SUB.cert_pem}
    assert connection.psk is None
    assert endpoint_config({"rw": connection})


def test_named_files_are_taken_and_others_are_not(tmp_path: Path) -> None:
    local = "certs = sun.pem\nauth = ecdsa-256-sha256"
    remote = "cacerts = root.pem\ncerts = moon.pem\nrevocation = strict\nauth = pubkey-sha256"
    connection = _read(tmp_path, local, remote, "send_cert = always\nsend_certreq = no")
    assert connection.local.certs == (SUN.chain_pem,)
    assert connection.local.key == SUN.key_pem
    assert (connection.local.auth, connection.local.send_cert) == ("ecdsa-256-sha256", "always")
    assert connection.remote.cacerts == (ROOT.cert_pem,)
    assert connection.remote.certs == (MOON.cert_pem,)
    assert (connection.remote.auth, connection.remote.revocation) == ("pubkey-sha256", "strict")
    assert connection.remote.send_certreq is False


def test_sections_may_name_files_too(tmp_path: Path) -> None:
    connection = _read(
        tmp_path, "cert-1 { file = sun.pem }", "cacert { file = root.pem }\ncert1 { file = moon.pem }"
    )
    assert connection.local.certs == (SUN.chain_pem,)
    assert connection.remote.cacerts == (ROOT.cert_pem,)
    assert connection.remote.certs == (MOON.cert_pem,)


def test_raw_public_keys_have_a_folder(tmp_path: Path) -> None:
    public = SUN.key.public_key()
    (tmp_path / "pubkey").mkdir()
    (tmp_path / "pubkey" / "sun.der").write_bytes(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    connection = _read(tmp_path, "pubkeys = sun.der", "pubkeys = sun.der")
    assert connection.local.certs == ()
    assert connection.local.key == SUN.key_pem
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert connection.remote.pubkeys == (pem,)
    assert connection.remote.cacerts == ()


def test_lists_of_revoked_certificates_are_read(tmp_path: Path) -> None:
    octets = crl(SUB, [SUN.cert], ALWAYS)
    (tmp_path / "x509crl").mkdir()
    (tmp_path / "x509crl" / "sub.der").write_bytes(octets)
    assert _read(tmp_path).remote.crls == (pem_crl(octets),)


def test_one_side_may_have_a_secret_instead(tmp_path: Path) -> None:
    text = "auth = psk\ncerts = x.pem"
    connection = _read(tmp_path, text, more="secrets { ike { secret = x } }")
    assert (connection.local.auth, connection.psk) == ("psk", b"x")
    warnings = [str(warning) for warning in read(tmp_path / "swanctl.conf").warnings]
    assert any("local.certs: ignored: with auth = psk nobody needs it" in text for text in warnings)


@pytest.mark.parametrize(
    ("local", "remote", "words"),
    [
        ("certs = nobody.pem", "", "x509/nobody.pem: No such file or directory"),
        ("certs = junk.pem", "", "x509/junk.pem holds no CERTIFICATE"),
        ("certs = stranger.pem", "", "no key in private/ that needs no password is that of CN=stranger"),
        ("certs = locked.pem", "", "no key in private/ that needs no password is that of CN=locked"),
        ("", "cacerts = nobody.pem", "x509ca/nobody.pem: No such file or directory"),
    ],
)
def test_what_is_missing_is_told(tmp_path: Path, local: str, remote: str, words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        _read(tmp_path, local, remote)
    assert words in str(caught.value)


def _read(
    folder: Path, local: str = "", remote: str = "", connection: str = "", more: str = ""
) -> Connection:
    locked = make_leaf(ROOT, "CN=locked")
    password = BestAvailableEncryption(b"x")
    files = {
        "swanctl.conf": CONF.replace("CONNECTION", connection)
        .replace("LOCAL", local)
        .replace("REMOTE", remote)
        + more,
        "x509/moon.pem": MOON.cert_pem,
        "x509/sun.pem": SUN.cert_pem,
        "x509/stranger.pem": make_leaf(ROOT, "CN=stranger").cert_pem,
        "x509/locked.pem": locked.cert_pem,
        "x509ca/root.pem": ROOT.cert_pem,
        "x509ca/sub.pem": SUB.cert_pem,
        "private/moon.pem": MOON.key_pem,
        "ecdsa/sun.pem": SUN.key_pem,
        "private/locked.pem": locked.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password).decode(),
    }
    if "junk" in local:
        files["x509/junk.pem"] = "-----BEGIN NOTHING-----"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return read(folder / "swanctl.conf").connections["rw"]
