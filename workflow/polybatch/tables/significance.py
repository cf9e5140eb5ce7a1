"""Whether two arms differ by more than the choice of queries explains.

inputs: per-query files (contracts.PER_QUERY) of every run
outputs: values per group (GROUPS), paired tests with Holm's correction

The sampling unit is the `group`: translations of one query are not independent, so a group's values are first
averaged over languages and language pairs, then over seeds. The test is the two-sided paired t-test over groups
(scipy.stats), which agrees with the randomisation test on retrieval scores (Smucker et al., CIKM 2007;
Urbano et al., SIGIR 2019) and needs no random numbers. Seeds are averaged, not sampled: the test speaks about
other queries, the standard deviations in the tables about other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from polybatch.core.contracts import GRID_DEFAULTS, PER_QUERY
from polybatch.core.errors import DataError
from polybatch.core.files import read_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from polybatch.tables.summary import Arm

LEVEL = 0.05
TEST = "two-sided paired t-test over query groups, Holm's correction"

# groups.parquet of a table version: what a later comparison of two versions needs.
GROUPS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("encoder", pa.string()),
        ("sampling", pa.string()),
        ("alpha", pa.string()),
        ("num_pairs", pa.string()),
        ("num_translated", pa.string()),
        ("languages", pa.string()),
        *((name, pa.string()) for name in GRID_DEFAULTS),
        ("seeds", pa.int32()),
        ("setting", pa.string()),
        ("metric", pa.string()),
        ("group", pa.string()),
        ("cells", pa.int32()),
        ("value", pa.float64()),
    ]
)
# The order of its rows.
GROUP_ORDER = ["benchmark", "setting", "metric", "group"]


class PairedTest(NamedTuple):
    """A test of b against a: mean of b - a over `groups` groups; `dropped` groups stood in one arm only."""

    p: float | None
    difference: float
    groups: int
    dropped: int


def group_values(path: Path | str, left_out: Collection[str] = ()) -> pd.DataFrame:
    """One run's values per group: the mean over languages and language pairs.

    Args:
        path: A per-query file.
        left_out: Languages whose queries and corpora do not count, see `summary.summarise`.

    Returns:
        Index (setting, metric, group); columns `value` and `cells`, the number of values averaged (queries without
        a finite value do not count).
    """
    import pyarrow.compute as pc

    table = read_parquet(path, PER_QUERY)
    if table.num_rows == 0:
        raise DataError("A file of per-query scores has no rows.", where=path)
    if table["group"].null_count:
        raise DataError("Per-query scores without a group.", found=f"{table['group'].null_count} rows", where=path)
    keys = ["setting", "metric", "group"]
    values = table["value"].cast(pa.float64())
    absent = pa.array(sorted(left_out), pa.string())
    counts = pc.invert(pc.or_(*(pc.is_in(table[column], absent) for column in ("query_lang", "corpus_lang"))))
    table = table.set_column(table.column_names.index("value"), "value", values)
    table = table.filter(pc.and_(pc.is_finite(values), counts))
    grouped = table.group_by(keys).aggregate([("value", "mean"), ("value", "count")])
    frame = grouped.rename_columns({"value_mean": "value", "value_count": "cells"}).to_pandas()
    return frame.set_index(keys).sort_index()


def average_seeds(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean over seeds of `group_values`, on the groups that every seed has with the same number of cells."""
    import pandas as pd

    first, *others = runs
    index = first.index
    for other in others:
        index = index.intersection(other.index)
    values = pd.concat([run.loc[index, "value"] for run in runs], axis=1)
    cells = pd.concat([run.loc[index, "cells"] for run in runs], axis=1)
    frame = pd.DataFrame({"value": values.mean(axis=1, skipna=False), "cells": cells.iloc[:, 0]})
    frame = frame[cells.eq(cells.iloc[:, 0], axis=0).all(axis=1)]
    return frame.sort_index().assign(seeds=len(runs))


def arm_groups(
    files: Mapping[tuple[Arm, str], Sequence[Path | str]], left_out: Mapping[str, Collection[str]] | None = None
) -> pd.DataFrame:
    """Per-group values of every arm on every benchmark, averaged over the arm's seeds.

    Args:
        files: (arm, benchmark) -> the per-query files of its seeds.
        left_out: Benchmark -> languages that do not count.

    Returns:
        arm, benchmark, seeds, setting, metric, group, cells, value.
    """
    import pandas as pd

    frames = []
    for (arm, benchmark), paths in files.items():
        absent = (left_out or {}).get(benchmark, ())
        frame = average_seeds([group_values(path, absent) for path in paths]).reset_index()
        frames.append(frame.assign(arm=[arm] * len(frame), benchmark=benchmark))
    return pd.concat(frames, ignore_index=True)


def paired_test(a: pd.DataFrame, b: pd.DataFrame) -> PairedTest:
    """Tests b against a.

    Args:
        a, b: Indexed by group, with `value` and `cells`. Groups that stand in one of them only, that were averaged
            over another number of cells, or that lack a value are left out and counted.
    """
    common = a.index.intersection(b.index)
    left, right = a.loc[common], b.loc[common]
    whole = (left["cells"] == right["cells"]) & left["value"].notna() & right["value"].notna()
    difference = (right["value"] - left["value"])[whole].to_numpy()
    dropped = len(a.index.union(b.index)) - len(difference)
    mean = float(difference.mean()) if len(difference) else math.nan
    return PairedTest(_p_value(difference), mean, len(difference), dropped)


def _p_value(difference: np.ndarray) -> float | None:
    """Two-sided p of the paired t-test; None below two groups, 1 where nothing differs, 0 where all differ alike."""
    from scipy import stats

    if len(difference) < 2:
        return None
    if (difference == difference[0]).all():
        return 1.0 if difference[0] == 0 else 0.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 1979); None stays None and does not count."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[i] = highest
    return adjusted


def reference_arm(arm: Arm, arms: Iterable[Arm], reference: str) -> Arm | None:
    """The arm of sampling `reference` (such as hybrid-a0.5) with the same encoder, pairs, translations and languages.

    en-en, which sees no translation, is compared with the arm of the most translations. The untrained encoder is
    compared where it has one such arm only; as the reference itself, it stands for every arm of its encoder. None for
    the reference and where there is none.
    """
    from polybatch.tables.summary import UNTRAINED, size_order

    found = [other for other in arms if other.sampling_label == reference and other.encoder == arm.encoder]
    if arm.sampling != UNTRAINED and not any(other.sampling == UNTRAINED for other in found):
        found = [other for other in found if (other.num_pairs, other.languages) == (arm.num_pairs, arm.languages)]
        if arm.num_translated:
            found = [other for other in found if other.num_translated == arm.num_translated]
        else:
            found = sorted(found, key=lambda other: size_order(other.num_translated))[-1:]
    return found[0] if len(found) == 1 and found[0] != arm else None
