"""What is wrong with a configuration beyond the shape of each part: what one part says of another, and of files.

inputs: a configuration with its defaults filled in and what it names looked up (polybatch.study.resolve)
outputs: `Fault`s, none for a sound configuration
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from polybatch.benchmarks.faults import benchmark_faults
from polybatch.collect.faults import source_faults
from polybatch.config.catalogue import Config, collection_of, listed, teacher_way, unknown
from polybatch.config.grid import LONGEST_PART, languages_label
from polybatch.config.paths import PER_QUERY
from polybatch.config.user_files import path_fault
from polybatch.config.values import scoring_options, training_options
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.option_faults import Fault
from polybatch.core.options import Conflict
from polybatch.study.run_faults import run_faults
from polybatch.translation.faults import translation_faults

# Folders below results/ that belong to no collection.
RESERVED = ("tables", "reports", "sources", "plans", "logs", "verify")


def semantic_faults(config: Config, shape: Sequence[Fault]) -> list[Fault]:
    """What the shape of each part does not show.

    With faults in the shape, the parts that can still be read are checked; what a value of the wrong shape seems to say
    is not told.
    """
    faults: list[Fault] = []
    checks: tuple[Callable[[Config], Iterable[Fault]], ...] = (
        _study_faults,
        run_faults,
        _name_faults,
        benchmark_faults,
        translation_faults,
        _conflict_faults,
        _index_faults,
        _figure_faults,
        _headline_faults,
        source_faults,
        _encoder_faults,
        _published_faults,
    )
    for check in checks:
        try:
            faults += check(config)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError, ConfigError):
            if not shape:
                raise
    wrong = {fault.path for fault in shape if fault.path}
    return [fault for fault in faults if not any(fault.path[: i + 1] in wrong for i in range(len(fault.path)))]


def _study_faults(config: Config) -> Iterator[Fault]:
    study = config["study"]
    for kind in ("encoders", "benchmarks"):
        for i, name in enumerate(study[kind]):
            if name not in config[kind]:
                yield unknown(("study", kind, i), name, kind, config)
    if not study["runs"]:
        yield from _measurement_faults(study)
    for path, training in (
        (teacher_way(), config["training"]),
        *((teacher_way(name), entry["training"]) for name, entry in config["encoders"].items()),
    ):
        teacher = training.get("teacher")
        if isinstance(teacher, str) and teacher not in config["encoders"]:
            yield unknown(path, teacher, "encoders", config)


def _measurement_faults(study: Config) -> Iterator[Fault]:
    """Of a study without trainings, whose models are its encoders."""
    if not study["untrained"]:
        yield Fault(("study", "untrained"), "is false and study.runs is empty, so there is nothing to score")
    if study["reference"] not in study["encoders"]:
        yield Fault(
            ("study", "reference"),
            f"{study['reference']!r} is none of the encoders, which are the models of a study without runs "
            f"({', '.join(study['encoders'])})",
        )


def _name_faults(config: Config) -> Iterator[Fault]:
    """Names that the file system, or another folder below results/, does not leave free."""
    languages = languages_label(tuple(config["languages"]["train"]))
    if len(languages) > LONGEST_PART:
        yield Fault(
            ("languages", "train"),
            f"{len(config['languages']['train'])} languages make a folder's name of {len(languages)} characters, and "
            f"file systems take {LONGEST_PART}: train in fewer",
        )
    for i, name in enumerate(config["study"]["benchmarks"]):
        if name.endswith(PER_QUERY):
            yield Fault(
                ("study", "benchmarks", i),
                f"{name!r} ends as the files with the values of single queries do ({PER_QUERY}); name it otherwise",
            )
    collection = config.get("collection", collection_of(config))
    if collection in RESERVED:
        yield Fault(
            ("collection",),
            f"results/{collection}/ holds something else ({', '.join(RESERVED)} are taken); name another collection",
        )


def _conflict_faults(config: Config) -> Iterator[Fault]:
    """Options of one encoder or benchmark that do not go together with the study's; the study's own are told there."""
    from polybatch.retrieval.options import ScoreOptions
    from polybatch.training.options import TrainingOptions

    for name in config["encoders"]:
        known = TrainingOptions.conflicts_of(config["training"])
        merged = TrainingOptions.conflicts_of(training_options(config, name))
        yield from _new(merged, known, ("encoders", name, "training"))
    for name in config["benchmarks"]:
        known = ScoreOptions.conflicts_of(config["scoring"])
        merged = ScoreOptions.conflicts_of(scoring_options(config, name))
        yield from _new(merged, known, ("benchmarks", name, "scoring"))


def _new(found: Sequence[Conflict], known: Sequence[Conflict], path: tuple[str, ...]) -> Iterator[Fault]:
    for conflict in found:
        if conflict not in known:
            yield Fault((*path, *conflict.names[:1]), conflict.text)


def _index_faults(config: Config) -> Iterator[Fault]:
    """A factory string or parameters that FAISS does not take."""
    from polybatch.retrieval.options import index_fault

    factory, parameters = config["index"]["factory"], config["index"].get("build_parameters", "")
    if fault := index_fault(factory):
        yield Fault(("index", "factory"), f"{factory!r} is no FAISS index that serves the inner product: {fault}")
        return
    if fault := index_fault(factory, parameters):
        yield Fault(("index", "build_parameters"), f"{parameters!r} does not go with {factory!r}: {fault}")
    for path, values in [
        (("scoring",), config["scoring"]),
        *((("benchmarks", name, "scoring"), entry["scoring"]) for name, entry in config["benchmarks"].items()),
    ]:
        search = values.get("search_parameters")
        if search and (fault := index_fault(factory, search)):
            yield Fault((*path, "search_parameters"), f"{search!r} does not go with {factory!r}: {fault}")


def _encoder_faults(config: Config) -> Iterator[Fault]:
    for name, entry in config["encoders"].items():
        if "path" not in entry:
            continue
        path = ("encoders", name, "path")
        if fault := path_fault(entry["path"], "folder"):
            yield Fault(path, fault)
        elif not any((Path(entry["path"]) / file).is_file() for file in ("modules.json", "config.json")):
            yield Fault(path, f"{entry['path']} holds no model: neither modules.json nor config.json")


def _published_faults(config: Config) -> Iterator[Fault]:
    """Files of published scores that are missing or hold faults: which tables there are hangs on them."""
    from polybatch.tables.published import read_published

    for path in listed(config["tables"].get("published") or []):
        if isinstance(path, str) and path:
            try:
                read_published([path])
            except DataError as error:
                text = f"{path}: {error.found}" if error.found else f"there is no file {path}"
                yield Fault(("tables", "published"), text)
            except OSError as error:
                yield Fault(("tables", "published"), f"{path[:60]} cannot be read: {error.strerror}")


def _figure_faults(config: Config) -> Iterator[Fault]:
    """Metrics of figures that no benchmark of the study is scored in: none of their figures would be drawn."""
    from polybatch.retrieval.metrics import is_metric
    from polybatch.tables.names import is_scored

    benchmarks = config["study"]["benchmarks"]
    for metric in config["tables"].get("figure_metrics", []):
        known = isinstance(metric, str) and is_metric(metric)
        if known and not any(is_scored(config, benchmark, metric) for benchmark in benchmarks):
            yield Fault(
                ("tables", "figure_metrics"),
                f"{metric!r} is not scored on any benchmark of the study; "
                "add it to scoring.metrics (those of language bias also need the multilingual setting)",
            )


def _headline_faults(config: Config) -> Iterator[Fault]:
    """A headline metric without a value in some setting of a benchmark: its tables could not be made after all else."""
    from polybatch.retrieval.metrics import is_bias_metric, is_metric, is_share
    from polybatch.tables.names import is_scored, settings_of
    from polybatch.tables.options import TableOptions

    metric = config["tables"].get("headline", TableOptions().headline)
    if not (isinstance(metric, str) and is_metric(metric)):
        return
    path, benchmarks = ("tables", "headline"), config["study"]["benchmarks"]
    if is_share(metric):
        yield Fault(path, f"{metric!r} has no average over languages, which a headline metric needs")
        return
    for name in benchmarks:
        settings = settings_of(config, name)
        if is_bias_metric(metric) and settings != ["multilingual"]:
            yield Fault(
                path,
                f"{metric!r} has values in the multilingual setting alone, and {name} is scored in "
                f"{', '.join(settings)}; name a metric that all settings have",
            )
        elif not is_scored(config, name, metric):
            yield Fault(
                path,
                f"the headline metric {metric!r} is not scored on {name}; add it to the metrics that {name} is scored "
                "in, or name one of them here",
            )
