"""strongSwan's own swanctl reads what we read, and takes what we write.

A stand-in for the daemon takes swanctl's vici messages, so that every key and value that strongSwan has read
from a file can be compared with ours, octet for octet. A real daemon then loads what is exported.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.scenario.errors import ScenarioError
from sim.scenario.load import load, load_text
from sim.scenario.swanctl import keys
from sim.scenario.swanctl.certificates import Folders
from sim.scenario.swanctl.convert import Importer
from sim.scenario.swanctl.daemon import DaemonSettings
from sim.scenario.swanctl.export import export
from sim.scenario.swanctl.folder import write_private
from sim.scenario.swanctl.secrets import parse_shared
from sim.scenario.swanctl.syntax import Tree, parse
from sim.scenario.swanctl.values import parse_list
from tests.peers import require
from tests.scenario.base import TEXT
from tests.scenario.swanctl.test_syntax import PIECES

pytestmark = pytest.mark.peers

TOPOLOGIES = sorted(Path("topologies").glob("*.yaml"))
_LISTS = {
    "local_addrs",
    "remote_addrs",
    "proposals",
    "esp_proposals",
    "ah_proposals",
    "local_ts",
    "remote_ts",
    "vips",
    "pools",
}
Section: TypeAlias = "dict[str, bytes | list[bytes] | Section]"

TRICKY = {
    "quotes": r'connections { c { a = "x \" # } {  \\ \n é" tail "" b"c"' + "\n b = C:\\temp\\ # no\n} }\n",
    "lines": 'connections { c { a = "one \\\n  two\nthree"\r\n b\n =\n c = \n d = 1} }\n',
    "twice": "connections { c { a = 1\n b = 2\n } }\nconnections { d { } c { a = 3\n s { x = 1 } } }\n",
    "references": """
        t { a = t
          b = t
          s { x = t
            y = t } }
        u : t { a = u
          r { z = u } }
        connections {
          c : u, t { s : u.r { y = c } b =
          }
          d : connections.c { }
          e : later { }
        }
        later { list = l }
        """,
    "includes": "connections { include conf.d/*.conf\n e { include inc.conf # x\n } }\ninclude none/*.conf\n",
    "include words": 'connections { include{ x = 1 } c { include= 2\n include "conf.d/1.conf"\n } }\n',
    "lists": "connections { c { local_addrs = 1.1.1.1,2.2.2.2 , %any\n remote_ts = \n vips = ,a,,b,\n } }\n",
    "names": "connections { a-b_c/e { [x] = y } ü { ö = ä } $(x) { ' = ` } }\n",
    "secrets": """
        connections { c { } }
        secrets {
          ike-1 { secret = "a\\"b\\\\c#d é"
            id = x
            id-b = "@#00ff" }
          ike-2 { secret = 0x4a6F1
            id2 = "a:b"
            id1 = %any }
          ike-3 { secret = 0sSm8= }
          ike-4 { secret = a  b   # c
          }
        }
        """,
}


class Daemon:
    """Takes what `swanctl --load-all` sends, says yes to everything, and keeps connections and secrets."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"unix://{folder}/vici"
        self.connections: Section = {}
        self.secrets: dict[str, tuple[bytes, list[bytes]]] = {}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(f"{folder}/vici")
        self._server.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def load(self, path: Path) -> bool:
        """Whether swanctl could read the file at all."""
        self.connections, self.secrets = {}, {}
        command = [require("swanctl"), "--load-all", "--noprompt", "--file", str(path), "--uri", self.uri]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return "invalid config file" not in done.stderr

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as stream:
                while head := stream.read(4):
                    packet = stream.read(int.from_bytes(head, "big"))
                    size = packet[1]
                    self._take(packet[2 : 2 + size].decode(), _message(iter(packet[2 + size :])))
                    answer = b"\x01" + _key_value(b"success", b"yes")
                    stream.write(struct.pack(">I", len(answer)) + answer)
                    stream.flush()

    def _take(self, command: str, message: Section) -> None:
        if command == "load-conn":
            self.connections |= message
        elif command == "load-shared":
            name, value, owners = message["id"], message["data"], message.get("owners", [])
            assert isinstance(name, bytes)
            assert isinstance(value, bytes)
            assert isinstance(owners, list)
            self.secrets[name.decode()] = (value, owners)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    require("swanctl")
    running = Daemon(tmp_path_factory.mktemp("vici"))
    yield running
    running.close()


@pytest.mark.parametrize("text", TRICKY.values(), ids=TRICKY)
def test_swanctl_reads_a_tricky_file_as_we_do(text: str, daemon: Daemon, tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    assert daemon.load(path)
    tree = parse(path)
    assert daemon.connections
    assert daemon.connections == _connections(tree)
    assert list(daemon.connections) == list(_connections(tree))
    assert daemon.secrets == _secrets(tree)


_CONTENT = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_CONTENT)
def test_swanctl_reads_any_file_as_we_do(daemon: Daemon, tmp_path: Path, content: str) -> None:
    """What it cannot read we cannot read either, and the other way round."""
    path = _write(tmp_path, "t { a = 1 }\nconnections { c {\n" + content + "\n} }\n")
    try:
        expected: Section | None = _connections(parse(path))
    except ScenarioError as error:
        expected = None
        told = str(error)
    read = daemon.load(path)
    if expected is None:
        assert not read or any(word in told for word in _OURS_ALONE), told
    else:
        assert read
        assert daemon.connections == expected


