"""The result tables and figures of a study, as a new version where anything behind them changed.

inputs: score files (contracts.SCORES) and per-query files (contracts.PER_QUERY) of all runs; statistics of collection,
    decontamination and translation; compositions of trainings; cards of encoders, translators and benchmarks; records
    of what was fetched; Snakemake's benchmark files; the resolved config; code digests; data files; published scores
outputs: <root>/v<N>/ (only if something changed) and <latest>/, a copy of the newest version: every table as csv,
    md, tex and html, figures as svg and Vega-Lite json (in <latest>/ also as png), README.md, summary.html, *.json,
    *.parquet

Keys of the config that are read: `study` (all but its seeds), `tables` (TableOptions), `benchmarks.<name>.settings` and
`.scoring`, `scoring.settings`, `scoring.metrics`, `translation.languages`, `decontamination.enabled`, `encoders`,
`data_mark`. The others go into the manifest.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.arguments import json_argument
from polybatch.core.contracts import SCORES
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import read_json
from polybatch.tables.names import (
    expected_files,
    is_measurement,
    published_tables_of,
    report_entries,
    settings_of,
    study_benchmarks,
)
from polybatch.tables.options import TableOptions

if TYPE_CHECKING:
    import pandas as pd

    from polybatch.tables.forms.table import Table
    from polybatch.tables.scores import View
    from polybatch.tables.summary import Summary

__all__ = ["Inputs", "TableOptions", "expected_files", "main", "make", "report_entries"]
log = logging.getLogger("polybatch.tables.make")

_PER_QUERY_SUFFIX = ".per_query.parquet"


@dataclass(frozen=True)
class Inputs:
    """Everything that a version is made from: the resolved config, and the files by their kind.

    `encoder_cards`, `translator_cards` and `benchmark_cards` are name -> JSON file; `records` are records of what was
    fetched; `timings` is the folder of Snakemake's benchmark files. The other names are those of the tables.
    """

    config: Mapping[str, Any]
    scores: Sequence[Path]
    per_query: Sequence[Path]
    translations: Sequence[Path] = ()
    compositions: Sequence[Path] = ()
    trainings: Sequence[Path] = ()
    timings: Path | None = None
    code_digests: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[Path] = ()
    collected: Path | None = None
    supplied: Sequence[Path] = ()
    contamination: Path | None = None
    exposure: Path | None = None
    encoder_cards: Mapping[str, Path] = field(default_factory=dict)
    translator_cards: Mapping[str, Path] = field(default_factory=dict)
    benchmark_cards: Mapping[str, Path] = field(default_factory=dict)
    records: Sequence[Path] = ()


def make(inputs: Inputs, root: Path, latest: Path) -> tuple[Path, bool]:
    """Makes the tables of a study and publishes them.

    Returns:
        The newest version's folder, and whether it was made now.

    Raises:
        DataError: Scores are missing, damaged, contradictory, not the means of their per-query values, or of other
            benchmarks than the config's.
    """
    from polybatch.tables.figures.style import draw_pngs
    from polybatch.tables.summary import summarise
    from polybatch.tables.versions import versions
    from polybatch.tables.write import check_written, write_data, write_tables

    summary = summarise(inputs.scores, _options(inputs.config).leave_out)
    _check_benchmarks(inputs.config, summary)
    groups = _groups(inputs)
    views = _views(inputs, summary)
    tables = _tables(inputs, views, groups)
    manifest = _manifest(inputs, summary)
    manifest["content"] = versions.content_digest(tables)

    def fill(folder: Path, name: str) -> None:
        write_tables(folder, {**manifest, "version": name}, tables, views)
        write_data(folder, summary.scores, groups)
        check_written(inputs.config, folder)

    version, made = versions.publish(root, latest, (manifest["fingerprint"], manifest["content"]), fill, draw_pngs)
    log.info("%s %s", "made" if made else "nothing changed since", version)
    return version, made


def _check_benchmarks(config: Mapping[str, Any], summary: Summary) -> None:
    wanted, found = set(study_benchmarks(config)), set(summary.benchmarks)
    if wanted != found:
        raise DataError(
            "The scores are not those of the study's benchmarks.",
            expected=", ".join(sorted(wanted)),
            found=", ".join(sorted(found)),
            where="study.benchmarks of the config, and the score files",
        )


def _groups(inputs: Inputs) -> pd.DataFrame:
    """Per-group values of every arm, from the per-query file beside each score file."""
    from polybatch.tables.agreement import require_agreement
    from polybatch.tables.cures import read_with_grid
    from polybatch.tables.significance import arm_groups
    from polybatch.tables.summary import Arm, with_arm

    given = {Path(path).absolute() for path in inputs.per_query}
    expected = {per_query_path(path).absolute() for path in inputs.scores}
    if given and given != expected:
        odd = sorted(str(path) for path in given ^ expected)
        raise DataError("Per-query files and score files are not the same runs.", found=", ".join(odd[:4]))
    files: dict[tuple[Arm, str], list[Path]] = {}
    for path in inputs.scores:
        require_agreement(path, per_query_path(path))
        first = with_arm(read_with_grid(path, SCORES).slice(0, 1).to_pandas()).iloc[0]
        files.setdefault((first["arm"], first["benchmark"]), []).append(per_query_path(path))
    return arm_groups(files, _options(inputs.config).leave_out)


def _options(config: Mapping[str, Any]) -> TableOptions:
    return TableOptions.from_values(dict(config.get("tables") or {}))


def per_query_path(scores: Path | str) -> Path:
    """The file of per-query values that belongs to a score file."""
    path = Path(scores)
    return path.with_name(path.name.removesuffix(".parquet") + _PER_QUERY_SUFFIX)


def _views(inputs: Inputs, summary: Summary) -> list[View]:
    from polybatch.tables.making import steps_of
    from polybatch.tables.scores import DEFAULT_REFERENCE, MAIN_METRICS, View

    config, options = inputs.config, _options(inputs.config)
    parameters = _encoder_parameters(inputs)
    return [
        View(
            summary,
            benchmark,
            headline=options.headline,
            metrics={**MAIN_METRICS, **dict[str, list[str]](options.metrics.items())},
            settings=settings_of(config, benchmark),
            reference=config["study"].get("reference", DEFAULT_REFERENCE),
            data_mark=str(config.get("data_mark") or ""),
            parameters=parameters,
            notes=_benchmark_notes(inputs, benchmark),
            scratch=_from_scratch(config),
            steps=steps_of(inputs.compositions),
            models=config["study"]["encoders"] if is_measurement(config) else (),
        )
        for benchmark in study_benchmarks(config)
    ]


def _benchmark_notes(inputs: Inputs, benchmark: str) -> list[str]:
    """What the benchmark's card says that its scores cannot be read without: machine-translated queries."""
    card = inputs.benchmark_cards.get(benchmark)
    return [note] if card and (note := read_json(card).get("note")) else []


