"""Embeds shares of the rows of benchmarks in jobs of their own, and puts them together again.

inputs: as `polybatch.embedding.encode`; to gather, the summaries of all shards
outputs: of a shard embeddings/<run>/<name>/.parts/<side>/<lang>/<rows>.npy, each with a .json of what it was made from,
and last the shard's summary; of the gathering what `polybatch.embedding.encode` makes, for which it removes the parts

Every shard gets consecutive rows of every large file, and small files go to one shard each. Rows are dealt in whole
chunks (benchmark_texts.CHUNK_ROWS), within which texts are put into batches: so all vectors are those of one job,
bit by bit where the same libraries run on the same kind of device.

A part is whole or not there, and a shard that runs again keeps those that are there. The gathering reads no part
before all were found to be there and made from the same model, options, code, libraries and texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from polybatch.core import stage
from polybatch.core.digest import code_digest
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, read_json, write_json
from polybatch.embedding import benchmark_texts
from polybatch.embedding.benchmark_texts import Job, TextFile
from polybatch.embedding.embedder import Model, embed_rows, model_digest, npy_header, record_of, write_to
from polybatch.embedding.options import AUTO, EncodeOptions
from polybatch.embedding.vectors import record_or_empty, up_to_date_record

_BLOCK_BYTES = 1 << 22
_FAULTS_TOLD = 10
_AGAIN = "run the same command again with --forcerun encode_shard; parts that are whole are kept"


def deal(sizes: Sequence[int], shards: int) -> list[list[range]]:
    """Divides the rows of files among shards, in whole chunks.

    Args:
        sizes: Rows of each file.
        shards: How many shards there are.

    Returns:
        The rows of each shard in each file, some of them none; those of a file follow one another. A shard has at
        most a chunk more of a file than another, and who has it is the one with the fewest rows so far.
    """
    dealt: list[list[range]] = [[] for _ in sizes]
    loads = [0] * shards
    chunk = benchmark_texts.CHUNK_ROWS
    for file in sorted(range(len(sizes)), key=lambda file: -sizes[file]):
        each, left = divmod(-(-sizes[file] // chunk), shards)
        favoured = sorted(range(shards), key=lambda shard: loads[shard])[:left]
        start = 0
        for shard in range(shards):
            stop = min(start + (each + (shard in favoured)) * chunk, sizes[file])
            dealt[file].append(range(start, stop))
            loads[shard] += stop - start
            start = stop
    return dealt


def embed_shard(model: Model, jobs: Sequence[Job], shard: int, shards: int, summary: Path) -> dict[str, int]:
    """Embeds one shard's rows of all benchmarks, but for files whose embeddings are up to date.

    Args:
        model: The model and the options to embed with.
        jobs: The benchmarks.
        shard: From 0.
        shards: How many there are.
        summary: The file to write when all is done.

    Returns:
        {"embedded": parts written, "kept": parts, or files, that were up to date}.

    Raises:
        DataError, ConfigError: As `polybatch.embedding.encode.encode`.
    """
    files = [(job, file) for job in jobs for file in job.files()]
    dealt = deal([len(file.rows) for _, file in files], shards)
    mine = [(job, file, of_file[shard]) for (job, file), of_file in zip(files, dealt, strict=True) if of_file[shard]]
    counts = {"embedded": 0, "kept": 0}
    for job, file, rows in mine:
        done = _is_current(file, model.made_from) or _embed_part(model, job, file, rows)
        counts["kept" if done else "embedded"] += 1
    if not mine:
        stage.log.info(
            "no rows for this shard: there are fewer chunks of %d rows than shards", benchmark_texts.CHUNK_ROWS
        )
    write_json(summary, {"shard": shard, "shards": shards, "made_from": model.made_from})
    rows_done = sum(len(rows) for _, _, rows in mine)
    stage.log.info(
        "shard %d of %d: %d rows; %d part(s) embedded, %d up to date",
        shard,
        shards,
        rows_done,
        counts["embedded"],
        counts["kept"],
    )
    return counts


def _is_current(file: TextFile, made_from: dict[str, Any]) -> bool:
    """Whether the file's embeddings are up to date. Reads its texts only if all else of their record agrees."""
    record = file.path.with_suffix(".json")
    if not record.is_file() or _differing(record_or_empty(record), made_from):
        return False
    return up_to_date_record(file.path, {**made_from, "input": file.digests(file.rows)[0]}) is not None


