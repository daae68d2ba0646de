"""The command line. Thin: every command is one call into the library, and what it raises made readable.

Exit status: 0 done and all checks hold, 1 a check failed, 2 bad input, 130 stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from sim.experiment.result import Result

Topology = Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="A scenario, as in topologies/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace one value: links.0.delay='5 ms'. Repeatable."),
]
Seed = Annotated[int, typer.Option(min=0, help="For loss, jitter, NAT ports and, when simulated, keys.")]
Until = Annotated[str | None, typer.Option(metavar="T", help="Run for so long instead, such as '5 s'.")]
Out = Annotated[
    str | None, typer.Option(metavar="DIR", help="Write capture, keys, tables and summary there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]

CHECK_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _about() -> None:
    """A deterministic network simulator with a complete IKEv2 and ESP stack and real cryptography."""


@app.command()
def run(
    topology: Topology,
    seed: Seed = 1,
    until: Until = None,
    overrides: Overrides = None,
    out: Out = None,
    as_json: AsJson = False,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="Show each IKE message, too; beside --json on standard error.")
    ] = False,
) -> None:
    """Run one scenario and report its connections, flows and checks; equal seeds give equal runs."""
    import sim

    with _readable_errors(), _progress_bar() as progress:
        scenario = sim.load(topology, overrides)
        end = _parse_until(until)
        # The summary that programs read tells the hash of the capture, so there must be one.
        capture = as_json or None
        result = sim.run(scenario, seed, end, out=out, capture=capture, progress=progress)
    _report(result, out, as_json, ladder)


@app.command()
def emulate(
    topology: Topology,
    attach: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE[:IFACE]=TUN[@NETNS]",
            help="This node is a real host, its interface a TUN device. Repeatable; needs root.",
        ),
    ] = None,
    seed: Seed = 1,
    until: Until = None,
    overrides: Overrides = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run one scenario in real time as the network between real hosts; Ctrl-C ends it with the report."""
    import sim
    from sim.live.emulate import emulate as run_emulation

    def ready(attachments: Iterable[object]) -> None:
        for attachment in attachments:
            typer.echo(str(attachment), err=True)
        typer.echo(f"running for {scenario.duration / 1e9:g} s, Ctrl-C ends it", err=True)

    with _readable_errors():
        scenario = sim.load(topology, overrides)
        end = _parse_until(until)
        scenario = scenario if end is None else scenario.lasting(end)
        result = run_emulation(scenario, attach or (), seed, out=out, capture=as_json or None, ready=ready)
    _report(result, out, as_json)


@app.command()
def validate(
    topology: Topology,
    overrides: Overrides = None,
    expand: Annotated[
        bool, typer.Option("--expand", help="Print the scenario with tunnels as connections of both ends.")
    ] = False,
) -> None:
    """Check a scenario without running it."""
    import sim
    from sim.scenario.load import dump

    with _readable_errors():
        scenario = sim.load(topology, overrides)
        world = sim.build(scenario)
    for warning in world.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if expand:
        typer.echo(dump(sim.expand(scenario)), nl=False)
    else:
        typer.echo(f"{topology}: no mistakes found")


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenarios, for editors."""
    from sim.scenario.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def export(
    topology: Topology,
    swanctl: Annotated[
        Path,
        typer.Option("--swanctl", metavar="DIR", help="Write swanctl.conf and strongswan.conf of each node."),
    ],
    overrides: Overrides = None,
) -> None:
    """Write what a real strongSwan needs to play the endpoints of a scenario: DIR/NODE/swanctl.conf.

    What strongSwan will do otherwise is told with file and line. The files hold secrets and have mode 0600.
    """
    import sim
    from sim.scenario.swanctl.export import export as export_swanctl
    from sim.scenario.swanctl.folder import write_private

    with _readable_errors():
        exported = export_swanctl(sim.load(topology, overrides))
        paths = write_private(swanctl, exported.files)
    for note in exported.notes:
        typer.echo(f"note: {note}", err=True)
    for path in paths:
        typer.echo(path)


@app.command()
def pki(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where a swanctl.conf is, or a peer's file.")],
    ca: Annotated[
        str, typer.Option(metavar="NAME", help="The CA, such as 'O=Example, CN=CA'; made once.")
    ] = "ca",
    cert: Annotated[
        list[str] | None,
        typer.Option(metavar="ID[,NAME]...", help="A certificate for 'moon.example,192.0.2.1'. Repeatable."),
    ] = None,
    revoke: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Put this certificate on the CA's CRL. Repeatable.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--type", metavar="KEY", help="Such as ed25519 or rsa-3072.")
    ] = "ecdsa-p256",
    days: Annotated[
        int, typer.Option(min=1, max=36500, help="How long certificates and CRLs are good.")
    ] = 365,
) -> None:
    """Make a CA and certificates as files, in swanctl's folders: x509ca/, x509/, private/, x509crl/."""
    from sim.live.pki import PkiArguments, run_pki

    with _readable_errors():
        arguments = PkiArguments(folder, ca, tuple(cert or ()), tuple(revoke or ()), kind, days)
        for path in run_pki(arguments):
            typer.echo(path)