def _from_scratch(config: Mapping[str, Any]) -> set[str]:
    """The encoders that start from random weights."""
    encoders = config.get("encoders") or {}
    return {name for name, values in encoders.items() if (values or {}).get("scratch") is not None}


def _encoder_parameters(inputs: Inputs) -> dict[str, int | None]:
    """Encoder -> number of its parameters, by its card; in the study's order."""
    known = {name: read_json(path).get("parameters") for name, path in inputs.encoder_cards.items()}
    order = [*inputs.config["study"].get("encoders", []), *known]
    return {name: number if isinstance(number := known.get(name), int) and number > 0 else None for name in order}


def _tables(inputs: Inputs, views: Sequence[View], groups: pd.DataFrame) -> list[Table]:
    from polybatch.tables import making
    from polybatch.tables.by_language import language_tables
    from polybatch.tables.cost import cost_table, read_trainings
    from polybatch.tables.findings import findings_table
    from polybatch.tables.models import model_tables
    from polybatch.tables.order import order_table
    from polybatch.tables.published import published_table, read_published
    from polybatch.tables.scores import averages_table, compare_with_reference, main_table

    mark = str(inputs.config.get("data_mark") or "")
    published = read_published(_options(inputs.config).published_files)
    trainings = read_trainings(inputs.trainings)
    tables = []
    for view in views:
        comparisons = compare_with_reference(view, groups, view.main_columns())
        tables += [findings_table(view, groups), *model_tables(view, groups), main_table(view, comparisons)]
        about_published = published_tables_of(inputs.config, view.benchmark)
        tables += [published_table(view, published)] if "published" in about_published else []
        tables += [order_table(view, groups, published)] if "order" in about_published else []
        tables += [cost_table(view, groups, trainings), *language_tables(view), averages_table(view)]
    tables += _data_tables(inputs, mark)
    if inputs.translations:
        statistics = making.read_translations(inputs.translations)
        tables += [making.translation_table(statistics, mark), making.refusal_table(statistics, mark)]
    if inputs.compositions:
        tables.append(making.composition_table(making.read_compositions(inputs.compositions), mark))
    return [*tables, making.timing_table(making.read_timings(inputs.timings), mark)]


def _data_tables(inputs: Inputs, mark: str) -> list[Table]:
    """What the training text was made from, and what was taken out of it."""
    from polybatch.tables import data

    tables = []
    if inputs.collected:
        tables.append(data.cleaning_table(data.read_cleaning(inputs.collected), mark))
    if inputs.supplied:
        tables.append(data.supplied_table(data.read_supplied(inputs.supplied), mark))
    if inputs.contamination:
        statistics = data.read_contamination(inputs.contamination)
        tables.append(data.contamination_table(statistics, mark))
        tables.append(data.contamination_examples_table(statistics, mark))
    if inputs.exposure:
        tables.append(data.exposure_table(data.read_exposure(inputs.exposure), mark))
    return tables


