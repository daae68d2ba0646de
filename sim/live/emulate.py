"""A simulated network between real hosts: packets of TUN devices cross it in real time.

What is not ours to run is left out and said: the connections of the attached nodes (the real hosts have their
own), their flows, and the checks of both. Pings to an attached node are sent, and the real host answers.
Other flows to one, or with a real gateway or router in the network, are left out: what leaves the
simulation and comes back is a packet like any other.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sim.experiment.checks import check_name, is_ours
from sim.experiment.recording import Recording
from sim.experiment.result import Result
from sim.live.attach import Attachment, parse_attachments
from sim.live.errors import LiveError
from sim.live.netns import inside, run_ip
from sim.live.paced import PacedLoop, Pacer, run_precisely
from sim.live.real_port import RealPort
from sim.net.engine import stopwatch
from sim.net.port import Port
from sim.net.real_host import RealHost
from sim.scenario.build import build
from sim.scenario.flows import runs_here
from sim.scenario.schema import Scenario
from sim.scenario.world import World
from sim.units import NS_PER_S

_NAMESPACES = Path("/run/netns")
_FORWARD = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


def emulate(
    scenario: Scenario,
    attach: Iterable[str],
    seed: int = 1,
    *,
    out: str | Path | None = None,
    capture: bool | None = None,
    ready: Callable[[list[Attachment]], None] = lambda _: None,
) -> Result:
    """Run a scenario in real time, to its end or until SIGINT or SIGTERM, with real hosts attached.

    `attach` says which (`NODE=TUN@NETNS`); `ready` is called when packets can flow. The summary has a further
    part, `realtime`, whose `lost` says why the run ended early when somebody removed a device (else None).
    `out` and `capture` are as in `sim.run`. LiveError says what the system lacks, ScenarioError what the
    scenario does.
    """
    elapsed = stopwatch()
    attachments = parse_attachments(attach, scenario)
    world = build(scenario, seed, {attachment.node for attachment in attachments})
    build_s = elapsed()
    with ExitStack() as stack:
        for netns in sorted({one.netns for one in attachments if one.netns is not None}):
            stack.enter_context(_namespace(netns))
        recording = stack.enter_context(Recording(world, out, capture))
        pacer = Pacer(world.sim, scenario.duration)
        ports = [_open(stack, world, one, pacer) for one in attachments]
        lost = None
        try:
            run_precisely(_run(world, pacer, ports, lambda: ready(attachments)))
        except LiveError as error:
            lost = f"{error}: the run ended after {pacer.now / NS_PER_S:.3f} s"
        return recording.finish(build_s, realtime=_row(world, pacer, ports) | {"lost": lost})


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    """Make a network namespace, unless it is there already, and remove what was made."""
    if (_NAMESPACES / name).exists():
        yield
        return
    try:
        run_ip("netns", "add", name)
    except KeyboardInterrupt:  # `ip` may be through with it
        with suppress(LiveError):
            run_ip("netns", "delete", name)
        raise
    try:
        run_ip("link", "set", "dev", "lo", "up", netns=name)
        yield
    finally:
        if (_NAMESPACES / name).exists():  # and nobody was quicker
            run_ip("netns", "delete", name)


def _open(stack: ExitStack, world: World, attachment: Attachment, pacer: Pacer) -> RealPort:
    host = world.nodes[attachment.node]
    assert isinstance(host, RealHost)
    port = RealPort(attachment, host, pacer)
    stack.callback(port.close)
    if world.scenario.nodes[host.name].kind != "host" and attachment.netns is not None:
        inside(attachment.netns, lambda: [Path(file).write_text("1") for file in _FORWARD])
    port.follow()
    return port


async def _run(world: World, pacer: Pacer, ports: list[RealPort], ready: Callable[[], None]) -> None:
    loop, paced = asyncio.get_running_loop(), PacedLoop(pacer)
    with ThreadPoolExecutor(1) as configurator:  # `ip` takes milliseconds, in which packets must not wait

        def follow(port: RealPort) -> None:
            done = loop.run_in_executor(configurator, port.follow)
            done.add_done_callback(lambda done: paced.call(done.result))

        _connect(world, ports, follow)
        for port in ports:
            loop.add_reader(port.tun.fileno(), paced.call, port.read)
        with _stopped_by_signals(loop, paced.stop):
            pacer.start()
            ready()
            try:
                await paced.run()
            finally:
                for port in ports:
                    loop.remove_reader(port.tun.fileno())


@contextmanager
def _stopped_by_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM end the run; what they did before, they do again while its files are written."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:  # not one of Python's own
                signal.signal(number, handler)


def _connect(world: World, ports: list[RealPort], follow: Callable[[RealPort], object]) -> None:
    by_port = {port.port: port for port in ports}

    def leave(port: Port, data: bytearray, now: int) -> None:
        by_port[port].leave(data, now)

    def changed(_now: int) -> None:
        for port in ports:
            follow(port)

    for name in world.attached:
        host = world.nodes[name]
        assert isinstance(host, RealHost)
        host.leave = leave
        host.on_port_change.append(changed)


def _row(world: World, pacer: Pacer, ports: list[RealPort]) -> dict[str, Any]:
    return {
        "stopped": not pacer.finished,
        "behind_s": max(0, min(pacer.now, pacer.end) - world.sim.now) / NS_PER_S,
        "events": pacer.lateness.row(),
        "attached": [port.row() for port in ports],
        "left_out": list(_left_out(world)),
    }


def _left_out(world: World) -> Iterator[str]:
    scenario, attached = world.scenario, world.attached
    for node in sorted(attached & set(scenario.connections)):
        yield from (f"connection {name} at {node}" for name in scenario.connections[node])
    for index, fault in enumerate(scenario.faults):
        if fault.node in attached:
            yield f"fault {index} at {fault.node}"
    yield from (f"flow {flow.name}" for flow in scenario.traffic if not runs_here(flow, scenario, attached))
    yield from (f"check: {check_name(check)}" for check in scenario.checks if not is_ours(world, check))
