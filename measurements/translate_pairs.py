"""The pairs that the benchmark of the translation translates.

inputs: none, or a study's collected/en.parquet
outputs: rows of contracts.COLLECTED, in words that the shipped translator knows
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import contracts
from polybatch.core.files import read_parquet

if TYPE_CHECKING:
    import pyarrow as pa

_WRITTEN_AT_ONCE = 50_000
_ROOMS = ["kitchen", "bathroom", "living room", "garage", "bedroom", "garden", "hallway", "cellar", "office", "attic"]
_THINGS = ["light", "door", "window", "sensor", "heater", "fan", "camera", "alarm", "switch", "lock", "pump", "cover"]
_CLAUSES = (
    "the {thing} in the {room} is turned on",
    "the {thing} could not connect to the server",
    "the temperature of the {room} is above {n} degrees",
    "the battery of the {thing} is low",
    "the {thing} opens after {n} minutes",
    "you have selected the {thing} of the {room}",
    "the integration for the {thing} is not configured",
    "the password for the {thing} is not valid",
)
_JOINS = (" and ", " if ", " when ", " because ")


def tables(rows: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    import pyarrow as pa

    passing = iter(rows)
    while batch := list(islice(passing, _WRITTEN_AT_ONCE)):
        yield pa.Table.from_pylist(batch, schema=contracts.COLLECTED)


def made_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of texts in the words of the shipped translator: queries of a sentence, passages of one to four."""
    draw = random.Random(3)

    def sentence() -> str:
        parts = [
            draw.choice(_CLAUSES).format(thing=draw.choice(_THINGS), room=draw.choice(_ROOMS), n=draw.randrange(2, 99))
            for _ in range(draw.choice((1, 1, 1, 2, 2, 3)))
        ]
        return draw.choice(_JOINS).join(parts).capitalize() + "."

    return [
        _row(number, sentence(), " ".join(sentence() for _ in range(draw.choice((1, 1, 2, 4)))))
        for number in range(count)
    ]


def numbered_pairs(count: int) -> Iterator[dict[str, Any]]:
    """Short pairs, of which no two share a sentence: each holds its pair's number."""
    draw = random.Random(5)

    def clause(number: int) -> str:
        named = {"thing": f"{draw.choice(_THINGS)} {number}", "room": draw.choice(_ROOMS), "n": number}
        return draw.choice(_CLAUSES).format(**named).capitalize()

    return (_row(number, f"{clause(number)}?", f"{clause(number)}.") for number in range(count))


def real_pairs(path: Path, count: int) -> list[dict[str, Any]]:
    rows = read_parquet(path, contracts.COLLECTED).to_pylist()
    chosen = [row for row in rows if row["kind"] == "english_only" and row["split"] == "train"][:count]
    return [_row(number, row["query"], row["passage"]) for number, row in enumerate(chosen)]


def _row(number: int, query: str, passage: str) -> dict[str, Any]:
    fixed = {"source": "made", "hard_negatives": [], "license": "CC0-1.0", "split": "train", "kind": "english_only"}
    return {"pair_id": f"p{number:07d}", "query": query, "passage": passage, **fixed}