def _manifest(inputs: Inputs, summary: Summary) -> dict[str, Any]:
    from polybatch.tables import making
    from polybatch.tables.versions import manifest

    settings = inputs.config.get("encoders") or {}
    cards = {name: read_json(path) for name, path in inputs.encoder_cards.items()}
    used = sorted({arm.encoder for arm in summary.arms})
    statistics = making.read_translations(inputs.translations)
    translators = {
        "languages": {one["lang"]: one.get("translators", {}) for one in statistics},
        "folders": {name: read_json(path) for name, path in inputs.translator_cards.items()},
    }
    return manifest.build(
        config=inputs.config,
        code_digests=inputs.code_digests,
        data=inputs.data,
        seeds=sorted({int(seed) for seed in summary.scores["seed"] if seed >= 0}),
        encoders={name: {**(settings.get(name) or {}), "card": cards.get(name)} for name in used},
        translators=translators,
        benchmarks={name: read_json(path) for name, path in inputs.benchmark_cards.items()},
        records={path.stem: read_json(path) for path in inputs.records},
        timings={
            stage_name: {"jobs": len(jobs), "wall_seconds": round(sum(job["seconds"] for job in jobs), 3)}
            for stage_name, jobs in making.read_timings(inputs.timings).items()
        },
    )


# Lists of files that may be too many for a command line; each is a flag, and a key of the file of --inputs.
_LISTS = {
    "scores": "score files of all runs",
    "per_query": "their per-query files (else: beside them)",
    "supplied": "supplied/<lang>.json files",
    "translations": "translated/<lang>.json files",
    "compositions": "composition.json of every model",
    "trainings": "training.json of every model",
    "data": "data files, or folders of them, to hash into the manifest",
    "records": "records of fetched repositories and files",
}
_CARDS = {
    "encoder_cards": "encoder.json of every encoder",
    "translator_cards": "translator.json of every translator",
    "benchmark_cards": "card.json of every benchmark",
}


def main(argv: list[str] | None = None) -> None:
    """Command line; an argument `@file` stands for the lines of that file."""
    parser = argparse.ArgumentParser(
        prog="python -m polybatch.tables.make",
        description="Make a study's tables and figures.",
        fromfile_prefix_chars="@",
    )
    parser.add_argument("--config", required=True, help="the resolved config: JSON text or the path of a JSON file")
    parser.add_argument("--inputs", type=Path, help=f"JSON file with any of the keys {', '.join([*_LISTS, *_CARDS])}")
    for name, words in _LISTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="*", type=Path, default=[], help=words)
    for name, words in _CARDS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="*", default=[], metavar="NAME=PATH", help=words)
    parser.add_argument("--collected", type=Path, help="collected/en.json")
    parser.add_argument("--contamination", type=Path, help="decontamination/pairs.json")
    parser.add_argument("--exposure", type=Path, help="exposure.json")
    parser.add_argument("--timings", type=Path, help="folder of Snakemake's benchmark files, one folder a stage")
    parser.add_argument("--code-digests", default="{}", help="stage -> digest: JSON text or the path of a JSON file")
    parser.add_argument("--root", type=Path, required=True, help="folder of the versions, results/tables/<study>")
    parser.add_argument("--latest", type=Path, help="copy of the newest version (default: <root>/latest)")
    args = parser.parse_args(argv)
    inputs = Inputs(
        config=json_argument(args.config, "--config"),
        timings=args.timings,
        code_digests=json_argument(args.code_digests, "--code-digests"),
        collected=args.collected,
        contamination=args.contamination,
        exposure=args.exposure,
        **_listed(args),
    )
    make(inputs, args.root, args.latest or args.root / "latest")


def _listed(args: argparse.Namespace) -> dict[str, Any]:
    """The lists and cards of the flags, and behind them those of the file of --inputs."""
    given = read_json(args.inputs, object) if args.inputs else {}
    known = isinstance(given, dict) and all(
        (key in _LISTS and isinstance(value, list)) or (key in _CARDS and isinstance(value, dict))
        for key, value in given.items()
    )
    if not known:
        raise ConfigError(
            "--inputs holds something else than lists of files.",
            where=args.inputs,
            expected=f"lists of {', '.join(_LISTS)}; objects of {', '.join(_CARDS)}",
            found=", ".join(given) if isinstance(given, dict) else type(given).__name__,
        )
    listed = {name: [*getattr(args, name), *map(Path, given.get(name, []))] for name in _LISTS}
    cards = {name: _named_files(getattr(args, name), name) for name in _CARDS}
    return listed | {name: {**cards[name], **_paths(given.get(name, {}))} for name in _CARDS}


def _paths(files: Mapping[str, str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in files.items()}


def _named_files(words: Sequence[str], flag: str) -> dict[str, Path]:
    wrong = [word for word in words if not all(word.partition("="))]
    if wrong:
        raise ConfigError(f"--{flag.replace('_', '-')} takes NAME=PATH.", found=" ".join(wrong))
    return _paths(dict(word.split("=", 1) for word in words))


if __name__ == "__main__":
    stage.run(main)
