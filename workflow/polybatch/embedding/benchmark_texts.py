"""Which texts of a benchmark are embedded, and where their embeddings go.

inputs: benchmarks/<name>/{queries,corpus}/<lang>.parquet
outputs: embeddings/<run>/<name>/embeddings.json, written last: the records of all arrays beside it
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import contracts, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import open_parquet, require_columns, told_parquet, write_json
from polybatch.embedding.vectors import remove_other_languages

if TYPE_CHECKING:
    import pyarrow as pa

SIDES = ("queries", "corpus")
# Within so many rows texts are sorted by length; a power of two, so that full batches of the usual sizes fill it.
CHUNK_ROWS = 16_384

_SCHEMA = {"queries": contracts.QUERIES, "corpus": contracts.CORPUS}
_JOB = {"benchmark": str, "output": str, "query_languages": list, "corpus_languages": list}


@dataclass(frozen=True)
class TextFile:
    """One file of a benchmark, with the array that its embeddings go to.

    Attributes:
        side: "queries" or "corpus".
        source: benchmarks/<name>/<side>/<lang>.parquet.
        path: embeddings/<run>/<name>/<side>/<lang>.npy.
    """

    side: str
    source: Path
    path: Path

    @property
    def label(self) -> str:
        """How it is called in logs and messages: `corpus/de`."""
        return f"{self.side}/{self.path.stem}"

    @property
    def id_column(self) -> str:
        """The name of the column of ids."""
        return "query_id" if self.side == "queries" else "passage_id"

    @cached_property
    def rows(self) -> range:
        """All its rows; a DataError if there is none."""
        rows: int = open_parquet(self.source).metadata.num_rows
        if not rows:
            raise DataError("There is no text to embed.", where=self.source, remedy="make the benchmark again")
        return range(rows)

    def read(self, columns: Sequence[str], rows: range) -> Iterator[pa.Table]:
        """Reads rows, CHUNK_ROWS at a time. Row groups that hold none of them are not read."""
        parquet = open_parquet(self.source)
        schema = _SCHEMA[self.side]
        require_columns(self.source, columns, parquet.schema_arrow.names, schema)
        groups, first = _groups_of(parquet.metadata, rows)
        found = parquet.iter_batches(CHUNK_ROWS, row_groups=groups, columns=list(columns))
        kept = _cut(found, rows.start - first, len(rows), [schema.field(name) for name in columns])
        with told_parquet(self.source):  # a damaged page is met only here
            yield from _chunks(kept, CHUNK_ROWS)

    def digests(self, rows: range, slices: Sequence[range] = ()) -> list[str]:
        """SHA-256 of ids and texts in their order, as `polybatch.benchmarks.benchmark.Texts.digest` has it.

        Args:
            rows: Which are read.
            slices: Some of these rows each.

        Returns:
            That of `rows`, then those of the slices.
        """
        counted = [rows, *slices]
        found = [sha256() for _ in counted]
        for column in (self.id_column, "text"):
            at = rows.start
            for batch in self.read([column], rows):
                raw = [self._counted(value, column) for value in batch.column(column).to_pylist()]
                for digest, part in zip(found, counted, strict=True):
                    digest.update(b"".join(raw[max(part.start - at, 0) : max(part.stop - at, 0)]))
                at += len(raw)
        return [digest.hexdigest() for digest in found]

    def _counted(self, value: str | None, column: str) -> bytes:
        if value is None:
            raise DataError(f"A row has no {column}.", where=self.source, remedy="make the benchmark again")
        raw = value.encode("utf-8")
        return b"%d:" % len(raw) + raw


def _groups_of(metadata: Any, rows: range) -> tuple[list[int], int]:
    """The row groups that hold these rows, and the number of the first row in them."""
    groups: list[int] = []
    first = at = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if at < rows.stop and at + size > rows.start:
            first = first if groups else at
            groups.append(group)
        at += size
    return groups, first


def _cut(found: Iterable[pa.RecordBatch], skip: int, rows: int, fields: list[pa.Field]) -> Iterator[pa.Table]:
    """Leaves out the first `skip` rows and all after `rows` further ones."""
    import pyarrow as pa

    schema = pa.schema(fields)

    for batch in found:
        kept = batch.slice(min(skip, len(batch)), rows)
        skip -= min(skip, len(batch))
        rows -= len(kept)
        if len(kept):
            yield pa.Table.from_batches([kept]).select(schema.names).cast(schema)


def _chunks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of just so many; the last may be smaller."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows)
            waiting = [whole.slice(rows)]
    if any(map(len, waiting)):
        yield pa.concat_tables(waiting)


@dataclass(frozen=True)
class Job:
    """One benchmark to embed.

    Attributes:
        benchmark: benchmarks/<name>.
        output: embeddings/<run>/<name>.
        query_languages, corpus_languages: Of the queries and of the passages to embed.
    """

    benchmark: Path
    output: Path
    query_languages: Sequence[str]
    corpus_languages: Sequence[str]

    @property
    def parts(self) -> Path:
        """Where what single shards embedded lies until it is gathered; no language or benchmark has such a name."""
        return self.output / ".parts"

    def languages(self, side: str) -> list[str]:
        """The languages to embed of a side, "queries" or "corpus"."""
        return list(self.query_languages if side == "queries" else self.corpus_languages)

    def files(self) -> list[TextFile]:
        """The files to embed; a DataError unless all are there."""
        for side in SIDES:
            self._require_files(side)
        return [
            TextFile(side, self.benchmark / side / f"{lang}.parquet", self.output / side / f"{lang}.npy")
            for side in SIDES
            for lang in self.languages(side)
        ]

    def _require_files(self, side: str) -> None:
        languages = self.languages(side)
        there = sorted(path.stem for path in (self.benchmark / side).glob("*.parquet"))
        missing = [lang for lang in languages if lang not in there]
        if missing or not languages or len(set(languages)) != len(languages):
            raise DataError(
                f"The languages whose {side} are to be embedded are none, named twice, or not there.",
                where=self.benchmark / side,
                expected=f"languages of {' '.join(there) or 'which there are none'}, each once",
                found=" ".join(languages) or "none",
                remedy="evaluate in languages that the benchmark has, or make it with these languages",
            )

    def remove_others(self) -> None:
        """Deletes arrays of languages that are no longer asked for."""
        for side in SIDES:
            remove_other_languages(self.output / side, self.languages(side), (".npy", ".json"))

    def finish(self, model: str, records: Iterable[tuple[TextFile, dict[str, Any]]], made_from: dict[str, Any]) -> None:
        """Writes embeddings.json and deletes the parts of which arrays were put together, if there are any.

        Args:
            model: Its digest.
            records: Of all `files`.
            made_from: The record of the model and of the options as they were given.
        """
        of_side: dict[str, dict[str, Any]] = {side: {} for side in SIDES}
        for file, record in records:
            of_side[file.side][file.path.stem] = record
        described = {"languages": self.languages("queries"), "corpus_languages": self.languages("corpus")}
        write_json(self.output / "embeddings.json", {**described, "model": model, "made_from": made_from, **of_side})
        try:
            shutil.rmtree(self.parts)
        except FileNotFoundError:
            pass
        except OSError as error:  # the arrays are whole: no reason to fail
            stage.log.warning("%s cannot be deleted, and is not needed any more: %s", self.parts, error)


def parse_jobs(text: str) -> list[Job]:
    """Reads what to embed: a JSON list of {benchmark, output, query_languages, corpus_languages}.

    Raises:
        ConfigError: It is no such list.
    """
    expected = "a list of {" + ", ".join(_JOB) + "}"
    try:
        jobs = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError("The benchmarks are no JSON.", expected=expected, found=str(error)) from error
    if not isinstance(jobs, list) or not jobs:
        raise ConfigError("The benchmarks are no list, or an empty one.", expected=expected, found=text)
    for job in jobs:
        fits = isinstance(job, dict) and job.keys() == _JOB.keys()
        if not fits or not all(isinstance(job[key], kind) for key, kind in _JOB.items()):
            raise ConfigError("A benchmark to embed is not described as it must be.", expected=expected, found=str(job))
    return [
        Job(Path(job["benchmark"]), Path(job["output"]), job["query_languages"], job["corpus_languages"])
        for job in jobs
    ]
