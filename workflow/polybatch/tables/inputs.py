"""Lists the files that a study's tables are made from, by the layout of results/<collection>/.

inputs: the resolved config
outputs: a JSON file for `tables --inputs`: a grid of thousands of runs does not fit on a command line
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from polybatch.config.grid import runs
from polybatch.config.values import Config, benchmarks_read, translator_entry, translator_name, used_directions
from polybatch.core import stage
from polybatch.core.files import write_json
from polybatch.prefetch.requests import hub_requests


def table_inputs(config: Config, base: Path) -> dict[str, Any]:
    """The files of every kind that tables, figures and manifest are made from.

    Args:
        config: The resolved config.
        base: results/<collection>.
    """
    grid, study = runs(config), config["study"]
    scores = [base / "scores" / run.name / f"{bench}.parquet" for run in grid for bench in study["benchmarks"]]
    translated = config["translation"]["languages"]
    benchmarks = [base / "benchmarks" / name for name in benchmarks_read(config)]
    data = [base / "collected" / "en.parquet", base / "validation.parquet"]
    data += [base / "parallel" / f"{lang}.parquet" for lang in config["languages"]["train"]]
    data += [path for folder in benchmarks for path in sorted(folder.rglob("*.parquet"))]
    translators = dict.fromkeys(_translator_folder(config, base, direction) for direction in used_directions(config))
    listed = {
        "scores": scores,
        "per_query": [path.with_name(path.name.replace(".parquet", ".per_query.parquet")) for path in scores],
        "translations": [base / "translated" / f"{lang}.json" for lang in translated],
        "compositions": [base / "models" / run.name / "composition.json" for run in grid if run.trained],
        "data": data,
        "records": [base / "hub" / f"{record}.json" for record in hub_requests(config)],
    }
    cards = {
        "encoder_cards": {name: base / "encoders" / name / "encoder.json" for name in study["encoders"]},
        "translator_cards": {folder.name: folder / "translator.json" for folder in translators},
        "benchmark_cards": {folder.name: folder / "card.json" for folder in benchmarks},
    }
    return {
        **{name: [str(path) for path in paths] for name, paths in listed.items()},
        **{name: {key: str(path) for key, path in of.items() if path.exists()} for name, of in cards.items()},
    }


def _translator_folder(config: Config, base: Path, direction: str) -> Path:
    entry = translator_entry(config, direction) or {}  # there is one: the config was checked
    if "path" in entry:
        return Path(entry["path"])
    return base / "translators" / (entry.get("trained") or translator_name(entry))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.tables.inputs", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, type=json.loads, help="the resolved config, as JSON")
    parser.add_argument("--base", required=True, type=Path, help="results/<collection>")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    inputs = table_inputs(args.config, args.base)
    write_json(args.output, inputs)
    stage.log.info("%d score files, %d data files", len(inputs["scores"]), len(inputs["data"]))


if __name__ == "__main__":
    stage.run(main)
