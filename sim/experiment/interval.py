"""Means with confidence intervals of what a sweep has found."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES = 2000


def interval(
    table: pd.DataFrame,
    value: str,
    *,
    by: str | Iterable[str],
    level: float = 0.95,
    method: str = "bootstrap",
) -> pd.DataFrame:
    """Mean, `low`, `high` and number of a column, for each combination of the columns `by`, in their order.

    `bootstrap` takes percentiles of resampled means, and assumes nothing of the distribution: outages with
    lost requests have several modes. `t` is Student's. One run has no interval: NaN. Equal tables give equal
    intervals. ValueError for a column that is not there, another method, or a level outside 0 to 1.
    """
    columns = [by] if isinstance(by, str) else list(by)
    missing = [name for name in (value, *columns) if name not in table.columns]
    if missing:
        raise ValueError(f"there is no column {', '.join(missing)}; there is {', '.join(table.columns)}")
    if method not in _METHODS:
        raise ValueError(f"{method!r} is no method: write one of {', '.join(_METHODS)}")
    if not 0 < level < 1:
        raise ValueError(f"{level} is no level: write a number between 0 and 1, such as 0.95")
    rows = []
    for keys, group in table.groupby(columns, sort=False, dropna=False):
        samples = group[value].dropna().to_numpy(np.float64)
        low, high = _METHODS[method](samples, level) if len(samples) > 1 else (np.nan, np.nan)
        mean = samples.mean() if len(samples) else np.nan
        named = dict(zip(columns, keys, strict=True))
        rows.append({**named, "mean": mean, "low": low, "high": high, "runs": len(samples)})
    return pd.DataFrame(rows)


def _bootstrap(samples: np.ndarray, level: float) -> tuple[float, float]:
    if np.ptp(samples) == 0:
        return float(samples[0]), float(samples[0])
    found = stats.bootstrap(
        (samples,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _student(samples: np.ndarray, level: float) -> tuple[float, float]:
    error = stats.sem(samples)
    if error == 0:
        return float(samples[0]), float(samples[0])
    low, high = stats.t.interval(level, len(samples) - 1, loc=samples.mean(), scale=error)
    return float(low), float(high)


_METHODS = {"bootstrap": _bootstrap, "t": _student}
