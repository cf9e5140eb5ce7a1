"""What earlier runs measured below results/<collection>/: rates of translation, training and embedding, and job times.

inputs: <shard>.stats.json, training.json, embeddings.json, timings/**/*.tsv
outputs: rates as `Amount`s, or None where nothing was measured; seconds of single jobs
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.config.grid import Run
from polybatch.config.paths import Paths
from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.study.amounts import Amount


class Timing(NamedTuple):
    """When a job ran: the seconds that it took, and when its record was written (seconds since 1970)."""

    seconds: float
    ended: float


def translation_rate(base: Path) -> Amount | None:
    """Sentences a second, over all shards."""
    found = [read_json(path) for path in sorted(Path(Paths.below(base).translations()).glob("*/*.stats.json"))]
    seconds = sum(one["seconds"] for one in found)
    return _measured(sum(one["sentences"] for one in found), seconds, {one["device"] for one in found})


def training_rate(base: Path, runs: Sequence[Run]) -> Amount | None:
    """Pairs a second, over the trainings of these runs."""
    records = [record for run in runs if (record := training_record(base, run)).get("seconds")]
    pairs = sum(record["steps"] * record["options"]["batch_size"] for record in records)
    return _measured(
        pairs, sum(record["seconds"] for record in records), {record.get("device", "") for record in records}
    )


def training_record(base: Path, run: Run) -> dict[str, Any]:
    """What a training left, or nothing."""
    path = Path(Paths.below(base).model(run.name), "training.json")
    return read_json(path) if path.exists() else {}


def encoding_rate(base: Path, runs: Sequence[Run]) -> Amount | None:
    """Texts a second over whole jobs, the loading of the model included."""
    paths, texts, seconds = Paths.below(base), 0.0, 0.0
    for run in runs:
        timings = list(Path(paths.timings(), "encode", run.name).glob("*.tsv"))
        records = [read_json(path) for path in Path(paths.embeddings_of(run.name)).glob("*/embeddings.json")]
        if timings and records:
            texts += sum(one["rows"] for r in records for side in ("queries", "corpus") for one in r[side].values())
            seconds += sum(timing(path).seconds for path in timings)
    return _measured(texts, seconds, set())


def timing(path: Path) -> Timing:
    """What Snakemake wrote of a job (the directive `benchmark`).

    Raises:
        DataError: The file is not as Snakemake writes it.
    """
    try:
        names, values = (line.split("\t") for line in path.read_text("utf-8").splitlines()[:2])
        return Timing(float(dict(zip(names, values, strict=True))["s"]), path.stat().st_mtime)
    except (ValueError, KeyError) as error:
        raise DataError(
            "A job's timing cannot be read.",
            where=path,
            expected="a table of Snakemake's with the column s",
            remedy="delete the file; the job's next run writes it anew",
        ) from error


def _measured(work: float, seconds: float, devices: set[str]) -> Amount | None:
    if work <= 0 or seconds <= 0:
        return None
    where = ", ".join(sorted(filter(None, devices)))
    return Amount(work / seconds, f"measured on {where}" if where else "measured here")
