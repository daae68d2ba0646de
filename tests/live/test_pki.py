"""`ipsec-sim pki`: files that strongSwan's folders and our own peers take."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.crypto.certificate import Crl
from sim.crypto.trust import Flaw, TrustError, TrustStore
from sim.scenario.calendar import parse_date
from sim.scenario.credentials import certificates
from sim.scenario.swanctl import read

CONF = """\
connections { rw {
  remote_addrs = 192.0.2.1
  local { id = moon.example }
  remote { id = %any }
  children { net { } }
} }
"""


def test_a_ca_and_certificates_are_what_swanctl_conf_needs(tmp_path: Path) -> None:
    said = run(
        tmp_path, "--ca", "O=Example, CN=My CA", "--cert", "moon.example,192.0.2.1", "--type", "ed25519"
    )
    assert said == [f"{tmp_path}/{name}" for name in (
        "x509ca/My-CA.pem", "private/My-CA.pem", "x509/moon.example.pem", "private/moon.example.pem",
    )]  # fmt: skip
    assert all(path.stat().st_mode & 0o77 == 0 for path in tmp_path.rglob("*.pem"))
    (tmp_path / "swanctl.conf").write_text(CONF)
    connection = read(tmp_path / "swanctl.conf").connections["rw"]
    assert connection.local.certs == ((tmp_path / "x509/moon.example.pem").read_text(),)
    assert connection.remote.cacerts == ((tmp_path / "x509ca/My-CA.pem").read_text(),)


def test_later_calls_use_the_ca_and_overwrite_nothing(tmp_path: Path) -> None:
    run(tmp_path, "--cert", "O=Example, CN=alice, alice@example.org")
    assert run(tmp_path, "--cert", "bob") == [f"{tmp_path}/x509/bob.pem", f"{tmp_path}/private/bob.pem"]
    for name, subject in (("alice@example.org", "O=Example, CN=alice"), ("bob", "CN=bob")):
        (cert,) = certificates("local", "certs", [(tmp_path / f"x509/{name}.pem").read_text()])
        assert str(cert) == subject
        assert store(tmp_path).validate(cert, cert.not_before)
    before = (tmp_path / "x509/bob.pem").read_text()
    assert "exists already" in fail(tmp_path, "--cert", "bob", "--cert", "carol")
    assert (tmp_path / "x509/bob.pem").read_text() == before
    assert not (tmp_path / "x509/carol.pem").exists()


def test_the_list_grows(tmp_path: Path) -> None:
    run(tmp_path, "--cert", "a", "--cert", "b", "--cert", "c")
    run(tmp_path, "--revoke", "a")
    run(tmp_path, "--revoke", "b")
    flaws: list[Flaw | None] = []
    for name in "abc":
        (cert,) = certificates("local", "certs", [(tmp_path / f"x509/{name}.pem").read_text()])
        try:
            store(tmp_path).validate(cert, cert.not_before)
            flaws.append(None)
        except TrustError as error:
            flaws.append(error.flaw)
    assert flaws == [Flaw.REVOKED, Flaw.REVOKED, None]


def test_rfc5280_5_1_2_6_a_list_has_only_what_its_ca_issued(tmp_path: Path) -> None:
    run(tmp_path, "--cert", "moon")
    before = set(tmp_path.rglob("*"))
    for name in ("O=Other", "ca2"):
        assert f"was not issued by the CA '{name}'" in said_plainly(
            tmp_path, "--ca", name, "--revoke", "moon"
        )
        assert set(tmp_path.rglob("*")) == before
    run(tmp_path, "--ca", "ca2", "--cert", "sun")
    assert "was not issued by" in said_plainly(tmp_path, "--ca", "ca2", "--revoke", "sun", "--revoke", "moon")
    for part in ("x509ca", "private"):  # another CA of the same name
        (tmp_path / part / "ca.pem").unlink()
    assert "was not issued by" in said_plainly(tmp_path, "--revoke", "moon")
    assert not (tmp_path / "x509crl").exists()


def said_plainly(folder: Path, *words: str) -> str:
    return " ".join(fail(folder, *words).split())


def test_days_are_counted_from_now(tmp_path: Path) -> None:
    run(tmp_path, "--cert", "a", "--days", "7")
    (cert,) = certificates("local", "certs", [(tmp_path / "x509/a.pem").read_text()])
    assert cert.not_after - cert.not_before == 8 * 86400
    assert cert.not_after > parse_date("2026-01-01")


def test_each_certificate_has_files_of_its_own(tmp_path: Path) -> None:
    said = run(tmp_path, "--cert", "O=Ex, CN=one", "--cert", "O=Ex, CN=two")
    for name in ("one", "two"):
        assert {f"{tmp_path}/x509/{name}.pem", f"{tmp_path}/private/{name}.pem"} <= set(said)
        (cert,) = certificates("local", "certs", [(tmp_path / f"x509/{name}.pem").read_text()])
        assert str(cert) == f"O=Ex, CN={name}"
    run(tmp_path, "--revoke", "O=Ex, CN=two")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--type", "dsa"], "'dsa' is no type of key"),
        (["--cert", ","], "an identity is missing"),
        (["--cert", "a,@#00"], "cannot be an alternative name"),
        (["--cert", "///"], "gives no file a name"),
        (["--revoke", "nobody"], "No such file"),
        (["--cert", "O=A, CN=one", "--cert", "O=B, CN=one"], "is for another key of this call"),
        (["--ca", "moon", "--cert", "moon"], "private/moon.pem is for another key of this call"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, words: list[str], text: str) -> None:
    assert text in fail(tmp_path, *words)
    assert list(tmp_path.rglob("*.pem")) == []


def store(folder: Path) -> TrustStore:
    roots = certificates("remote", "cacerts", [(folder / "x509ca/ca.pem").read_text()])
    lists = [path.read_text() for path in folder.glob("x509crl/*.pem")]
    return TrustStore(roots, crls=tuple(Crl(_der(text)) for text in lists))


def _der(text: str) -> bytes:
    import base64

    return base64.b64decode("".join(text.splitlines()[1:-1]))


def run(folder: Path, *words: str) -> list[str]:
    result = CliRunner().invoke(app, ["pki", str(folder), *words])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def fail(folder: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["pki", str(folder), *words])
    assert result.exit_code == 2, result.output
    return result.output
