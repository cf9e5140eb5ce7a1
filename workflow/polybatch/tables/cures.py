"""How tables and figures say what was done to a model besides its sampling: another objective, a mixture of weights, a
projection before or after the training. And how score files are read that know of none of it.

inputs: the values of the grid's columns `objective`, `begin`, `share` and `projection` (`config.grid.Run`)
outputs: words, an order, a table with all columns of the grid
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.config.grid import NONE, WHOLE, rank_of
from polybatch.core.contracts import GRID_DEFAULTS, OBJECTIVES, PLAIN_OBJECTIVE
from polybatch.core.files import open_parquet, read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

_OBJECTIVES = {
    "lakda": "LaKDA",
    "jsd": "JSD",
    "distillation": "distillation",
    "mimo": "MIMO",
}
_PROJECTIONS = ("centring", "lir", "shift")


def spelled(name: str, objective: str, begin: str, share: str, projection: str) -> str:
    """What tables call an arm: "x-y, LaKDA", "x-y, half interpolated (w 0.5)", "untrained, LIR", "from LIR: x-y"."""
    words = [name]
    words += [_OBJECTIVES.get(objective, objective)] if objective != PLAIN_OBJECTIVE else []
    words += [share_words(share)] if share != WHOLE else []
    words += [projection_words(projection)] if projection != NONE else []
    return (f"from {projection_words(begin)}: " if begin != NONE else "") + ", ".join(words)


def cure_words(objective: str, begin: str, share: str, projection: str) -> list[str]:
    """The same as sentences say it: ["LaKDA objective", "LIR before training", "LIR afterwards"]."""
    words = [f"{_OBJECTIVES.get(objective, objective)} objective"] if objective != PLAIN_OBJECTIVE else []
    words += [f"{projection_words(begin)} before training"] if begin != NONE else []
    words += [share_words(share)] if share != WHOLE else []
    return words + ([f"{projection_words(projection)} afterwards"] if projection != NONE else [])


def share_words(share: str) -> str:
    """A share of trained weights: "half interpolated (w 0.5)"."""
    return f"{'half ' if share == '0.5' else ''}interpolated (w {share})"


def projection_words(projection: str) -> str:
    """A projection: "centring", "LIR", "LIR of rank 8", "SHIFT"."""
    rank, kind = rank_of(projection), projection.partition("-")[0]
    word = {"lir": "LIR", "shift": "SHIFT"}.get(kind, kind)
    return word if rank is None else f"{word} of rank {rank}"


def order(objective: str, begin: str, share: str, projection: str) -> tuple:
    """Sorts the arms of one sampling: those to which nothing else was done first, smaller shares of training later."""
    objectives = OBJECTIVES.index(objective) if objective in OBJECTIVES else len(OBJECTIVES)
    kind = projection.partition("-")[0]
    place = 1 + _PROJECTIONS.index(kind) if kind in _PROJECTIONS else 0
    return (objectives, begin != NONE, begin, -float(share), place, rank_of(projection) or 0)


def read_with_grid(path: Path | str, schema: pa.Schema) -> pa.Table:
    """As `files.read_parquet`; columns of the grid that an older file has not are filled with what they stand for."""
    import pyarrow as pa

    there = set(open_parquet(path).schema_arrow.names)
    missing = [name for name in GRID_DEFAULTS if name in schema.names and name not in there]
    table = read_parquet(path, pa.schema([field for field in schema if field.name not in missing]))
    for name in missing:
        table = table.append_column(name, pa.repeat(GRID_DEFAULTS[name], len(table)))
    return table.select(schema.names)
