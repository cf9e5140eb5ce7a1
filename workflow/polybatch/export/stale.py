"""Whether what an export holds was made from the model that it holds.

inputs: a run; the records of what its model, embeddings, indexes and scores were made from (core/made_from.py)
outputs: nothing, or a DataError: the first file that was made from something else, and the command that makes it again

A run that was trained anew and stopped before its scores has a whole model beside the scores of the one before. Ranked
lists have no record: scores are written after them, and stand for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from polybatch.config.grid import Run
from polybatch.config.study_paths import StudyPaths
from polybatch.core.errors import DataError
from polybatch.export.source import Source
from polybatch.tables.chain import Link, check_links, embeddings_link, model_links, score_links

# Part -> whether it shows scores, or what they are made from. A card shows scores.
READ = {"model": True, "faiss": False, "trec": True, "mteb": True}


def check(source: Source, parts: Mapping[str, Collection[str]]) -> None:
    """Holds what some parts are made from against the run's model, and that against the study's configuration.

    Args:
        source: The run.
        parts: Of READ -> the benchmarks that the part has something of.

    Raises:
        DataError: A file was made from something else than is there now, or it cannot be told.
    """
    known = source.run.encoder in source.config.get("encoders", {})
    paths = StudyPaths(
        source.paths.collection, source.paths.study, source.paths.results, source.config if known else {}
    )
    if known:
        check_links(
            model_links(paths, source.run),
            problem="The model was made from something else than the study's tables say.",
            target="tables",
        )
    scored = set[str]().union(*(names for part, names in parts.items() if READ[part]))
    indexed = set[str]().union(*(names for part, names in parts.items() if not READ[part]))
    _check(paths, source.run, scored, indexed)
    if "model" in parts and source.run.trained:
        before = Run.untrained(source.run.encoder)
        _check(paths, before, {name for name in source.benchmarks if Path(paths.scores(before.name, name)).is_file()})


def _check(paths: StudyPaths, run: Run, scored: set[str], indexed: Collection[str] = ()) -> None:
    for name in sorted(scored | set(indexed)):
        for link in _links(paths, run, name, scored=name in scored):
            _require(link, name)
            check_links(
                [link],
                problem="What would be exported is of another model, or of other options, than what is there now.",
                target="score",
            )


def _links(paths: StudyPaths, run: Run, benchmark: str, *, scored: bool) -> Iterator[Link]:
    yield embeddings_link(paths, run, benchmark)
    index, scores = score_links(paths, run, benchmark)
    yield index
    if scored:
        yield scores


def _require(link: Link, benchmark: str) -> None:
    """An embedding that was stopped has removed the record of the one before, but no score."""
    if not Path(link.file).is_file():
        raise DataError(
            f"Whether the scores and indexes of {benchmark} are of this model cannot be told.",
            where=link.file,
            expected="the record of what they were made from",
            found="no file",
            remedy="`snakemake score`, with the study's --configfile, makes it and all that rests on it again",
        )
