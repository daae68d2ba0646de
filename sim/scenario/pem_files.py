"""Names of PEM and DER files in the sides of connections give way to the PEM text of these files (RFC 7468).

So a scenario holds all that its runs depend on, and its hash says so.
"""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Iterator
from pathlib import Path as FilePath

from sim.scenario.errors import Path, Problem
from sim.scenario.source import Source

MAX_OCTETS = 1 << 20
PEM = "-----BEGIN "
_LABELS = {
    "certs": "CERTIFICATE",
    "cacerts": "CERTIFICATE",
    "crls": "X509 CRL",
    "pubkeys": "PUBLIC KEY",
    "key": "PRIVATE KEY",
}


def inline_files(data: dict[str, object], source: Source) -> list[Problem]:
    """Replace the names in `data`, the content of a file that they are beside; what cannot be read."""
    problems = []
    for path, side in _sides(data.get("connections"), ("connections",)):
        for key, label in _LABELS.items():
            found = side.get(key)
            names = found if isinstance(found, list) else [found]
            for index, name in enumerate(names):
                if not isinstance(name, str) or PEM in name:
                    continue
                try:
                    text = read_pem(source.beside(name), label)
                except (OSError, ValueError) as error:
                    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
                    where = (*path, key)
                    problems.append(Problem(source.where(where), ".".join(where), f"{name}: {reason}"))
                    continue
                if isinstance(found, list):
                    found[index] = text
                else:
                    side[key] = text if key == "key" else [text]
    return problems


def read_pem(file: FilePath, label: str) -> str:
    """The text of a file in PEM, or what it would be for one in DER; OSError or ValueError."""
    if file.exists() and not file.is_file():
        raise ValueError("is not a regular file")
    with file.open("rb") as stream:
        octets = stream.read(MAX_OCTETS + 1)
    if len(octets) > MAX_OCTETS:
        raise ValueError(f"larger than {MAX_OCTETS >> 20} MiB")
    if PEM.encode() in octets:
        return octets.decode("ascii", "replace")
    return pem_text(octets, label)


def pem_text(octets: bytes, label: str) -> str:
    """Octets of DER as PEM."""
    body = "\n".join(textwrap.wrap(base64.b64encode(octets).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def _sides(data: object, path: Path) -> Iterator[tuple[tuple[str, ...], dict[str, object]]]:
    """The `local` and `remote` of every connection, whether nodes stand above them or not."""
    if not isinstance(data, dict):
        return
    for name, value in data.items():
        where = (*path, str(name))
        if name in ("local", "remote") and len(path) > 1 and isinstance(value, dict):
            yield tuple(map(str, where)), value
        elif len(path) < 3:
            yield from _sides(value, where)
