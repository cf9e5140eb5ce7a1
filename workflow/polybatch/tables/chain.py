"""Whether every file that the tables rest on was made from what the configuration says, from the sources on.

inputs: the resolved config; the records (core/made_from.py) of collected, translated and training text, of translated
    queries, models, embeddings, indexes and scores
outputs: nothing, or a DataError: the first file of the chain that was made from something else, what was expected and
    found, and the command that makes it again

Snakemake asks the same by times of change and by parameters. It can be told not to, and files can be copied; here
content decides. A file that is no longer there (a download, a temporary one) cannot be compared and is passed over.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from polybatch.config import values
from polybatch.config.grid import NONE, WHOLE, Run, embedded, models, runs
from polybatch.config.study_paths import StudyPaths
from polybatch.core import made_from
from polybatch.core.errors import DataError
from polybatch.core.made_from import Inputs
from polybatch.posthoc.options import ProjectionOptions

_TOLD = 4
_PROBLEM = "A result was made from something else than the configuration says."


@dataclass(frozen=True)
class Link:
    """A file with a record, and what that must say.

    Attributes:
        file: With the record.
        options: As the configuration has them.
        inputs: Part -> what is there now; parts that are not named may be anything.
        target: What Snakemake is asked for to make it again, if that is not the file.
    """

    file: str
    options: dict[str, Any]
    inputs: Mapping[str, Inputs]
    target: str = ""


def links(paths: StudyPaths) -> Iterator[Link]:
    """All links of a study, from the sources to the scores."""
    yield from _text_links(paths)
    benchmarks = paths.config["study"]["benchmarks"]
    for name in values.benchmarks_read(paths.config):
        if "queries_of" in paths.config["benchmarks"][name]:
            yield _translated_queries(paths, name)
    for run in models(paths.config):
        yield from model_links(paths, run)
    for run in embedded(paths.config):
        yield from (embeddings_link(paths, run, name) for name in benchmarks)
    for run in runs(paths.config):
        for name in benchmarks:
            yield from score_links(paths, run, name)


def model_links(paths: StudyPaths, run: Run) -> Iterator[Link]:
    """The links of one run's model: its training, its mixture of weights, or its projection with the means."""
    if run.projection != NONE:
        yield from _projection(paths, run)
    elif run.before:
        yield _mixture(paths, run)
    elif run.trained:
        yield _training(paths, run)


def _text_links(paths: StudyPaths) -> Iterator[Link]:
    config = paths.config
    cleaning, sources = config["cleaning"], config["source"]
    if not sources:
        return
    for name, source in paths.sources_read().items():
        read: dict[str, Inputs] = {"file": paths.source_file(name), "passages": paths.mined_passages(name)}
        yield Link(paths.collected_source(name), {"source": source, "cleaning": cleaning}, read)
    options = {"cleaning": cleaning, "mixture": config["mixture"], "split": values.split_options(config)}
    options |= {"sources": sources, "parallel_in": config["split"].get("parallel_in", [])}
    yield Link(paths.collected(), options, {"collected": [paths.collected_source(name) for name in paths.sources()]})
    collected: dict[str, Inputs] = {"collected": paths.collected()}
    for file in paths.supplied_files().values():
        yield Link(file, {"sources": sources, "cleaning": cleaning}, {**collected, "files": paths.source_files()})
    for file in paths.contaminated_files():
        yield Link(file, {}, {**collected, "text": paths.evaluation_text(), "supplied": paths.supplied_files()})
    for lang, file in paths.translated_files().items():
        shards = [paths.translated_shard(lang, shard) for shard in range(config["translation"]["shards"])]
        judged: dict[str, Inputs] = {**collected, "shards": shards, "supplied": paths.supplied(lang)}
        yield Link(file, {"accept": config["translation"]["accept"]}, judged)
        yield from (_shard(paths, lang, number, shard) for number, shard in enumerate(shards))
    yield from _training_text(paths, {**collected, "contaminated": paths.contaminated_files()})


