"""One scenario over a grid of overrides and seeds, on all cores, as a tidy table.

    table = sim.sweep("topologies/mobike/handover.yaml", {"links.0.delay": ["5 ms", "50 ms"]}, seeds=10)
    sim.interval(table, "up.outage_s", by="links.0.delay")

Every run is of one process's own and depends on its overrides and its seed alone, so the table is the same on
any number of cores.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sim.experiment.run import run
from sim.scenario.build import build
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.load import load

Variant = Mapping[str, object]
"""Overrides of one run, as `load` takes them."""
Row = dict[str, Any]
Measure = Callable[[Any], Row]
"""What to take from a Result; with more than one process it must be a function of a module."""
MAX_RUNS = 100_000


def grid(vary: Mapping[str, Sequence[object]]) -> list[dict[str, object]]:
    """All combinations, the last key varying fastest; no key at all makes one."""
    keys = list(vary)
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*vary.values())]


def sweep(
    topology: str | Path,
    vary: Mapping[str, Sequence[object]] | Iterable[Variant],
    seeds: int | Sequence[int] = 1,
    *,
    measure: Measure | None = None,
    labels: Sequence[Row] | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """A row for each variant and seed: overrides, `seed`, and what `measure` takes (see `numbers`).

    `vary` is a grid, or the variants themselves. `seeds` counts from 1, or lists them. `labels` is what
    the table has of each variant instead of its overrides. `processes` is at most the number of cores if
    None; 1 stays in this process. `progress` is told how many of how many runs are done. ScenarioError,
    before anything runs, for a variant that cannot be built.
    """
    variants = grid(vary) if isinstance(vary, Mapping) else [dict(variant) for variant in vary]
    numbers_of = range(1, seeds + 1) if isinstance(seeds, int) else seeds
    jobs = [(variant, seed) for variant in variants for seed in numbers_of]
    told = [label for label in labels or variants for _ in numbers_of]
    if not jobs or len(jobs) > MAX_RUNS:
        raise ScenarioError([Problem("sweep", "", f"has {len(jobs)} runs: from 1 to {MAX_RUNS:,}")])
    for variant in variants:
        build(load(topology, variant))
    work = partial(_one, str(topology), measure or numbers)
    rows = []
    for label, job, row in zip(told, jobs, _mapped(work, jobs, processes), strict=True):
        rows.append({**label, "seed": job[1], **row})
        if progress is not None:
            progress(len(rows), len(jobs))
    return pd.DataFrame(rows)


def numbers(result: Any) -> Row:
    """Of every flow what was sent and lost, its outages and its latency; of every check whether it holds.

    `NAME.outage_s` is the longest of its outages, 0 without any.
    """
    row: Row = {}
    for flow in result.summary["flows"]:
        name = flow["name"]
        lengths = [outage["to_s"] - outage["from_s"] for outage in flow["outages"]]
        row |= {f"{name}.{key}": flow[key] for key in ("sent", "received", "lost")}
        row[f"{name}.outage_s"] = max(lengths, default=0.0)
        row[f"{name}.p50_ms"] = flow["latency_ms"]["p50"]
    row["established"] = sum(one["state"] == "established" for one in result.summary["connections"])
    row["ok"] = result.ok
    return row


def _one(topology: str, measure: Measure, job: tuple[Variant, int]) -> Row:
    variant, seed = job
    return measure(run(load(topology, variant), seed))


def _mapped(
    work: Callable[[tuple[Variant, int]], Row], jobs: Sequence[tuple[Variant, int]], processes: int | None
) -> Iterator[Row]:
    """In the order of the jobs, whichever is done first."""
    count = min(processes or os.cpu_count() or 1, len(jobs))
    if count == 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        yield from pool.map(work, jobs, chunksize=max(1, len(jobs) // (4 * count)))
