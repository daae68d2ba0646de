"""OpenIKED's daemon in a network namespace, driven by ikectl over a socket of its own.

It has one file for connections and one place for keys, /etc/iked, over which it gets a folder of its own:
`ip netns exec` runs it in a mount namespace as well.

What was found of 7.2-1 on a kernel with XFRM, but without PF_KEY and ESP:

* It speaks to the kernel by PF_KEY alone, not by XFRM's netlink, and ends at once, even with `set decouple`:
  "pfkey_socket: failed to open PF_KEY socket: Address family not supported by protocol". With PF_KEY from
  `pfkey.py` it opens no port, as the option IP_IPSEC_POLICY is PF_KEY's, too: "socket_bypass:
  IPSEC_DIR_INBOUND: Operation not supported". With both it runs, and the table of `pfkey.py` says which SAs
  it loaded, with their keys.
* On Linux it has no AEAD and no ESN for ESP. Of `childsa enc aes-128-gcm` nothing is left: it then sends a
  Security Association payload without any proposal, and refuses every offer. For IKE it has AES-GCM.
* ESP with HMAC-SHA2-256-128 it negotiates, but cannot load: "pfkey_sa: unsupported integrity algorithm".
* As a responder it never demands a COOKIE.
* It asks whether its peer is alive only after five minutes without a message, if the kernel does not tell
  when an SA was used last; Linux's PF_KEY does not.
* A CERTREQ for raw public keys (RFC 7670) stops it for good: "unknown cert type requested". One that it
  cannot satisfy should be ignored (RFC 7296 3.7).
* It moves to another address (MOBIKE) only as a responder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sim.wire.address import pack_address
from tests.crypto.authority import key
from tests.interop import seccomp_exec
from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, until
from tests.interop.pfkey import LoadedSa, PfKey
from tests.peers import require, require_known

_READY = "config_getmode: mode"
_FOLDERS = ("ca", "certs", "crls", "private", "pubkeys/fqdn")
_WORDS = {
    "aes128gcm16": "enc aes-128-gcm",
    "aes256gcm16": "enc aes-256-gcm",
    "aes128": "enc aes-128",
    "aes256": "enc aes-256",
    "sha1": "auth hmac-sha1",
    "sha256": "auth hmac-sha2-256",
    "sha384": "auth hmac-sha2-384",
    "sha512": "auth hmac-sha2-512",
    "prfsha256": "prf hmac-sha2-256",
    "prfsha384": "prf hmac-sha2-384",
    "x25519": "group curve25519",
    "modp2048": "group modp2048",
    "ecp256": "group ecp256",
    "ecp384": "group ecp384",
}
_PRF = re.compile(r"auth (hmac-\S+)")
_SA = re.compile(
    r"^iked_sas: \S+ rspi 0x(?P<spi_r>\w+) ispi 0x(?P<spi_i>\w+) (?P<local>\S+)->(?P<remote>\S+?)"
    r"<(?P<peer>[^>]*)>\[(?P<eap>[^\]]*)\] (?P<state>\S+) (?P<role>[ir]) (?P<rest>.*)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Sa:
    """An IKE SA as OpenIKED sees it; an address has its port, SPIs are in hexadecimal."""

    spi_i: str
    spi_r: str
    local: str
    remote: str
    peer: str
    state: str
    initiator: bool
    nat: bool


class OpenIked:
    """A running daemon that waits for the first connection, or for `initiate`.

    `files` are certificates and keys, by their names below /etc/iked.
    """

    def __init__(
        self, lab: Lab, namespace: Namespace, conf: str, files: Mapping[str, str] | None = None
    ) -> None:
        daemon, self._ikectl = require("iked"), require("ikectl")
        require_known(machine=seccomp_exec.KNOWN)
        self.namespace = namespace
        self._socket = str(namespace.folder / "iked.sock")
        self._conf = _write(namespace.folder / "iked.conf", conf)
        own = _keys(namespace.folder / "etc", files or {})
        self.kernel = PfKey(namespace.folder / "pf_key")
        command = self.kernel.command(daemon, "-d", "-vv", "-S", "-f", str(self._conf), "-s", self._socket)
        mounting = 'mount --bind "$0" /etc/iked && exec "$@"'
        self.process = namespace.start("sh", "-c", mounting, str(own), *command, label="iked")
        lab.on_close(self.close)
        until(self._ready, self.log)

    def initiate(self) -> None:
        """Set up every connection whose mode is active."""
        self.ikectl("active")

    def load(self, conf: str) -> None:
        """Have these connections instead of those before; SAs stay."""
        self.ikectl("load", str(_write(self._conf.with_name("next.conf"), conf)))

    def delete(self, peer: str) -> None:
        """End the IKE SAs with that identity."""
        self.ikectl("reset", "id", f"FQDN/{peer}")

    def rekey_child(self) -> None:
        """The kernel says that the SA for sending has lived long enough."""
        (spi,) = (spi for spi, sa in self.loaded().items() if sa.source == self._own_address())
        self.kernel.expire(spi)

    def loaded(self) -> dict[int, LoadedSa]:
        return self.kernel.sas()

    def sas(self) -> list[Sa]:
        return [_sa(found) for found in _SA.finditer(self.ikectl("show", "sa"))]

    def sa(self) -> Sa:
        """Its one IKE SA that is up, as soon as there is one with a pair of SAs in the kernel."""

        def look() -> Sa | None:
            up = [sa for sa in self.sas() if sa.state == "ESTABLISHED"]
            return up[0] if up and len(self.loaded()) >= 2 else None

        return until(look, lambda: f"OpenIKED has no SA:\n{self.log()}")

    def idle(self) -> None:
        """Wait until it has no SA at all."""
        until(lambda: not self.sas() and not self.loaded(), lambda: f"OpenIKED keeps an SA:\n{self.log()}")

    def expect(self, pattern: str, times: int = 1) -> None:
        """Wait until its log matches so many times."""
        until(
            lambda: len(re.findall(pattern, self.log())) >= times,
            lambda: f"OpenIKED did not log {pattern!r} {times} times:\n{self.log()}",
        )

    def log(self) -> str:
        return self.process.output()

    def ikectl(self, *words: str) -> str:
        return self.namespace.run(self._ikectl, "-s", self._socket, *words)

    def close(self) -> None:
        """End it, whatever it does; its children go with it."""
        self.process.kill()
        self.kernel.close()

    def _own_address(self) -> bytes:
        return pack_address(self.sa().local.rpartition(":")[0].strip("[]"))

    def _ready(self) -> bool:
        if not self.process.alive:
            pytest.fail(f"iked ended:\n{self.log()}")
        return _READY in self.log()


def iked_conf(
    connection: Connection, *, auth: str = "", top: str = "", more: str = "", active: bool = True
) -> str:
    """The connection as iked.conf; `top` are global lines, `more` goes before the way to authenticate."""
    peer = "any" if connection.remote == "%any" else connection.remote
    local = "any" if connection.local == "%any" else connection.local
    ike = " ".join(f"ikesa {_transforms(one, prf=True)}" for one in connection.proposals.split(","))
    esp = " ".join(f"childsa {_transforms(one)}" for one in connection.esp_proposals.split(","))
    return (
        f"{top}\n"
        f'ikev2 "home" {"active" if active else "passive"} esp '
        f"from {connection.local_ts} to {connection.remote_ts} local {local} peer {peer} "
        f"{ike} {esp} srcid {connection.local_id} dstid {connection.remote_id} {more} "
        f"{auth or _psk(connection)}\n"
    )


def _psk(connection: Connection) -> str:
    return f'psk "{connection.psk}"'


def _transforms(proposal: str, *, prf: bool = False) -> str:
    """`aes256-sha256-modp2048` in iked's words; there a PRF is always named."""
    words = " ".join(_WORDS[word] for word in proposal.split("-"))
    hashed = _PRF.search(words)
    return f"{words} prf {hashed[1]}" if prf and hashed else words


def _write(path: Path, conf: str) -> Path:
    path.write_text(conf)
    path.chmod(0o600)  # it refuses a file that others may read
    return path


def _keys(folder: Path, files: Mapping[str, str]) -> Path:
    """What is /etc/iked for it; without a private key it does not start, whatever it needs."""
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    unused = key("unused").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for name, text in {"private/local.key": unused, **files}.items():
        _write(folder / name, text).chmod(0o600 if name.startswith("private") else 0o644)
    folder.chmod(0o755)
    return folder


def _sa(found: re.Match[str]) -> Sa:
    return Sa(
        found["spi_i"],
        found["spi_r"],
        found["local"],
        found["remote"],
        found["peer"],
        found["state"],
        found["role"] == "i",
        "udpecap" in found["rest"],
    )
