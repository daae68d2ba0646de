"""EAP in swanctl.conf: which passwords a connection gets, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import load_text
from sim.scenario.schema import Connection
from sim.scenario.schema_tunnels import SecondLocal, SecondRemote
from sim.scenario.swanctl import read
from sim.scenario.swanctl.export import export
from tests.crypto.authority import make_leaf, make_root
from tests.scenario.base import TEXT
from tests.scenario.swanctl.test_export import _and_back

ROOT = make_root()
MOON = make_leaf(ROOT, names=["moon.example"])
CONF = """\
connections {
  rw {
    remote_addrs = 192.0.2.1
    local { id = moon.example
      LOCAL
    }
    remote { REMOTE
    }
    children {
      net { }
    }
  }
}
secrets { SECRETS
  ike { secret = shared }
}
"""
TWO = (
    "eap-1 { id = carol\n secret = hers }\n eap-2 { id = dave@example\n id-2 = moon.example\n secret = his }"
)


def connection(tmp_path: Path, local: str, remote: str, secrets: str = TWO) -> Connection:
    for name, text in {
        "x509/moon.pem": MOON.cert_pem,
        "x509ca/root.pem": ROOT.cert_pem,
        "private/moon.pem": MOON.key_pem,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    conf = CONF.replace("LOCAL", local).replace("REMOTE", remote).replace("SECRETS", secrets)
    (tmp_path / "swanctl.conf").write_text(conf)
    return read(tmp_path / "swanctl.conf").connections["rw"]


def test_a_client_has_the_password_of_its_own_name(tmp_path: Path) -> None:
    found = connection(tmp_path, "auth = eap-mschapv2\n eap_id = carol", "auth = pubkey")
    assert (found.local.auth, found.local.eap_id) == ("eap-mschapv2", "carol")
    assert dict(found.eap_secrets) == {"carol": b"hers"}


def test_a_client_without_eap_id_is_called_as_in_ike(tmp_path: Path) -> None:
    found = connection(tmp_path, "auth = eap-md5", "auth = psk", "eap-me { id = moon.example\n secret = x }")
    assert dict(found.eap_secrets) == {"moon.example": b"x"}
    assert found.local.eap_id is None


def test_a_server_knows_all_users(tmp_path: Path) -> None:
    """Who owns a secret together with the server is the user."""
    found = connection(tmp_path, "auth = pubkey", "auth = eap-mschapv2\n eap_id = %any")
    assert found.remote.eap_id == "%any"
    assert dict(found.eap_secrets) == {"carol": b"hers", "dave@example": b"his"}


def test_eap_tls_takes_certificates_and_no_passwords(tmp_path: Path) -> None:
    for local, remote in (("eap-tls", "pubkey"), ("pubkey", "eap-tls"), ("eap-tls", "eap-tls")):
        found = connection(tmp_path, f"auth = {local}", f"auth = {remote}")
        assert found.local.key == MOON.key_pem
        assert found.remote.cacerts == (ROOT.cert_pem,)
        assert not found.eap_secrets


def test_c33_a_second_section_is_the_second_round(tmp_path: Path) -> None:
    found = connection(
        tmp_path, "auth = pubkey\n }\n local-2 { auth = eap-mschapv2\n id = carol", "auth = pubkey"
    )
    assert found.local.auth == found.remote.auth == "pubkey"
    assert found.local.second == SecondLocal(auth="eap-mschapv2", id="carol")
    assert found.remote.second is None
    assert dict(found.eap_secrets) == {"carol": b"hers"}


def test_c33_rounds_are_sorted_by_their_number(tmp_path: Path) -> None:
    local = "round = 2\n auth = eap-md5\n eap_id = carol\n }\n local-0 { round = 1\n auth = psk"
    found = connection(tmp_path, local, "auth = psk")
    assert found.local.auth == "psk"
    assert found.local.second == SecondLocal(auth="eap-md5", id="moon.example", eap_id="carol")


def test_c33_a_server_of_two_rounds_knows_all_users(tmp_path: Path) -> None:
    text = "auth = pubkey\n }\n remote2 { auth = eap-md5\n eap_id = %any"
    addresses = "    remote_addrs = 192.0.2.1\n"
    with pytest.raises(ScenarioError, match="leave remote_addrs out"):
        connection(tmp_path, "auth = pubkey", text)
    conf = (tmp_path / "swanctl.conf").read_text().replace(addresses, "")
    (tmp_path / "swanctl.conf").write_text(conf)
    found = read(tmp_path / "swanctl.conf").connections["rw"]
    assert found.remote.second == SecondRemote(auth="eap-md5", eap_id="%any")
    assert dict(found.eap_secrets) == {"carol": b"hers", "dave@example": b"his"}


def test_c33_a_second_round_is_exported(tmp_path: Path) -> None:
    second = {"method": "eap-md5", "id": "carol", "password": "hers"}
    auth = {"psk": "x", "local_id": "a.example", "remote_id": "b.example", "second": second}
    text = TEXT.replace("checks:", "checks: []\nold:", 1).split("old:")[0]
    scenario = expand(load_text(text, overrides={"tunnels.rw.auth": auth}))
    assert scenario.connections["alice"]["rw"].local.second == SecondLocal(auth="eap-md5", id="carol")
    assert _and_back(scenario, tmp_path).connections == scenario.connections


@pytest.mark.parametrize(
    ("local", "remote", "secrets", "words"),
    [
        (
            "auth = eap-mschapv2\n eap_id = erin",
            "auth = psk",
            TWO,
            "no `eap` secret in `secrets` is for erin",
        ),
        ("auth = pubkey", "auth = eap-md5", "eap-x { secret = y }", "eap-x has no `id`"),
        ("auth = pubkey", "auth = eap-md5", "", "has no eap_secrets"),
        ("auth = eap-mschapv2\n eap_id = carol", "auth = eap-mschapv2", TWO, "does not stand alone"),
        ("auth = eap-tls", "auth = psk", TWO, "eap-tls wants certificates of both"),
        ("auth = psk\n }\n local2 { auth = eap-md5\n id = erin", "auth = psk", TWO, "is for erin"),
        ("auth = psk\n }\n local2 { auth = pubkey", "auth = psk", TWO, "pubkey is not supported"),
        (
            "auth = eap-md5\n eap_id = carol\n }\n local2 { auth = eap-md5\n id = carol",
            "auth = psk",
            TWO,
            "not supported besides EAP",
        ),
    ],
)
def test_what_cannot_work_is_refused(
    local: str, remote: str, secrets: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as caught:
        connection(tmp_path, local, remote, secrets)
    assert words in str(caught.value)


def test_an_eap_id_that_nobody_needs_is_named(tmp_path: Path) -> None:
    connection(tmp_path, "auth = psk\n eap_id = carol", "auth = psk")
    (warning,) = read(tmp_path / "swanctl.conf").warnings
    assert "eap_id: ignored: with auth = psk nobody needs it" in str(warning)


def test_two_passwords_of_one_user_cannot_be_exported(tmp_path: Path) -> None:
    auth = {"method": "psk", "psk": "x", "local_id": "carol", "initiator": {"method": "eap-md5"}}
    text = TEXT.replace("checks:", "checks: []\nold:", 1).split("old:")[0]
    one = load_text(text, overrides={"tunnels.rw.auth": {**auth, "password": "one"}})
    assert _and_back(expand(one), tmp_path).connections == expand(one).connections
    two = load_text(
        text,
        overrides={
            "tunnels.rw.auth": {**auth, "password": "one"},
            "tunnels.other": {
                "initiator": "alice",
                "responder": "moon",
                "auth": {**auth, "password": "two"},
                "children": {"net": {"start": "none"}},
            },
        },
    )
    with pytest.raises(ScenarioError, match="has one password for carol"):
        export(two)
