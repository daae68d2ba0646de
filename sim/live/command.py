"""`ipsec-sim peer`: from the words of the command line to a running peer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sim.ike.config import EndpointConfig, PerCpuSas
from sim.live.errors import LiveError
from sim.live.peer import PeerOptions, run_peer
from sim.live.report import Reporter
from sim.scenario.configs import ConfigError, endpoint_config
from sim.scenario.peer_file import read_peer
from sim.wire.address import pack_address


@dataclass(frozen=True, slots=True)
class PeerArguments:
    """As on the command line; `ports` are IKE's and NAT traversal's, `tun` None is no device."""

    config: Path
    node: str | None
    ports: tuple[int, int]
    tun: str | None
    initiate: tuple[str, ...]
    pings: tuple[str, ...]
    count: int | None
    keys: Path | None
    as_json: bool
    verbose: bool


def run_from_command_line(arguments: PeerArguments) -> bool:
    """Whether all pings were answered. LiveError and ScenarioError say what is wrong."""
    ike_port, natt_port = arguments.ports
    if ike_port == natt_port:
        raise LiveError(f"--port and --natt-port are both {ike_port}: they must differ")
    if arguments.pings and arguments.tun is not None:
        raise LiveError("--ping is for the internal echo host: with --tun use the system's own ping")
    if arguments.count is not None and not arguments.pings:
        raise LiveError("--count counts pings: say what to ping with --ping")
    settings = read_peer(arguments.config, arguments.node)
    try:
        settled = endpoint_config(settings.connections, settings.pools, cpus=settings.cpus)
        config = replace(settled, ike_port=ike_port, natt_port=natt_port)
    except ConfigError as error:
        raise LiveError(f"{arguments.config}: connections.{'.'.join(error.path)}: {error}") from None
    pings = tuple(_address(text) for text in arguments.pings)
    for name in arguments.initiate:
        _check_name(config, name)
    reporter = Reporter(as_json=arguments.as_json, verbose=arguments.verbose)
    _check_sockets(config)
    for warning in settings.warnings:
        reporter.warn(str(warning))
    options = PeerOptions(arguments.tun, arguments.initiate, pings, arguments.count, arguments.keys)
    try:
        return run_peer(config, options, reporter)
    finally:
        reporter.close()


def _address(text: str) -> bytes:
    try:
        return pack_address(text)
    except ValueError:
        raise LiveError(f"--ping {text}: that is no IP address") from None


def _check_sockets(config: EndpointConfig) -> None:
    for connection in config.connections:
        for child in connection.children:
            if child.per_cpu_sas is PerCpuSas.ENCAP:
                raise LiveError(
                    f"connections.{connection.name}.children.{child.name}.per_cpu_sas: encap is simulated "
                    "only, as a live peer sends from one UDP port: write `yes`"
                )


def _check_name(config: EndpointConfig, name: str) -> None:
    wanted, _, child = name.partition("/")
    found = next((c for c in config.connections if c.name == wanted), None)
    if found is None:
        known = ", ".join(c.name for c in config.connections)
        raise LiveError(f"--initiate {name}: there is no connection {wanted}; there is {known}")
    if child and found.child(child) is None:
        known = ", ".join(c.name for c in found.children)
        raise LiveError(f"--initiate {name}: {wanted} has no child {child}; it has {known}")
    if not found.remote_addrs:
        raise LiveError(f"--initiate {name}: it names no remote address, so only the peer can set it up")
