"""strongSwan's daemon in a network namespace, driven by swanctl over a socket of its own.

Its ESP runs in user space (plugin kernel-libipsec), so that no kernel needs to have any; it then always puts
ESP into UDP. What comes out of a tunnel passes through the TUN device ipsec0 (MTU 1400).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from tests.interop import vici
from tests.interop.netns import Namespace, until
from tests.peers import require

PLUGINS = (
    "pem pkcs1 pkcs8 x509 revocation constraints pubkey openssl kdf hmac sha1 sha2 aes gcm random nonce "
    "eap-identity eap-md5 eap-mschapv2 eap-tls kernel-libipsec kernel-netlink socket-default vici updown"
)
_READY = "spawning 16 worker threads"


@dataclass(frozen=True)
class Child:
    """A Child SA as strongSwan sees it; SPIs are numbers, `encap` whether ESP is in UDP."""

    name: str
    state: str
    spi_in: int
    spi_out: int
    encap: bool
    packets_in: int
    packets_out: int


@dataclass(frozen=True)
class Sa:
    """An IKE SA as strongSwan sees it."""

    name: str
    state: str
    initiator: bool
    local: tuple[str, int]
    remote: tuple[str, int]
    spi_i: str
    spi_r: str
    suite: str
    children: tuple[Child, ...] = field(default=())

    @property
    def child(self) -> Child:
        """Its only Child SA that is in use."""
        (child,) = (child for child in self.children if child.state == "INSTALLED")
        return child


class StrongSwan:
    """A running daemon; `settings` are further lines of its section in strongswan.conf."""

    def __init__(self, namespace: Namespace, *, settings: str = "", plugins: str = PLUGINS) -> None:
        daemon, self._swanctl = require("charon-systemd"), require("swanctl")
        self.namespace = namespace
        self.folder = namespace.folder
        self._uri = f"unix://{self.folder}/vici"
        self._log = self.folder / "charon.log"
        (self.folder / "strongswan.conf").write_text(
            _CONF.format(plugins=plugins, folder=self.folder, more=settings)
        )
        self._env = {"STRONGSWAN_CONF": f"{self.folder}/strongswan.conf", "SWANCTL_DIR": str(self.folder)}
        self.process = namespace.start(daemon, label="charon", env=self._env)
        until(self._ready, self.log)

    def load(self, conf: str, files: Mapping[str, str] | None = None) -> None:
        """Take these connections and secrets, as from swanctl.conf, instead of those before.

        `files` are certificates and keys, by their names below /etc/swanctl.
        """
        for name, text in (files or {}).items():
            file = self.folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        path = self.folder / "swanctl.conf"
        path.write_text(conf)
        self.swanctl("--load-all", "--clear", "--noprompt", "--file", str(path))

    def initiate(self, child: str, *, patience: int = 30) -> str:
        """Set up a Child SA, and its IKE SA if need be; what strongSwan says about it, be it good or bad."""
        return self.swanctl("--initiate", "--child", child, "--timeout", str(patience), check=False)

    def terminate(self, *, ike: str | None = None, child: str | None = None) -> str:
        return self.swanctl("--terminate", *_which(ike, child), "--timeout", "30")

    def rekey(self, *, ike: str | None = None, child: str | None = None) -> str:
        return self.swanctl("--rekey", *_which(ike, child))

    def sas(self) -> list[Sa]:
        found = vici.messages(self.swanctl("--list-sas", "--raw"))
        return [_sa(name, part) for kind, body in found if kind == "list-sa" for name, part in body.items()]

    def sa(self) -> Sa:
        """Its one IKE SA that is up, as soon as there is one with a Child SA in use."""

        def look() -> Sa | None:
            up = [sa for sa in self.sas() if sa.state == "ESTABLISHED" and _in_use(sa.children)]
            return up[0] if up else None

        return until(look, lambda: f"{self.namespace.label} has no SA:\n{self.log()}")

    def idle(self) -> None:
        """Wait until it has no SA at all."""
        until(lambda: not self.sas(), lambda: f"{self.namespace.label} keeps an SA:\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else self.process.output()

    def expect(self, pattern: str, times: int = 1) -> None:
        """Wait until its log matches so many times."""
        until(
            lambda: len(re.findall(pattern, self.log())) >= times,
            lambda: f"{self.namespace.label} did not log {pattern!r} {times} times:\n{self.log()}",
        )

    def memory(self) -> int:
        """Octets that the daemon has allocated."""
        ((_, stats),) = vici.messages(self.swanctl("--stats", "--raw"))
        allocated = stats["mallinfo"]
        assert isinstance(allocated, dict)
        return int(_text(allocated, "used"))

    def swanctl(self, *words: str, check: bool = True) -> str:
        env = [f"{name}={value}" for name, value in self._env.items()]
        return self.namespace.run("env", *env, self._swanctl, *words, "--uri", self._uri, check=check)

    def _ready(self) -> bool:
        if not self.process.alive:
            pytest.fail(f"charon-systemd ended:\n{self.process.output()}{self.log()}")
        return _READY in self.log() and (self.folder / "vici").exists()

    def stop(self) -> None:
        assert self.process.stop() == 0, self.log()


_CONF = """
charon-systemd {{
    load = {plugins}
    plugins {{
        vici {{
            socket = unix://{folder}/vici
        }}
    }}
    filelog {{
        charon {{
            path = {folder}/charon.log
            flush_line = yes
            default = 1
        }}
    }}
{more}
}}
swanctl {{
    load = pem pkcs1 pkcs8 x509 pubkey openssl random
}}
"""


def _which(ike: str | None, child: str | None) -> list[str]:
    return [*(["--ike", ike] if ike else []), *(["--child", child] if child else [])]


def _in_use(children: Iterable[Child]) -> bool:
    return any(child.state == "INSTALLED" for child in children)


def _sa(name: str, part: vici.Value) -> Sa:
    assert isinstance(part, dict)
    children = part["child-sas"]
    assert isinstance(children, dict)
    return Sa(
        name=name,
        state=_text(part, "state"),
        initiator=_text(part, "initiator") == "yes",
        local=(_text(part, "local-host"), int(_text(part, "local-port"))),
        remote=(_text(part, "remote-host"), int(_text(part, "remote-port"))),
        spi_i=_text(part, "initiator-spi"),
        spi_r=_text(part, "responder-spi"),
        suite="/".join(
            _text(part, key) for key in ("encr-alg", "integ-alg", "prf-alg", "dh-group") if key in part
        ),
        children=tuple(_child(child) for child in children.values()),
    )


def _child(part: vici.Value) -> Child:
    assert isinstance(part, dict)
    return Child(
        name=_text(part, "name"),
        state=_text(part, "state"),
        spi_in=int(_text(part, "spi-in"), 16),
        spi_out=int(_text(part, "spi-out"), 16),
        encap=_text(part, "encap") == "yes",
        packets_in=int(_text(part, "packets-in")),
        packets_out=int(_text(part, "packets-out")),
    )


def _text(section: vici.Section, key: str) -> str:
    value = section.get(key, "0")
    assert isinstance(value, str), f"{key} is no value"
    return value
