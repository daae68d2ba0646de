"""`make fuzz`: a million mutated messages, and what came of them.

    python -m tests.fuzz [--messages N] [--seed N] [--corpus FILE]

With `--corpus` it writes the messages whose outcome was new, which the tests replay.
"""

from __future__ import annotations

import argparse
import base64
import gc
import resource
import time
from itertools import cycle
from pathlib import Path

from tests.fuzz.corpus import MAX_BYTES, read_corpus
from tests.fuzz.pairs import MAKERS
from tests.fuzz.targets import Madmen, Strangers, codec, stream

SHARE_OF_MADMEN = 200
"""One conversation with a peer that holds the keys for so many messages of strangers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    fuzz(options.messages, options.seed, options.corpus)


def fuzz(messages: int, seed: int, corpus: Path | None = None) -> None:
    strangers = Strangers(seed, read_corpus())
    madmen = cycle([Madmen(seed, make) for make in MAKERS])
    outcomes: dict[str, int] = {}
    found: list[bytes] = []
    began, objects = time.monotonic(), 0
    for number in range(messages):
        raw = strangers.next()
        words = [codec(raw), strangers.feed(raw)]
        if number % SHARE_OF_MADMEN == 0:
            words += [next(madmen).round(), stream(strangers.session, strangers.draw)]
        if any(word not in outcomes for word in words[:2]) and len(raw) <= MAX_BYTES:
            found.append(raw)
        for word in words:
            outcomes[word] = outcomes.get(word, 0) + 1
        if number == messages // 4:
            gc.collect()
            objects = len(gc.get_objects())
    strangers.check()
    _report(messages, outcomes, objects, time.monotonic() - began)
    if corpus is not None:
        corpus.write_text("".join(base64.b64encode(raw).decode() + "\n" for raw in found))


def _report(messages: int, outcomes: dict[str, int], objects: int, took: float) -> None:
    gc.collect()
    grown = len(gc.get_objects()) - objects
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for word, count in sorted(outcomes.items(), key=lambda item: -item[1])[:25]:
        print(f"{count:9}  {word}")
    print(f"{messages:,} messages in {took:.0f} s, {len(outcomes)} outcomes, no exception, nothing changed")
    print(f"objects since the first quarter: {grown:+,}; peak memory {peak / 1024:.0f} MiB")
    if grown > 20_000:
        raise SystemExit("memory grows")


if __name__ == "__main__":
    main()