@app.command()
def overhead(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUITE]...", help="As in esp_proposals: aes128gcm16, aes256-sha256; of AH sha256."
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Octets of the whole inner packet.")] = 1400,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="SIZES", help="Many of them: 64,576,1400 or 40..1500 or 40..1500:20."),
    ] = None,
    inner: Annotated[str, typer.Option(help="What the inner packet is: udp, tcp, icmp or raw.")] = "udp",
    ip: Annotated[int, typer.Option(help="Its IP version.")] = 4,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="esp, ah, gre, l2tp (over ESP), iptfs, plain, wireguard or tls. Repeatable."),
    ] = None,
    mode: Annotated[list[str] | None, typer.Option(help="tunnel or transport. Repeatable.")] = None,
    natt: Annotated[bool, typer.Option("--natt", help="ESP in UDP.")] = False,
    no_natt: Annotated[bool, typer.Option("--no-natt", help="Beside --natt: without it as well.")] = False,
    outer: Annotated[
        list[int] | None, typer.Option(help="The IP version around; the inner one's if left out. Repeatable.")
    ] = None,
    esn: Annotated[bool, typer.Option("--esn", help="Extended sequence numbers.")] = False,
    implicit_iv: Annotated[
        bool, typer.Option("--implicit-iv", help="The IV comes from the sequence number (RFC 8750).")
    ] = False,
    ipcomp: Annotated[bool, typer.Option("--ipcomp", help="Compress with DEFLATE (RFC 3173).")] = False,
    payload: Annotated[
        str | None, typer.Option(help="What IPComp finds: text (if left out), random or zeros.")
    ] = None,
    tfc: Annotated[
        str, typer.Option(metavar="SIZE|mtu", help="Pad inner packets to that size (RFC 4303 2.7).")
    ] = "0",
    mtu: Annotated[int, typer.Option(help="Of the path.")] = 1500,
    rate: Annotated[str, typer.Option(help="Of the link.")] = "1 Gbit/s",
    framing: Annotated[int, typer.Option(help="Octets that the link adds to a packet: Ethernet 38.")] = 0,
    compare: Annotated[
        bool, typer.Option("--compare", help="Side by side; the usual suites and rivals if none is named.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: .png, .svg or .pdf, fit for a paper.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A line for each variant and size.")] = False,
) -> None:
    """Explain every octet that ESP, AH and their rivals add to a packet, and what a path makes of it."""
    from sim.experiment.overhead import study_of
    from sim.experiment.overhead.report import report

    with _readable_errors():
        found = study_of(
            suites or (), sizes=size if sizes is None else sizes, inner=inner, ip=ip,
            protocols=protocol or (), modes=mode or (),
            natt=(False, True) if natt and no_natt else natt, outer=outer or (), esn=esn,
            implicit_iv=implicit_iv, ipcomp=ipcomp, payload=payload, tfc=tfc, compare=compare, mtu=mtu,
            rate=rate, framing=framing,
        )  # fmt: skip
        answer = report(found, as_json=as_json, as_csv=as_csv, side_by_side=compare, plot=plot)
    if isinstance(answer, str):
        typer.echo(answer, nl=False)
    else:
        _print(answer)


@app.command()
def grid(
    presets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PRESET]...", help="NAT presets to try; all, and none, if left out."),
    ] = None,
    keepalive: Annotated[str, typer.Option(metavar="on|off|both", help="NAT keepalives.")] = "both",
    mobike: Annotated[str, typer.Option(metavar="on|off|both", help="MOBIKE at both ends.")] = "both",
    silence: Annotated[str, typer.Option(metavar="T", help="How long nobody speaks.")] = "600 s",
    cell: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Only A before the initiator, B before the responder."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --cell: its captures and keys, by trial.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a coloured page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    seed: Seed = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; all cores if left out.")] = None,
) -> None:
    """Try a tunnel through every NAT against every NAT: does it come up, and what does it survive?"""
    from sim.experiment.grid.command import Request, show

    with _readable_errors(), _progress_bar("cells") as progress:
        request = Request(presets or None, keepalive, mobike, silence, cell, out, html, seed, jobs)
        answer = show(request, as_json=as_json, progress=progress)
    if isinstance(answer, str):
        typer.echo(answer)
    else:
        _print(answer)


@app.command()
def sweep(
    topology: Topology,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=V1,V2,...", help="Values of one setting, in all combinations. Repeatable."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each combination: seeds 1 to N.")] = 1,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .csv or .parquet; without it CSV is printed.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; all cores if left out.")] = None,
) -> None:
    """Run one scenario over a grid of settings and seeds: a table with a row for each run."""
    from sim.experiment.sweep_command import run_sweep

    with _readable_errors(), _progress_bar("runs") as progress:
        told = run_sweep(topology, vary or (), seeds, overrides or (), out, jobs, progress)
    typer.echo(told, nl=False)


