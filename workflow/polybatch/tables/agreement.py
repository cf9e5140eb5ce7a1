"""Whether score files say what their per-query values say.

inputs: a score file (contracts.SCORES) and the file of per-query values beside it (contracts.PER_QUERY)
outputs: nothing, or a DataError that names both
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core.contracts import PER_QUERY, SCORES
from polybatch.core.errors import DataError
from polybatch.core.files import read_parquet
from polybatch.retrieval.metrics import is_share
from polybatch.tables.cures import read_with_grid

if TYPE_CHECKING:
    import pyarrow as pa

_CELL = ["setting", "query_lang", "corpus_lang", "metric"]
# Per-query values are float32, so their mean is that of the scores up to rounding.
_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
_TOLD = 3


def require_agreement(scores: Path, per_query: Path) -> None:
    """Compares every score with the mean and the number of its per-query values.

    Shares of languages have a score for each language of the passages, and no value for each query.

    Raises:
        DataError: A score is another than the mean of its values, or one of the two is missing.
    """
    import pyarrow.compute as pc

    table, values = read_with_grid(scores, SCORES), read_parquet(per_query, PER_QUERY)
    means = values.set_column(values.column_names.index("value"), "value", pc.cast(values["value"], "float64"))
    grouped = means.group_by(_CELL).aggregate([("value", "mean"), ("value", "count")])
    wanted = {_cell(row): (row["value_mean"], row["value_count"]) for row in grouped.to_pylist()}
    found = {_cell(row): (row["value"], row["num_queries"]) for row in _averaged(table)}
    faults = [
        f"{' '.join(cell)}: {_told(found.get(cell))} in the one, {_told(wanted.get(cell))} in the other"
        for cell in sorted(wanted.keys() | found.keys())
        if not _same(found.get(cell), wanted.get(cell))
    ]
    if faults:
        more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        raise DataError(
            "Scores are not the means of their per-query values.",
            where=f"{scores} and {per_query}",
            expected="the same mean and number of queries in both",
            found="; ".join(faults[:_TOLD]) + more,
            remedy=f"`snakemake --forcerun {scores}`, with the same --configfile, makes both again",
        )


def _averaged(table: pa.Table) -> list[dict]:
    return [row for row in table.select([*_CELL, "value", "num_queries"]).to_pylist() if not is_share(row["metric"])]


def _cell(row: dict) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _CELL)


def _same(one: tuple[float, int] | None, other: tuple[float, int] | None) -> bool:
    if one is None or other is None or None in (*one, *other) or one[1] != other[1]:
        return False
    return abs(one[0] - other[0]) <= _ABSOLUTE + _RELATIVE * abs(other[0])


def _told(value: tuple[float, int] | None) -> str:
    return "no value" if value is None or value[0] is None else f"{value[0]:.6f} of {value[1]} queries"
