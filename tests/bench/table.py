"""`make bench`: one table of ratios, all measured in one run by contestants that take turns.

python -m tests.bench.table [ROUNDS] [--quick]

--quick leaves out the road warriors of whom there are so many, which take a minute or two.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from tests.bench import bare, mappings, migration, ns3, ours, policies, suites
from tests.bench.measure import HOPS, Sample, ratio, take_turns
from tests.bench.road_warriors import measure

Run = Callable[[int], Sample]

_CERTIFICATES = {"method": "pubkey"}
_HYBRID = "aes128gcm16-prfsha256-x25519-ke1_mlkem768"


def _bare_ecdsa(count: int) -> Sample:
    return bare.handshakes(count, bare.ecdsa_p256())


def _bare_rsa(count: int) -> Sample:
    return bare.handshakes(count, bare.rsa_2048())


def _bare_hybrid(count: int) -> Sample:
    return bare.handshakes(count, mlkem=True)


@dataclass(frozen=True)
class Row:
    """One comparison. `aim` is for the ratio of our rate to theirs."""

    what: str
    against: str
    ours: Sequence[float]
    theirs: Sequence[float]
    aim: str = ""

    def cells(self) -> list[str]:
        shares = sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))
        spread = f"{shares[0]:.2f} to {shares[-1]:.2f}"
        rates = [f"{median(self.ours):,.0f}/s", f"{median(self.theirs):,.0f}/s"]
        return [
            self.what,
            rates[0],
            self.against,
            rates[1],
            f"{ratio(self.ours, self.theirs):.2f}",
            spread,
            self.aim,
        ]


@dataclass(frozen=True)
class Fact:
    """What is measured of ours alone, round by round; `aim` is for that itself."""

    what: str
    unit: str
    values: Sequence[float]
    aim: str

    def cells(self) -> list[str]:
        spread = f"{min(self.values):,.1f} to {max(self.values):,.1f}"
        return [self.what, f"{median(self.values):,.1f} {self.unit}", "", "", "", spread, self.aim]


HANDSHAKES: tuple[tuple[str, dict[str, object], Callable[[int], Sample], int], ...] = (
    ("PSK, X25519", {}, bare.handshakes, 100),
    ("ECDSA P-256, X25519", {"tunnels.pair.auth": _CERTIFICATES, "pki.key": "ecdsa-p256"}, _bare_ecdsa, 50),
    ("RSA-2048, X25519", {"tunnels.pair.auth": _CERTIFICATES, "pki.key": "rsa-2048"}, _bare_rsa, 10),
    ("PSK, X25519 and ML-KEM-768", {"tunnels.pair.proposals": [_HYBRID]}, _bare_hybrid, 50),
)
"""Of each row: what, how the scenario differs, the bare calls, and how many handshakes of ours."""
FEW, MANY = 100, 10_000
POLICIES = 1000
MAPPINGS, FEW_MAPPINGS = 100_000, 10

HEAD = ["what", "ours", "against", "theirs", "ratio", "in rounds", "aim"]


def main(rounds: int, scale: float = 1.0, *, quick: bool = False) -> None:
    """Print the table; `scale` shortens every run."""
    skipped: list[str] = []
    rows: list[Row | Fact] = [
        *chain_rows(rounds, scale, skipped),
        *handshake_rows(rounds, scale),
        *policy_rows(rounds, scale),
        *mapping_rows(rounds, scale),
        *migration_rows(min(rounds, 3), max(1, int(migration.COUNT * scale))),
    ]
    if quick:
        skipped.append(f"{MANY:,} road warriors, because of --quick")
    else:
        rows += road_warrior_rows(min(rounds, 3), int(MANY * scale))
    print(f"\n{machine()}; median of {rounds} rounds\n")
    print("\n".join(as_markdown([HEAD, *(row.cells() for row in rows)])))
    print("\nESP in tunnel mode, by suite; aims at 1400 octets with AES-GCM:", end=" ")
    print(f"{suites.AIM_BARE} bare calls, {suites.AIM_SCAPY} times scapy's\n")
    print("\n".join(as_markdown(list(suites.table(min(rounds, 3), scale)))))
    for line in skipped:
        print(f"\nskipped: {line}")


def chain_rows(rounds: int, scale: float, skipped: list[str]) -> list[Row]:
    """Five hops with ESP against the same without, in ns-3 and ns.py; our hops against simpy's own rate."""
    what = "packets over five hops in an ESP tunnel"
    peers: dict[str, tuple[Run, int, str]] = {}
    if missing := ns3.build():
        skipped.append(f"ns-3, because {missing}")
    else:
        peers[f"ns-3 {ns3.release()}, no IPsec"] = (ns3.run, 50_000, "at least 1.5")
    if find_spec("ns") is None:
        skipped.append("ns.py, because it is not installed")
    else:
        from tests.bench import nspy_chain

        peers[f"ns.py {version('ns.py')}, no IPsec"] = (nspy_chain.run, 10_000, "at least 4")
    counts = [
        (ours.chain, 20_000),
        (bare.callbacks, 500_000),
        *((run, count) for run, count, _ in peers.values()),
    ]
    own, simpy, *others = take_turns([_bind(run, count, scale) for run, count in counts], rounds)
    rows = [Row(what, name, own, rates, peers[name][2]) for name, rates in zip(peers, others, strict=True)]
    hops = [HOPS * rate for rate in own]
    return [*rows, Row("hops of those packets", f"simpy {version('simpy')}, bare callbacks", hops, simpy)]