@app.command(context_settings={"ignore_unknown_options": True})
def decode(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run (--out).")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[TSHARK OPTIONS]...", help="Such as -V, or -Y isakmp.")
    ] = None,
) -> None:
    """Show a run's packets with tshark, decrypted with the run's keys."""
    from sim.experiment.decode import decode as run_tshark

    with _readable_errors():
        status = run_tshark(folder, options or ())
    if status:
        raise typer.Exit(BAD_INPUT)


@app.command()
def peer(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="`connections:` in YAML, a swanctl.conf, or a topology.")
    ],
    node: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose connections to take from a topology.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="UDP port of IKE, ours and the peer's.")] = 500,
    natt_port: Annotated[
        int, typer.Option(min=1, max=65535, help="UDP port of NAT traversal, ours and the peer's.")
    ] = 4500,
    tun: Annotated[
        bool,
        typer.Option("--tun", help="Hand inner packets to the kernel, through a TUN device (root)."),
    ] = False,
    tun_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of that device; implies --tun.")
    ] = None,
    initiate: Annotated[
        list[str] | None,
        typer.Option(metavar="CONNECTION[/CHILD]", help="Set this up at once, besides `start`. Repeatable."),
    ] = None,
    ping: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Ping an inner address of the peer every second. Repeatable."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Send so many pings, delete the SAs and end; 1 if one was lost.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write all keys there, for Wireshark. They are secret.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each event.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show IKE messages, too.")] = False,
) -> None:
    """Be a live IKEv2 endpoint; SIGUSR1 shows its state, Ctrl-C deletes its SAs and ends it."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # there is no state to show until it runs
    with _readable_errors():
        from sim.live.command import PeerArguments, run_from_command_line

        arguments = PeerArguments(
            config, node, (port, natt_port), tun_name if tun_name or not tun else "",
            tuple(initiate or ()), tuple(ping or ()), count, keys, as_json, verbose,
        )  # fmt: skip
        answered = run_from_command_line(arguments)
    if not answered:
        raise typer.Exit(CHECK_FAILED)


def main() -> None:
    """The entry point; leaves by SystemExit."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()


def _parse_until(until: str | None) -> int | None:
    from sim.scenario.errors import Problem, ScenarioError
    from sim.scenario.schema_types import MAX_DURATION
    from sim.units import format_duration, parse_duration

    if until is None:
        return None
    try:
        end = parse_duration(until)
        if end == 0:
            raise ValueError("a run lasts longer than 0 s")
        if end > MAX_DURATION:
            raise ValueError(f"too long: at most {format_duration(MAX_DURATION)}")
        return end
    except ValueError as error:
        raise ScenarioError([Problem(f"--until {until}", "", str(error))]) from None


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Bad input becomes its explanation on the standard error and exit status 2, Ctrl-C and SIGTERM 130."""
    from sim.experiment.decode import DecodeError
    from sim.experiment.grid.errors import GridError
    from sim.experiment.overhead.errors import OverheadError
    from sim.live.errors import LiveError
    from sim.scenario.errors import ScenarioError

    try:
        yield
    except (ScenarioError, DecodeError, LiveError, OverheadError, GridError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(BAD_INPUT)


def _report(result: Result, out: str | None, as_json: bool, ladder: bool = False) -> None:
    """Show a run, and leave with status 1 when a check failed."""
    if as_json:
        typer.echo(json.dumps(result.summary))
    else:
        _print(result.render())
        if out is not None:
            typer.echo(f"Written to {out}; `ipsec-sim decode {out}` shows the packets, decrypted.")
    if ladder:
        _print_ladders(result, to_stderr=as_json)
    if lost := result.summary.get("realtime", {}).get("lost"):
        _fail(lost)  # it is not the run that was asked for
    if not result.ok:
        raise typer.Exit(CHECK_FAILED)


def _print(renderable: object) -> None:
    from rich.console import Console

    Console().print(renderable)


def _print_ladders(result: Result, *, to_stderr: bool) -> None:
    from sim.experiment.ladder import ladders

    for number, ladder in enumerate(ladders(result.world)):
        typer.echo(("\n" if number else "") + str(ladder), err=to_stderr)


@contextmanager
def _progress_bar(unit: str = "") -> Iterator[Callable[[int, int], None] | None]:
    """What to call with (now, end), in ns or of a `unit`; draws, on a terminal, once a second is over."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    text = TextColumn("{task.fields[now]} of {task.fields[end]}")
    bar = Progress(text, BarColumn(), TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task("", now="", end="")
    began = bar.get_time()

    def advance(now: int, end: int) -> None:
        if not bar.live.is_started:
            if bar.get_time() - began < 1:
                return
            bar.start()
        told = (str(now), f"{end} {unit}") if unit else (f"{now / 1e9:.1f} s", f"{end / 1e9:.0f} s")
        bar.update(task, completed=now, total=end, now=told[0], end=told[1])

    try:
        yield advance
    finally:
        bar.stop()


if __name__ == "__main__":
    main()
