"""`ipsec-sim pki`: a certification authority and certificates as files, where swanctl(8) looks for them.

    DIR/x509ca/<CA>.pem, DIR/private/<CA>.pem     made at the first call, used by later ones
    DIR/x509/<ID>.pem,   DIR/private/<ID>.pem     one of each for every certificate
    DIR/x509crl/<CA>.pem                          what was revoked so far

Keys come from the operating system, dates from the clock. Nothing is ever overwritten but the list.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from time import time

from sim.live.errors import LiveError
from sim.scenario.issue import (
    DAY,
    Issued,
    Span,
    crl,
    issue,
    issued_by,
    load_ca,
    new_key,
    pem_crl,
    revoked_in,
    root,
    serial_of,
)
from sim.scenario.swanctl.folder import write_private

CA_DAYS = 3650
_UNSAFE = re.compile(r"[^A-Za-z0-9.@_-]+")


@dataclass(frozen=True, slots=True)
class PkiArguments:
    """As on the command line; `certs` are subjects or identities, each with further names after commas."""

    folder: Path
    ca: str
    certs: tuple[str, ...]
    revoke: tuple[str, ...]
    kind: str
    days: int


_CRL = "x509crl/"


def run_pki(arguments: PkiArguments) -> list[Path]:
    """The files that were written. LiveError says what is wrong; then nothing was."""
    now = int(time())
    try:
        files, ca = _authority(arguments, now)
        for text in arguments.certs:
            made = _certificate(arguments, ca, text, now)
            if twice := files.keys() & made.keys():
                raise LiveError(
                    f"--cert {text!r}: {min(twice)} is for another key of this call: add a NAME of its own"
                )
            files |= made
        if arguments.revoke:
            files |= _revoke(arguments, ca, now)
        taken = [name for name in files if (arguments.folder / name).exists() and not name.startswith(_CRL)]
        if taken:
            raise LiveError(f"{arguments.folder / taken[0]} exists already, and is not overwritten")
        return write_private(arguments.folder, files)
    except ValueError as error:
        raise LiveError(str(error)) from None
    except OSError as error:
        raise LiveError(f"{error.filename}: {error.strerror}") from None


def _authority(arguments: PkiArguments, now: int) -> tuple[dict[str, str], Issued]:
    """The CA, and its files if it is new."""
    name = _file(arguments.ca)
    cert, key = (arguments.folder / part / f"{name}.pem" for part in ("x509ca", "private"))
    if cert.exists() or key.exists():
        return {}, load_ca(cert.read_bytes(), key.read_bytes())
    span = Span(now - DAY, now + CA_DAYS * DAY)
    ca = root(_subject(arguments.ca), new_key(arguments.kind, os.urandom), span)
    return {f"x509ca/{name}.pem": ca.cert_pem, f"private/{name}.pem": ca.key_pem}, ca


def _certificate(arguments: PkiArguments, ca: Issued, text: str, now: int) -> dict[str, str]:
    subject, names = _names(text)
    span = Span(now - DAY, now + arguments.days * DAY)
    made = issue(ca, subject, new_key(arguments.kind, os.urandom), span, names=names)
    file = _file_of(text)
    return {f"x509/{file}.pem": made.cert_pem, f"private/{file}.pem": made.key_pem}


def _revoke(arguments: PkiArguments, ca: Issued, now: int) -> dict[str, str]:
    """The list with what it held before; it is due in `days`."""
    path = arguments.folder / _CRL / f"{_file(arguments.ca)}.pem"
    files = [arguments.folder / "x509" / f"{_file_of(text)}.pem" for text in arguments.revoke]
    certs = [_serial(file, ca, arguments.ca) for file in files]
    certs += revoked_in(path.read_bytes()) if path.exists() else []
    span = Span(now - DAY, now + arguments.days * DAY)
    return {f"{_CRL}{path.name}": pem_crl(crl(ca, dict.fromkeys(certs), span))}


def _serial(file: Path, ca: Issued, name: str) -> int:
    """Of a certificate that this CA may revoke, which is one that it issued (RFC 5280 5.1.2.6)."""
    cert = file.read_bytes()
    if not issued_by(cert, ca):
        raise LiveError(f"{file} was not issued by the CA {name!r}: write its own, as --ca")
    return serial_of(cert)


def _names(text: str) -> tuple[str, list[str]]:
    """Subject and alternative names of ID[,NAME...]; parts with an equals sign are those of a subject."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise LiveError("--cert: an identity is missing")
    subject = ", ".join(part for part in parts if "=" in part)
    names = [part for part in parts if "=" not in part]
    return subject or _subject(names[0]), names


def _file_of(text: str) -> str:
    """What the files of a certificate are called: as its first alternative name, or as its subject."""
    subject, names = _names(text)
    return _file(names[0] if names else subject)


def _subject(text: str) -> str:
    return text if "=" in text else f'CN="{text}"'


def _file(text: str) -> str:
    """A name for files: the common name of a subject, without what folders or shells stumble over."""
    name = _UNSAFE.sub("-", re.sub(r".*CN=", "", text).strip()).strip("-.")
    if not name:
        raise LiveError(f"{text!r} gives no file a name")
    return name
