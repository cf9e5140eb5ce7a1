"""Lists the files that a study's tables are made from, by their layout (`config.paths`).

inputs: the resolved config
outputs: a JSON file for `tables --inputs`: a grid of thousands of runs does not fit on a command line. Not written
    where a file was made from something else than the config says (chain.py)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from polybatch.config.grid import models, runs
from polybatch.config.study_paths import StudyPaths
from polybatch.config.values import Config, benchmarks_read, encoders_read, used_directions
from polybatch.core import stage
from polybatch.core.files import write_json
from polybatch.prefetch.requests import hub_requests
from polybatch.tables.chain import check_chain
from polybatch.tables.versions.manifest import portable_path


def table_inputs(config: Config, base: Path) -> dict[str, Any]:
    """The files of every kind that tables, figures and manifest are made from.

    Args:
        config: The resolved config.
        base: results/<collection>.
    """
    paths, grid, study = StudyPaths.of(config, base), runs(config), config["study"]
    cells = [(run.name, bench) for run in grid for bench in study["benchmarks"]]
    benchmarks = {name: paths.benchmark(name) for name in benchmarks_read(config)}
    validation = [paths.validation()] if any(run.trained for run in grid) else []
    data = [*paths.collected_files(), *validation, *paths.parallel_files().values()]
    data += [path for name in benchmarks for path in _benchmark_data(paths, name)]
    trained = [paths.model(run.name) for run in models(config) if run.trained and not run.before]
    translators = {
        _translator_name(paths, folder): folder for folder in map(paths.translator_folder, used_directions(config))
    }
    listed = {
        "scores": [paths.scores(*cell) for cell in cells],
        "per_query": [paths.per_query(*cell) for cell in cells],
        "supplied": [paths.supplied(lang, "json") for lang in paths.supplied_files()],
        "translations": [paths.translated(lang, "json") for lang in paths.translated_files()],
        "compositions": [f"{folder}/composition.json" for folder in trained],
        "trainings": [f"{folder}/training.json" for folder in trained],
        "data": data,
        "records": [paths.hub_record(record) for record in hub_requests(config)],
    }
    cards = {
        "encoder_cards": {name: f"{paths.encoder(name)}/encoder.json" for name in encoders_read(config)},
        "translator_cards": {name: f"{folder}/translator.json" for name, folder in translators.items()},
        "benchmark_cards": {name: f"{folder}/card.json" for name, folder in benchmarks.items()},
    }
    existing = {kind: {name: path for name, path in of.items() if Path(path).exists()} for kind, of in cards.items()}
    return {**listed, **existing}


def _translator_name(paths: StudyPaths, folder: str) -> str:
    """One of the project's own by its name, one of the user's by its path: their folders may all be called `ct2`."""
    return Path(folder).name if folder == paths.translator(Path(folder).name) else portable_path(folder)


def _benchmark_data(paths: StudyPaths, name: str) -> list[str]:
    """The files of a benchmark. One of held-out text may have languages on disk that another study reads."""
    if paths.is_held_out(name):
        return paths.benchmark_files(name)
    return [str(path) for path in sorted(Path(paths.benchmark(name)).rglob("*.parquet"))]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.tables.inputs", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, type=json.loads, help="the resolved config, as JSON")
    parser.add_argument("--base", required=True, type=Path, help="results/<collection>")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    number = check_chain(StudyPaths.of(args.config, args.base))
    stage.log.info("%d files were made from what the configuration says", number)
    inputs = table_inputs(args.config, args.base)
    write_json(args.output, inputs)
    stage.log.info("%d score files, %d data files", len(inputs["scores"]), len(inputs["data"]))


if __name__ == "__main__":
    stage.run(main)