def _embed_part(model: Model, job: Job, file: TextFile, rows: range) -> bool:
    """Embeds the rows unless they were embedded before; returns whether they were."""
    path = part_path(job, file, rows)
    wanted = {**model.made_from, "input": file.digests(rows)[0]}
    if up_to_date_record(path, wanted) is not None:
        return True
    embed_rows(model, file, rows, path, wanted)
    return False


def part_path(job: Job, file: TextFile, rows: range) -> Path:
    """Where the embeddings of some rows of a file lie until they are gathered."""
    return job.parts / file.side / file.path.stem / f"{rows.start:010d}-{rows.stop:010d}.npy"


@dataclass(frozen=True)
class Part:
    """The embeddings of some rows of a file, and what their record must say (`wanted`)."""

    path: Path
    rows: range
    wanted: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """The JSON beside its array: rows, dim, checksum, and what it was made from."""
        found: dict[str, Any] = read_json(self.path.with_suffix(".json"))
        return found

    def fault(self) -> str:
        """What is wrong with it, as far as can be told without reading its vectors; empty if nothing is."""
        if not self.path.is_file() or not self.path.with_suffix(".json").is_file():
            return "missing"
        record = self.record
        differing = _differing(record, {**self.wanted, "rows": len(self.rows)})
        if differing:
            return f"made from another {differing[0]}" if differing[0] != "rows" else f"{record.get('rows')} rows"
        size = len(npy_header(record["dtype"], (len(self.rows), record["dim"])))
        size += len(self.rows) * record["dim"] * int(record["dtype"][len("float") :]) // 8
        found = self.path.stat().st_size
        return f"{found} bytes, where {size} were written" if found != size else ""


@dataclass(frozen=True)
class Array:
    """The array of one file: up to date already (`kept` is its record), or to be put together from `parts`."""

    file: TextFile
    wanted: dict[str, Any]
    kept: dict[str, Any] | None
    parts: list[Part]

    def faults(self) -> Iterator[str]:
        """What is wrong with its parts, each with its path; nothing if they can be put together."""
        faults = [(part, part.fault()) for part in self.parts]
        yield from (f"{part.path}: {fault}" for part, fault in faults if fault)
        if not any(fault for _, fault in faults):
            first = self.parts[0].record if self.parts else {}
            for part in self.parts:
                differing = _differing(part.record, {key: first[key] for key in ("dim", "dtype", "prompt")})
                yield from (f"{part.path}: another {key} than {self.parts[0].path}" for key in differing)


def gather(model: Path, options: EncodeOptions, jobs: Sequence[Job], summaries: Sequence[Path]) -> dict[str, int]:
    """Puts the arrays of all benchmarks together from the shards' parts, with flat memory.

    Args:
        model: The model's folder, which is not loaded.
        options: As the shards got them.
        jobs: As the shards got them.
        summaries: Of all shards.

    Returns:
        {"gathered": arrays put together, "kept": arrays that were up to date}.

    Raises:
        DataError: The shards are not all those of one division, or differ in what they were made from; a part is
            missing, damaged, of other rows, or made from something else. All that can be told without reading
            vectors is told at once.
    """
    made_from, described = agreed(summaries, model_digest(model), options), record_of(model, options)
    arrays = list(_arrays(jobs, len(summaries), made_from))
    faults = [fault for _, array in arrays for fault in array.faults()]
    if faults:
        more = [f"and {len(faults) - _FAULTS_TOLD} more"] if len(faults) > _FAULTS_TOLD else []
        raise DataError(
            "What the shards embedded is not all there, or not what is to be put together.",
            found="; ".join([*faults[:_FAULTS_TOLD], *more]),
            remedy=_AGAIN,
        )
    for job in jobs:
        job.remove_others()
        mine = [array for owner, array in arrays if owner is job]
        job.finish(made_from["model"], [(array.file, array.kept or _join(array)) for array in mine], described)
    kept = sum(array.kept is not None for _, array in arrays)
    stage.log.info("%d array(s) gathered, %d up to date", len(arrays) - kept, kept)
    return {"gathered": len(arrays) - kept, "kept": kept}


