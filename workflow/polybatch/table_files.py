"""Which files a study's tables are, known before any of them is made.

inputs: the resolved config
outputs: names of files below results/tables/<study>/latest, and how Snakemake's report shows them

A Snakefile imports this at every start, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from polybatch.contracts import SETTINGS
from polybatch.errors import ConfigError
from polybatch.metrics import METRICS, RANK_DISTANCE, is_metric
from polybatch.options import Options, require

TABLE_FORMS = ("csv", "md", "tex", "html")
FIGURE_FORMS = ("svg", "png", "vl.json")
_TRANSLATION_TABLES = ("translation", "refusals")
# Table or figure -> its caption below workflow/report/ and its label in the report.
_REPORT = {
    "main": ("main", "1 Main table"),
    "trade_off": ("trade_off", "2 Monolingual against cross-lingual"),
    "by_language": ("by_language", "3 By query language"),
    "language_pairs": ("language_pairs", "4 By language pair"),
    "by_alpha": ("trend", "4 By alpha"),
    "by_num_pairs": ("trend", "4 By number of training pairs"),
    "monolingual": ("language_table", "5 Monolingual by language"),
    "cross_lingual": ("cross_lingual", "6 Cross-lingual by language pair"),
    "multilingual": ("language_table", "7 Multilingual by query language"),
    "rank_distance": ("language_table", "8 Rank distance by query language"),
    "averages": ("averages", "9 All metrics"),
    "translation": ("translation", "1 Machine translation"),
    "refusals": ("refusals", "2 Refused translations"),
    "batches": ("batches", "3 Batches drawn"),
    "timings": ("timings", "4 Wall time and memory"),
    "manifest": ("manifest", "5 Manifest"),
}
_REPORT_FORMS = {"html": "table", "svg": "figure", "json": "file"}


@dataclass(frozen=True)
class TableOptions(Options):
    """What the main table shows.

    Attributes:
        headline: The metric of the first column of each setting, and of the tables and figures by language.
        metrics: Setting -> metrics of the main table, after the headline metric; settings left out keep theirs.
    """

    headline: str = "map"
    metrics: dict = field(default_factory=dict)

    def faults(self) -> Iterator[str]:
        yield from require(is_metric(self.headline), f"headline: {self.headline!r} is no metric")
        for setting, names in self.metrics.items():
            yield from require(setting in SETTINGS, f"metrics: {setting!r} is not among {', '.join(SETTINGS)}")
            known = isinstance(names, list) and all(isinstance(name, str) and is_metric(name) for name in names)
            yield from require(known, f"metrics.{setting}: not a list of metrics: {names!r}")


def expected_files(config: Mapping[str, Any]) -> list[str]:
    """Names of all files below `latest`, known from the resolved config alone: a Snakefile declares them as outputs."""
    benchmarks = study_benchmarks(config)
    tables = [name for benchmark in benchmarks for name in score_tables_of(config, benchmark)]
    tables += [*(_TRANSLATION_TABLES if is_translated(config) else ()), "batches", "timings"]
    figures = [name for benchmark in benchmarks for name in figures_of(config, benchmark)]
    return [
        *(f"{name}.{form}" for name in tables for form in TABLE_FORMS),
        *(f"{name}.{form}" for name in figures for form in FIGURE_FORMS),
        *("README.md", "manifest.json", "tables.json", "scores.parquet", "groups.parquet", "VERSION"),
    ]


def report_entries(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What Snakemake's report shows: file name below `latest` -> keyword arguments of `report(...)`.

    Tables go in as html pages and figures as svg, which the report shows inline; it offers any other type as a
    download. Captions are named relative to the rules' folder. The report sorts results by their label.
    """
    entries = {}
    for benchmark in study_benchmarks(config):
        names = [f"{name}.html" for name in score_tables_of(config, benchmark)]
        names += [f"{name}.svg" for name in figures_of(config, benchmark)]
        for name in names:
            entries[name] = _entry(name.rpartition(f"-{benchmark}.")[0], f"Scores on {benchmark}", name)
    for name in (*(_TRANSLATION_TABLES if is_translated(config) else ()), "batches", "timings"):
        entries[f"{name}.html"] = _entry(name, "Making of the models", f"{name}.html")
    entries["manifest.json"] = _entry("manifest", "Making of the models", "manifest.json")
    return {name: entries[name] for name in expected_files(config) if name in entries}


def _entry(kind: str, category: str, name: str) -> dict[str, Any]:
    caption, label = _REPORT[kind]
    return {
        "caption": f"../workflow/report/{caption}.rst",
        "category": category,
        "labels": {"result": label, "form": _REPORT_FORMS[name.rpartition(".")[2]]},
    }


def is_translated(config: Mapping[str, Any]) -> bool:
    return bool((config.get("translation") or {}).get("languages"))


def study_benchmarks(config: Mapping[str, Any]) -> list[str]:
    """`study.benchmarks` of the config."""
    benchmarks = config.get("study", {}).get("benchmarks")
    if not isinstance(benchmarks, (list, tuple)) or not benchmarks:
        raise ConfigError(
            "The study names no benchmarks.",
            where="study.benchmarks",
            expected="a list of names",
            found=repr(benchmarks),
        )
    return list(benchmarks)


def settings_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """The benchmark's own settings, else those of all scoring."""
    named = (config.get("benchmarks") or {}).get(benchmark) or {}
    return list(named.get("settings") or (config.get("scoring") or {}).get("settings") or SETTINGS)


def score_tables_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """Names of a benchmark's tables."""
    settings = settings_of(config, benchmark)
    names = ["main", *(setting for setting in SETTINGS if setting in settings)]
    metrics = (config.get("scoring") or {}).get("metrics", METRICS)
    names += [RANK_DISTANCE] if "multilingual" in settings and RANK_DISTANCE in metrics else []
    return [f"{name}-{benchmark}" for name in (*names, "averages")]


def figures_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """Names of a benchmark's figures."""
    names = ["by_language"]
    if {"monolingual", "cross_lingual"} <= set(settings_of(config, benchmark)):
        names = ["trade_off", "language_pairs", *names]
    study = config["study"]
    if len({alpha for run in study.get("runs", []) for alpha in run.get("alphas", [])}) > 1:
        names.append("by_alpha")
    if len(study.get("num_pairs", [])) > 1:
        names.append("by_num_pairs")
    return [f"{name}-{benchmark}" for name in names]