def _training_text(paths: StudyPaths, inputs: dict[str, Inputs]) -> Iterator[Link]:
    train = {"split": "train", "max_pairs": 0}
    machine = paths.translated_files()
    for lang, file in paths.parallel_files().items():
        supplied = None if lang == "en" else paths.supplied(lang)
        own: dict[str, Inputs] = {"supplied": supplied, "machine": machine.get(lang)}
        yield Link(file, train, {**inputs, **own, "translated_all": list(machine.values())})
    if not any(run.trained for run in runs(paths.config)):
        return  # nothing asks for validation pairs
    if name := paths.validation_source():
        limit = {"split": "train", "max_pairs": paths.config["validation"]["max_pairs"]}
        yield Link(paths.validation(), limit, {**inputs, "validation_source": paths.collected_source(name)})
    else:
        yield Link(paths.validation(), {"split": "dev", "max_pairs": 0}, inputs)


def _shard(paths: StudyPaths, lang: str, number: int, file: str) -> Link:
    translation = paths.config["translation"]
    options = {name: translation[name] for name in ("hard_negatives", "shards", "min_distinct", "decoding")}
    inputs: dict[str, Inputs] = {"collected": paths.collected()}
    inputs["forward"], inputs["backward"] = (paths.translator_folder(way) for way in (f"en-{lang}", f"{lang}-en"))
    return Link(file, {**options, "shard": number}, inputs)


def _translated_queries(paths: StudyPaths, benchmark: str) -> Link:
    original, folder = paths.config["benchmarks"][benchmark]["queries_of"], paths.benchmark(benchmark)
    inputs: dict[str, Inputs] = {
        "queries": paths.benchmark_text(original, "queries", "en"),
        "qrels": paths.qrels(original),
        "translators": paths.query_translators(benchmark),
    }
    return Link(f"{folder}/card.json", {"decoding": paths.config["translation"]["decoding"]}, inputs, folder)


def _training(paths: StudyPaths, run: Run) -> Link:
    config, folder = paths.config, paths.model(run.name)
    options = {
        "training": values.training_options(config, run.encoder, run.objective),
        "sampling": run.sampling,
        "objective": run.objective,
        "num_pairs": str(run.num_pairs),
        "num_translated": str(run.num_translated),
        "seed": run.seed,
        "source_weights": {source["name"]: source["weight"] for source in config["source"] if "weight" in source},
    }
    inputs: dict[str, Inputs] = {
        "encoder": paths.model_folder(run.start),
        "teacher": next(iter(paths.teacher(run)), None),
        "parallel": paths.parallel_files(),
        "paraphrases": paths.paraphrases() if "paraphrases" in config["translation"] else None,
        "validation": paths.validation(),
    }
    return Link(f"{folder}/training.json", options, inputs, folder)


def _mixture(paths: StudyPaths, run: Run) -> Link:
    folder, after = paths.model(run.name), replace(run, share=WHOLE)
    inputs: dict[str, Inputs] = {"before": paths.model_folder(run.start), "after": paths.model_folder(after)}
    return Link(f"{folder}/mixture.json", {"share": float(run.share)}, inputs, folder)


def _projection(paths: StudyPaths, run: Run) -> Iterator[Link]:
    """The means that a projection is estimated from, and itself."""
    config, folder, means = paths.config, paths.model(run.name), paths.means_files(run)
    model = paths.model_folder(replace(run, projection=NONE))
    texts = ProjectionOptions.from_values(config["projection"]).texts
    options = {"texts": texts, "encoding": values.encoding_options(config, run.encoder)}
    for file in means:
        yield Link(file, options, {"model": model, "parallel": paths.parallel_files()})
    options = {"projection": run.projection, "estimation": config["projection"]}
    yield Link(f"{folder}/projection.json", options, {"model": model, "means": means}, folder)


def embeddings_link(paths: StudyPaths, run: Run, benchmark: str) -> Link:
    """That of a run's embeddings of a benchmark. Options are held where the configuration is known, here and below."""
    config = paths.config
    options = {"encoding": values.encoding_options(config, run.encoder)} if config else {}
    inputs: dict[str, Inputs] = {"model": paths.model_folder(run)}
    if run.projection != NONE:
        inputs["embeddings"] = paths.embeddings_record(replace(run, projection=NONE).name, benchmark)
    return Link(paths.embeddings_record(run.name, benchmark), options, inputs)


