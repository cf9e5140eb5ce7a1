"""Projects the embeddings of a run: what no model needs to run again for.

inputs: models/<run>-<projection>/, embeddings/<run>/<name>/ of the run before the projection
outputs: embeddings/<run>-<projection>/<name>/, the same files with the same rows, each of length 1

One matrix product, or one subtraction, a block of rows. Files that are up to date are kept, as `embedding.encode` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from polybatch.core import made_from, stage
from polybatch.core.digest import code_digest
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, read_json, write_json
from polybatch.embedding.benchmark_texts import Job, TextFile, parse_jobs
from polybatch.embedding.embedder import model_digest, npy_header, write_to
from polybatch.embedding.options import EncodeOptions
from polybatch.embedding.vectors import open_vectors, up_to_date_record
from polybatch.posthoc.projections import LanguageVectors, Projection
from polybatch.posthoc.saved import read_projection

_ROWS_AT_A_TIME = 16_384
# What a projection leaves as it was, in the record of each file.
_KEPT = ("prompt", "options", "versions", "input")


def project(projection: Projection, model: str, job: Job, before: Path) -> list[tuple[TextFile, dict[str, Any]]]:
    """Brings the projected embeddings of one benchmark up to date.

    Args:
        projection: What is done.
        model: Digest of the folder that it was read from.
        job: The benchmark, and where its projected embeddings go.
        before: embeddings/<run>/<name> of the run before.

    Returns:
        The records of all files.

    Raises:
        DataError: Embeddings are missing, damaged, or of other texts than the benchmark's; a vector is projected out
            whole.
    """
    listed = read_json(before / "embeddings.json")
    job.remove_others()
    done = []
    for file in job.files():
        record = listed.get(file.side, {}).get(file.path.stem)
        if record is None or record["input"] != file.digests(file.rows)[0]:
            raise DataError(
                "The embeddings to be projected are not those of the benchmark.",
                where=before / file.side / f"{file.path.stem}.npy",
                expected=f"the texts of {file.source}",
                found="others" if record else "none",
                remedy="embed the run before the projection again (`snakemake --forcerun encode`)",
            )
        wanted = {**{key: record[key] for key in _KEPT}, "model": model, "projected": record["sha256"]}
        wanted["code"] = code_digest("posthoc.projections")
        kept = up_to_date_record(file.path, wanted)
        done.append((file, kept or _project_file(projection, file, before, record, wanted)))
    _tell_others(projection, job)
    return done


def _project_file(
    projection: Projection, file: TextFile, before: Path, record: dict[str, Any], wanted: dict[str, Any]
) -> dict[str, Any]:
    """Writes one array, block by block, and its record."""
    import numpy as np

    lang = file.path.stem
    vectors = open_vectors(before / file.side / f"{lang}.npy", record)
    digest = sha256()
    with atomic_path(file.path) as partial, open(partial, "wb") as handle:
        digest.update(write_to(handle, npy_header(record["dtype"], (vectors.rows, vectors.dim))))
        for _, block in vectors.blocks(_ROWS_AT_A_TIME):
            made = projection.apply(block, file.side, lang).astype(record["dtype"])
            digest.update(write_to(handle, np.ascontiguousarray(made).data))
    new = {**wanted, **{key: record[key] for key in ("rows", "dim", "dtype")}, "sha256": digest.hexdigest()}
    write_json(file.path.with_suffix(".json"), new)
    stage.log.info("%s: %d rows of %d", file.path, vectors.rows, vectors.dim)
    return new


def _tell_others(projection: Projection, job: Job) -> None:
    """Warns of languages that no vector was estimated for, with what becomes of them and their rows."""
    if not isinstance(projection, LanguageVectors):
        return
    for side in ("queries", "corpus"):
        named = {key.partition(".")[2] for key in projection.vectors if key.startswith(f"{side}.")}
        if not named or (others := [lang for lang in job.languages(side) if lang not in {*named, "en"}]) == []:
            continue
        rows = sum(len(file.rows) for file in job.files() if file.side == side and file.path.stem in others)
        what = "the mean of all languages is taken off" if "other" in named else "they stay as they are"
        stage.log.warning(
            "%s, %s: no training text in %s, so %s (%d rows)", job.benchmark.name, side, ", ".join(others), what, rows
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.posthoc.project", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="a model with a projection")
    parser.add_argument("--embeddings", required=True, type=Path, nargs="+", help="of the run before, one a benchmark")
    parser.add_argument(
        "--benchmarks", required=True, help="JSON: a list of {benchmark, output, query_languages, corpus_languages}"
    )
    parser.add_argument("--options", default="{}", help="EncodeOptions, as JSON: how the study embeds")
    args = parser.parse_args(argv)
    jobs, options = parse_jobs(args.benchmarks), EncodeOptions.from_json(args.options)
    if len(jobs) != len(args.embeddings):
        raise ConfigError(
            "Each benchmark needs the folder of its embeddings.",
            expected=str(len(jobs)),
            found=f"{len(args.embeddings)}",
        )
    _project_all(args.model, options, jobs, args.embeddings)


def _project_all(folder: Path, options: EncodeOptions, jobs: Sequence[Job], before: Sequence[Path]) -> None:
    projection, _ = read_projection(folder)
    model = model_digest(folder)
    for job, embeddings in zip(jobs, before, strict=True):
        records = project(projection, model, job, embeddings)
        origin = made_from.record(
            {"encoding": options.given()}, model=folder, embeddings=embeddings / "embeddings.json"
        )
        job.finish(model, records, origin)


if __name__ == "__main__":
    stage.run(main)