_OURS_ALONE = (
    "includes itself",
    "names no file",
    "a file name must follow",
    "No such file",
    "go round in a circle",
)
"""Mistakes that strongSwan passes over."""


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_swanctl_reads_what_is_exported_as_we_do(path: Path, daemon: Daemon, tmp_path: Path) -> None:
    files = write_private(tmp_path, export(load(path)).files)
    for file in (file for file in files if file.name == "swanctl.conf"):
        assert daemon.load(file)
        tree = parse(file)
        assert daemon.connections == _connections(tree)
        assert daemon.secrets == _secrets(tree)
        imported = Importer(tree, DaemonSettings(), Folders(file.parent)).connections()
        secrets = {connection.psk for connection in imported.values()}
        secrets |= {connection.ppk for connection in imported.values()}
        secrets |= {password for one in imported.values() for password in one.eap_secrets.values()}
        secrets -= {None}
        assert {psk for psk, _ in daemon.secrets.values()} == secrets


@pytest.mark.parametrize(
    "secret",
    [
        b'a"b',
        b"a\\b\\",
        b"a # b",
        b" a  b ",
        "größer als €".encode(),
        b"0xzz",
        b"0Sm8=",
        b"} {",
        b"a\tb\nc",
        b"\xff\0",
    ],
)
def test_swanctl_reads_the_very_octets_of_a_secret(secret: bytes, daemon: Daemon, tmp_path: Path) -> None:
    scenario = load_text(TEXT, overrides={"tunnels.rw.auth.psk": f"0x{secret.hex()}"})
    for file in write_private(tmp_path, export(scenario).files):
        if file.name == "swanctl.conf":
            assert daemon.load(file)
            assert [value for value, _ in daemon.secrets.values()] == [secret]


_MANUAL = Path("/etc/swanctl/swanctl.conf")
_TEMPLATES = {"cert", "cacert", "<attr>"}
"""Written like keys there, but they are sections, or stand for a list of keys."""
_COMMENTED = re.compile(r"\s*# (\S+ =.*|\S+ \{)")
_SECTIONS = {
    ("connections", "conn"): keys.CONNECTION,
    ("connections", "conn", "local"): keys.AUTH,
    ("connections", "conn", "remote"): keys.AUTH,
    ("connections", "conn", "children", "child"): keys.CHILD,
    ("pools", "name"): keys.POOL,
    ("authorities", "name"): keys.AUTHORITY,
}


def test_every_key_that_strongswan_has_is_known_and_its_default_is_no_mistake(tmp_path: Path) -> None:
    """Debian's swanctl.conf lists every key with its default, commented out."""
    require("swanctl")
    path = tmp_path / "swanctl.conf"
    path.write_text(_uncommented(_MANUAL.read_text()))
    tree = parse(path)
    for place, rules in _SECTIONS.items():
        section = tree.root
        for name in place:
            section = section.sections[name]
        assert section.settings
        assert section.settings.keys() - _TEMPLATES <= rules.keys()
        view = tree.section(*place)
        assert view is not None
        refused = [str(problem) for use, problem in keys.check_keys(view, rules) if use is keys.Use.REFUSED]
        assert not refused


def _uncommented(text: str) -> str:
    found = []
    for line in text.splitlines():
        match = _COMMENTED.fullmatch(line)
        if match:
            found.append(match[1].replace("<suffix>", ""))
        elif line.strip() in ("}", "# }"):
            found.append("}")
    return re.sub(r"<(conn|child|name)> {", r"\1 {", "\n".join(found)) + "\n"


def _write(folder: Path, text: str) -> Path:
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / "2.conf").write_text("c { x = 2\n y = 2 }\n")
    (folder / "conf.d" / "1.conf").write_text("c { x = 1\n z = 1 }")
    (folder / "inc.conf").write_text("i = 1\nj { k = 2 }\n")
    path = folder / "swanctl.conf"
    path.write_bytes(text.encode())
    return path


def _connections(tree: Tree) -> Section:
    whole = tree.section("connections")
    assert whole is not None
    return {name: _section(tree, ("connections", name)) for name in whole.sections}


_FOLDERS = {"certs": "x509", "cacerts": "x509ca", "pubkeys": "pubkey"}


def _section(tree: Tree, path: tuple[str, ...]) -> Section:
    view = tree.section(*path)
    assert view is not None
    found: Section = {}
    for key, setting in view.settings.items():
        value = setting.value or ""
        if key in _FOLDERS:  # swanctl sends what the files hold
            base = Path(setting.at.file).parent / _FOLDERS[key]
            found[key] = [(base / item).read_bytes() for item in parse_list(value)]
            continue
        found[key] = [item.encode() for item in parse_list(value)] if key in _LISTS else value.encode()
    return found | {name: _section(tree, (*path, name)) for name in view.sections}


def _secrets(tree: Tree) -> dict[str, tuple[bytes, list[bytes]]]:
    found = {}
    whole = tree.section("secrets")
    for name in whole.sections if whole else ():
        view = tree.section("secrets", name)
        assert view is not None
        owners = [(s.value or "").encode() for key, s in view.settings.items() if key.startswith("id")]
        found[name] = (parse_shared(view.settings["secret"].value or ""), owners)
    return found


def _key_value(key: bytes, value: bytes) -> bytes:
    return b"\x03" + bytes([len(key)]) + key + struct.pack(">H", len(value)) + value


def _message(octets: Iterator[int]) -> Section:
    """A vici message: 1 name, ..., 2 a section; 3 name, value; 4 name, (5 value)..., 6 a list."""
    found: Section = {}
    for kind in octets:
        if kind == 2:
            break
        name = _take(octets, 1).decode()
        if kind == 1:
            found[name] = _message(octets)
        elif kind == 3:
            found[name] = _take(octets, 2)
        else:
            items = []
            while next(octets) == 5:
                items.append(_take(octets, 2))
            found[name] = items
    return found


def _take(octets: Iterator[int], width: int) -> bytes:
    size = int.from_bytes(bytes(next(octets) for _ in range(width)), "big")
    return bytes(next(octets) for _ in range(size))