def handshake_rows(rounds: int, scale: float) -> list[Row]:
    """Both ends and the link, against the cryptography of both ends."""
    return [handshake_row(*of, rounds, scale) for of in HANDSHAKES]


def handshake_row(
    what: str, changes: dict[str, object], crypto: Run, count: int, rounds: int, scale: float
) -> Row:
    def run(number: int) -> Sample:
        return ours.handshakes(number, changes)

    own, theirs = take_turns([_bind(run, count, scale), _bind(crypto, 5 * count, scale)], rounds)
    return Row(f"handshakes, {what}, AES-GCM", "their bare crypto calls", own, theirs, "at least 0.33")


def policy_rows(rounds: int, scale: float) -> list[Row]:
    """A thousand SAs and policies against one of each, for packets of known flows and of new ones."""
    rows = []
    for run, count in ((policies.known_flows, 20_000), (policies.new_flows, 10_000)):
        for kind in policies.KINDS:
            name = "known flows" if run is policies.known_flows else "new flows"
            turns = [
                _bind(lambda n, run=run, kind=kind, of=of: run(kind, of, n), count, scale)  # type: ignore[misc]
                for of in (POLICIES, 1)
            ]
            many, one = take_turns(turns, rounds)
            what = f"packets of {name}, {POLICIES:,} SAs and policies, {kind}"
            rows.append(Row(what, "one of each", many, one, "at least 0.83"))
    return rows


def mapping_rows(rounds: int, scale: float) -> list[Row]:
    """Packets through a NAT with a hundred thousand mappings against one with ten."""
    rows = []
    for preset in mappings.PRESETS:
        for way, run in (("out", mappings.leaving), ("in", mappings.arriving)):
            turns = [
                _bind(lambda n, run=run, preset=preset, of=of: run(preset, of, n), 20_000, scale)  # type: ignore[misc]
                for of in (MAPPINGS, FEW_MAPPINGS)
            ]
            many, few = take_turns(turns, rounds)
            what = f"packets {way} through NAT {preset} with {MAPPINGS:,} mappings"
            rows.append(Row(what, f"one with {FEW_MAPPINGS}", many, few, "at least 0.83"))
    return rows


def road_warrior_rows(rounds: int, many: int) -> list[Row | Fact]:
    """All of them up at one gateway in one run: what that costs, and what it costs when they are few."""
    turns = [(measure(many), measure(FEW, 10)) for _ in range(rounds)]
    crowds, groups = zip(*turns, strict=True)
    who = f"{many:,} road warriors, one gateway"
    return [
        Row(
            f"handshakes, {who}",
            f"the same with {FEW}",
            [crowd.rate for crowd in crowds],
            [group.rate for group in groups],
            "at least 0.83",
        ),
        Fact(f"{who}: made, built and up", "s", [c.make_s + c.build_s + c.run_s for c in crowds], "under 60"),
        Fact(f"{who}: an established pair", "KiB", [c.pair_bytes / 1024 for c in crowds], "under 32"),
        Fact(f"{who}: peak memory", "MiB", [c.peak_bytes / 2**20 for c in crowds], ""),
    ]


def migration_rows(rounds: int, count: int) -> list[Fact]:
    """Clients of one `count` that set up, roam at once and hang up."""
    turns = [migration.measure(count) for _ in range(rounds)]
    if any((turn.moved, turn.left) != (count, 0) for turn in turns):
        raise RuntimeError("not all clients moved and hung up")
    who = f"{count:,} clients that set up, roam at once and hang up"
    return [
        Fact(f"{who}: loaded and built", "s", [turn.load_s + turn.build_s for turn in turns], ""),
        Fact(f"{who}: wall time", "s", [turn.run_s for turn in turns], ""),
        Fact(f"{who}: peak memory", "MiB", [turn.peak_bytes / 2**20 for turn in turns], ""),
    ]


def _bind(run: Run, count: int, scale: float) -> Callable[[], Sample]:
    return lambda: run(max(1, int(count * scale)))


def machine() -> str:
    return f"{cpu()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def as_markdown(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--quick"]
    main(int(given[0]) if given else 7, quick="--quick" in sys.argv)
