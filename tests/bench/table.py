"""`make bench`: one table of ratios, all measured in one run by contestants that take turns.

python -m tests.bench.table [ROUNDS]
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

from tests.bench import bare, ns3, ours
from tests.bench.measure import HOPS, Sample, ratio, take_turns

Run = Callable[[int], Sample]


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


HEAD = ["what", "ours", "against", "theirs", "ratio", "in rounds", "aim"]


def main(rounds: int, scale: float = 1.0) -> None:
    """Print the table; `scale` shortens every run."""
    skipped: list[str] = []
    rows = [*chain_rows(rounds, scale, skipped), handshake_row(rounds, scale)]
    print(f"\n{machine()}; median of {rounds} rounds\n")
    print("\n".join(as_markdown([HEAD, *(row.cells() for row in rows)])))
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


def handshake_row(rounds: int, scale: float) -> Row:
    """Both ends and the link, against the cryptography of both ends."""
    own, crypto = take_turns(
        [_bind(ours.handshakes, 100, scale), _bind(bare.handshakes, 1_000, scale)], rounds
    )
    return Row("handshakes, PSK, X25519, AES-GCM", "their bare crypto calls", own, crypto, "at least 0.33")


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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
