"""Whether what an export holds was made from the model that it holds.

inputs: a run; the records of what its model, embeddings, indexes and scores were made from (core/made_from.py)
outputs: what of the card is left out, and why; or a DataError: the first file that was made from something else, and
the command that makes it again

A run that was trained anew and stopped before its scores has a whole model beside the scores of the one before. Ranked
lists have no record: scores are written after them, and stand for them.

Training text is held as the tables found it, and not as it is now: text that changed since makes no model another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polybatch.config.grid import Run, made_of, models, runs
from polybatch.config.study_paths import StudyPaths
from polybatch.core.errors import DataError
from polybatch.export.source import Source
from polybatch.tables.chain import Link, check_links, digest_of, embeddings_link, is_of, model_links, score_links
from polybatch.tables.versions.manifest import portable_path

# Part -> whether it shows scores, or what they are made from. A card shows scores.
READ = {"model": True, "faiss": False, "trec": True, "mteb": True}
# What a card leaves out, before the name of the benchmark: scores of the run, and of its encoder before training.
RESULTS = "model results"
BEFORE = "model before training"


def check(source: Source, parts: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Holds what some parts are made from against the run's model, and that against the study's configuration.

    Args:
        source: The run.
        parts: Of READ -> the benchmarks that the part has something of.

    Returns:
        `RESULTS` or `BEFORE`, and a benchmark -> why a card cannot show these scores.

    Raises:
        DataError: A file was made from something else than is there now, or it cannot be told and more than a card
            would hold it.
    """
    known = source.run.encoder in source.config.get("encoders", {})
    paths = StudyPaths(
        source.paths.collection, source.paths.study, source.paths.results, source.config if known else {}
    )
    if known:
        _check_models(paths, source)
    by_others = set[str]().union(*(names for part, names in parts.items() if part != "model"))
    shown = {name: _without_record(paths, source.run, name) for name in parts.get("model", ()) if name not in by_others}
    left_out = {f"{RESULTS} {name}": why for name, why in shown.items() if why}
    scored = set[str]().union(*(names for part, names in parts.items() if READ[part]))
    scored -= {name for name, why in shown.items() if why}
    for name in sorted(scored | by_others):
        _check_benchmark(paths, source, name, scored=name in scored)
    if "model" in parts and source.run.trained:
        before = {name: _unfit_before(paths, source, name) for name in source.benchmarks}
        left_out |= {f"{BEFORE} {name}": why for name, why in before.items() if why}
    return left_out


def _check_models(paths: StudyPaths, source: Source) -> None:
    """The run's model and those that it is made of, as far as these are there."""
    found = _digests(paths, source.version.get("data") or {})
    for run in made_of(source.run):
        for link in model_links(paths, run):
            if Path(link.file).parent != Path(paths.model(run.name)):
                continue  # means, which are estimated from text
            if run == source.run or Path(link.file).is_file():
                inputs = {part: value for part, value in link.inputs.items() if part != "means"}
                check_links(
                    [replace(link, inputs=inputs)],
                    problem="The model was made from something else than the study's tables say.",
                    target="tables",
                    remedy=_remedy(source, run, models),
                    digest_of=found,
                )


def _digests(paths: StudyPaths, data: Mapping[str, Any]) -> Callable[[Path], str]:
    """Digests of inputs: of training text those in the tables' manifest, as far as they are there."""
    text = {paths.validation(), paths.paraphrases(), *paths.parallel_files().values()}
    known = {Path(file): data.get(portable_path(file), "") for file in text}
    return lambda path: known[path] if path in known else digest_of(path)


def _remedy(source: Source, run: Run, made: Callable[[dict[str, Any]], list[Run]]) -> str:
    """What to do where no command makes a file again: Snakemake knows what the study's configuration asks it for.

    Args:
        source: The run that is exported.
        run: Whose file it is.
        made: Gives the runs that such files are made for: `models`, or `runs` for what comes of evaluation.
    """
    if not source.config or run in made(source.config):
        return ""
    return f"the study {source.study} has no such run: name the one that it is of with --study"


def _check_benchmark(paths: StudyPaths, source: Source, benchmark: str, *, scored: bool) -> None:
    for link in _links(paths, source.run, benchmark, scored=scored):
        _require(source, link, benchmark)
        check_links(
            [link],
            problem="What would be exported is of another model, or of other options, than what is there now.",
            target="score",
            remedy=_remedy(source, source.run, runs),
        )


def _links(paths: StudyPaths, run: Run, benchmark: str, *, scored: bool = True) -> Iterator[Link]:
    yield embeddings_link(paths, run, benchmark)
    index, scores = score_links(paths, run, benchmark)
    yield index
    if scored:
        yield scores


def _unfit_before(paths: StudyPaths, source: Source, benchmark: str) -> str:
    """Why the scores that an encoder has on a benchmark are not those before this training; "" if they are, or if
    there are none."""
    run = Run.untrained(source.run.encoder)
    if not Path(paths.scores(run.name, benchmark)).is_file():
        return ""
    if source.config and run not in runs(source.config):
        return f"the study has no run {run.name}: the scores that are there are of another study"
    if missing := _without_record(paths, run, benchmark):
        return missing
    stale = [link.file for link in _links(paths, run, benchmark) if not is_of(link)]
    return f"made from another encoder, or with other options, than those of now: {stale[0]}" if stale else ""


def _without_record(paths: StudyPaths, run: Run, benchmark: str) -> str:
    """Why it cannot be told what a run's scores were made from; "" if it can."""
    missing = [link.file for link in _links(paths, run, benchmark) if not Path(link.file).is_file()]
    return f"what they were made from cannot be told: no {missing[0]}" if missing else ""


def _require(source: Source, link: Link, benchmark: str) -> None:
    """An embedding that was stopped has removed the record of the one before, but no score."""
    if not Path(link.file).is_file():
        raise DataError(
            f"Whether the scores and indexes of {benchmark} are of this model cannot be told.",
            where=link.file,
            expected="the record of what they were made from",
            found="no file",
            remedy=(
                _remedy(source, source.run, runs)
                or "`snakemake score`, with the study's --configfile, makes it and all that rests on it again"
            )
            + "; `--only model` exports the model without these scores",
        )