def score_links(paths: StudyPaths, run: Run, benchmark: str) -> Iterator[Link]:
    """Those of a run's index of a benchmark, and of its scores there."""
    config = paths.config
    embeddings, index = paths.embeddings_record(run.name, benchmark), paths.index_record(run.name, benchmark)
    yield Link(index, config["index"] if config else {}, {"embeddings": embeddings})
    inputs: dict[str, Inputs] = {"embeddings": embeddings, "index": index, "qrels": paths.qrels(benchmark)}
    options = {"scoring": values.scoring_options(config, benchmark)} if config else {}
    yield Link(paths.scores(run.name, benchmark), options, inputs)


def check_chain(paths: StudyPaths) -> int:
    """Holds all links against their records; returns how many there are.

    Raises:
        DataError: A file has no record, or was made from other inputs or options.
    """
    return check_links(links(paths))


def digest_of(path: Path) -> str:
    """The digest of a file or folder as it is there now; empty for what is not there."""
    return made_from.digest(path) if path.exists() else ""


def is_of(link: Link) -> bool:
    """Whether a file was made from what its link says.

    Raises:
        DataError: It is not there, or damaged.
    """
    return not any(_faults(link, digest_of))


def check_links(
    wanted: Iterable[Link],
    *,
    problem: str = _PROBLEM,
    target: str = "",
    remedy: str = "",
    digest_of: Callable[[Path], str] = digest_of,
) -> int:
    """Holds some links against their records; returns how many there are.

    Args:
        wanted: The links.
        problem: What is told of a file that does not fit.
        target: What Snakemake is asked for, in the remedy; "" for the study's tables.
        remedy: In the place of a command that makes the file again.
        digest_of: Gives the digest of an input; "" where it cannot be compared. By default of what is there now.

    Raises:
        DataError: See `check_chain`; or a file that has a link is not there.
    """
    digest = functools.cache(digest_of)
    number = 0
    for link in wanted:
        number += 1
        if faults := list(_faults(link, digest)):
            told, more = faults[:_TOLD], len(faults) - _TOLD
            raise DataError(
                problem,
                where=link.file,
                expected="; ".join(f"{name} {expected}" for name, expected, _ in told),
                found="; ".join(f"{name} {found}" for name, _, found in told) + (f"; {more} more" if more > 0 else ""),
                remedy=remedy
                or f"`snakemake {target}{' ' * bool(target)}--forcerun {link.target or link.file}`, with the same "
                "--configfile, makes it and all that rests on it again",
            )
    return number


def _faults(link: Link, digest: Any) -> Iterator[tuple[str, str, str]]:
    """(what, expected, found) of all that differs."""
    record = made_from.read_record(link.file)
    if record is None:
        yield "record", "of what it was made from", "none: it is of an earlier version of Polybatch"
        return
    wanted = made_from.record(link.options, digest, **link.inputs)
    for name, value in wanted["options"].items():
        if name not in record["options"] or record["options"][name] != value:
            yield from _differing(name, value, record["options"].get(name))
    for part, value in wanted["inputs"].items():
        found = record["inputs"].get(part)
        if not _same(value, found):
            yield part, str(value), str(found)


def _same(wanted: Any, found: Any) -> bool:
    """Whether digests agree, as far as they are known."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_same(wanted[name], found[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, wanted, found))
    return wanted in ("", found)


def _differing(name: str, wanted: Any, found: Any) -> Iterator[tuple[str, str, str]]:
    """The differing keys of an option that is an object; else the option."""
    if not (isinstance(wanted, dict) and isinstance(found, dict)):
        yield name, json.dumps(wanted, ensure_ascii=False), json.dumps(found, ensure_ascii=False)
        return
    for key in sorted(wanted.keys() | found.keys()):
        if key not in wanted or key not in found or wanted[key] != found[key]:
            yield from _differing(f"{name}.{key}", wanted.get(key), found.get(key))