def agreed(summaries: Sequence[Path], model: str, options: EncodeOptions) -> dict[str, Any]:
    """What all shards embedded with: the model, options, code and library versions.

    Args:
        summaries: One of each shard.
        model: The digest of the model whose embeddings are wanted.
        options: The options that are wanted; for a compute_dtype of `auto`, what it was for the shards.

    Raises:
        DataError: A shard is missing or there twice; they differ from one another, or from what is wanted.
    """
    found = [read_json(path) for path in summaries]
    numbers = [(one["shard"], one["shards"]) for one in found]
    if sorted(numbers) != [(shard, len(found)) for shard in range(len(found))]:
        raise DataError(
            "The shards are not those of one division.",
            expected=f"each of {len(found)} shards once",
            found=", ".join(f"{path}: {shard} of {of}" for path, (shard, of) in zip(summaries, numbers, strict=True)),
            remedy=_AGAIN,
        )
    first: dict[str, Any] = found[0]["made_from"]
    if options.compute_dtype == AUTO:
        options = options.changed(compute_dtype=first["options"]["compute_dtype"])
    wanted = {"model": model, "options": options.affecting_values(), "code": code_digest("embedding.embedder")}
    for name, record, other in (
        *((path, one["made_from"], first) for path, one in zip(summaries, found, strict=True)),
        ("this job", wanted, {key: first[key] for key in wanted}),
    ):
        for key in _differing(record, other):
            raise DataError(
                f"The shards were not all embedded with the same {key}.",
                expected=f"{other[key]}, as of {summaries[0]}",
                found=f"{record.get(key)}, of {name}",
                remedy="if they ran on different kinds of device, name one encoding.compute_dtype for all; else "
                + _AGAIN,
            )
    return first


def _arrays(jobs: Sequence[Job], shards: int, made_from: dict[str, Any]) -> Iterator[tuple[Job, Array]]:
    files = [(job, file) for job in jobs for file in job.files()]
    dealt = deal([len(file.rows) for _, file in files], shards)
    for (job, file), of_file in zip(files, dealt, strict=True):
        slices = [rows for rows in of_file if rows]
        whole, *inputs = file.digests(file.rows, slices)
        wanted = {**made_from, "input": whole}
        kept = up_to_date_record(file.path, wanted)
        parts = [
            Part(part_path(job, file, rows), rows, {**made_from, "input": digest})
            for rows, digest in zip(slices, inputs, strict=True)
        ]
        yield job, Array(file, wanted, kept, [] if kept else parts)


def _join(array: Array) -> dict[str, Any]:
    """Writes the parts one after another into the array, and its record; returns the record."""
    first, digest, path = array.parts[0].record, sha256(), array.file.path
    rows = len(array.file.rows)
    with atomic_path(path) as partial, open(partial, "wb") as handle:
        digest.update(write_to(handle, npy_header(first["dtype"], (rows, first["dim"]))))
        for part in array.parts:
            for block in _vectors(part):
                digest.update(write_to(handle, block))
    described = {key: first[key] for key in ("dim", "dtype", "prompt")}
    record = {**array.wanted, **described, "rows": rows, "sha256": digest.hexdigest()}
    write_json(path.with_suffix(".json"), record)
    stage.log.info("%s: %d rows of %d, of %d part(s)", path, rows, first["dim"], len(array.parts))
    return record


def _vectors(part: Part) -> Iterator[bytes]:
    """The bytes of a part's vectors in blocks; a DataError after the last if they are not those that were written."""
    record = part.record
    with open(part.path, "rb") as handle:
        digest = sha256(handle.read(len(npy_header(record["dtype"], (len(part.rows), record["dim"])))))
        while block := handle.read(_BLOCK_BYTES):
            digest.update(block)
            yield block
    if digest.hexdigest() != record["sha256"]:
        raise DataError(
            "A part of an array was damaged after it was written.",
            where=part.path,
            expected=f"SHA-256 {record['sha256']}",
            found=digest.hexdigest(),
            remedy=_AGAIN,
        )


def _differing(record: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return [key for key, value in wanted.items() if record.get(key) != value]
