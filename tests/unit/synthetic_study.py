"""A small study written to disk as the pipeline leaves it: score files, per-query files, statistics, timings.

The scores are drawn so that hybrid leads, x-x-mono is good in one language and x-y across languages; every file is
a real artifact of its contract, so the tests read them as the pipeline would.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from polybatch.config.grid import Run
from polybatch.core.contracts import GRID_DEFAULTS, PER_QUERY, POOL, SCORES
from polybatch.core.files import write_parquet
from polybatch.tables.make import Inputs, _groups
from polybatch.tables.scores import View
from polybatch.tables.summary import summarise

LANGS = ("en", "de", "el")
TRAINED = "en+de"
METRICS = {
    "monolingual": ("map", "recall@1", "ndcg@10", "mrr@10"),
    "cross_lingual": ("map", "recall@1", "ndcg@10", "mrr@10"),
    "multilingual": ("map", "recall@10", "ndcg@10", "mrr@10", "rank_distance", "own_language_first", "language_tvd@10"),
}
SHARES = ("language_share@10", "pool_share")
# sampling -> (monolingual, cross-lingual, multilingual) level
LEVELS = {
    "untrained": (0.05, 0.02, 0.02),
    "en-en": (0.40, 0.20, 0.18),
    "x-x": (0.55, 0.35, 0.30),
    "x-x-mono": (0.62, 0.40, 0.34),
    "x-y": (0.56, 0.50, 0.42),
    "hybrid": (0.63, 0.505, 0.425),
}
SEEDS = {"untrained": (-1,), "en-en": (0,), "x-x": (0,), "x-x-mono": (0, 1, 2), "x-y": (0, 1, 2), "hybrid": (0, 1, 2)}


def config(names: tuple[str, ...] = ("test",), settings: tuple[str, ...] = (), **more: object) -> dict:
    """The config of a study; `settings` narrows those of its benchmarks (and spares their figures)."""
    return {
        "study": {"name": "default", "benchmarks": list(names)},
        "encoders": {"tiny": {"layers": 1}},
        "benchmarks": {name: {"settings": list(settings)} for name in names} if settings else {},
        "translation": {"languages": ["de"]},
        "decontamination": {"enabled": False},
        **more,
    }


def with_grid(study_config: dict, *runs: dict, trained: str = TRAINED) -> dict:
    """The config with a whole grid; each of `runs` is an entry of `study.runs`, whose seed is 0 unless it says more."""
    grid = {"encoders": ["tiny"], "untrained": True, "num_pairs": ["all"], "num_translated": ["all"]}
    study = {**grid, **study_config["study"], "runs": [{"seeds": [0], **run} for run in runs]}
    return {**study_config, "study": study, "languages": {"train": trained.split("+")}}


def inputs(base: Path, study_config: dict | None = None, **changes: object) -> Inputs:
    """All inputs of the tables of the runs below `base`; by default of the monolingual setting alone."""
    given = {
        "config": study_config or config(settings=("monolingual",)),
        "scores": score_files(base),
        "per_query": (),
        "translations": [write_translation(base)],
        "compositions": [write_composition(base)],
        "trainings": [write_training(base)],
        "timings": write_timings(base),
        "collected": write_collected(base),
    }
    return Inputs(**{**given, **changes})


def score_files(base: Path) -> list[Path]:
    """The score files of all runs below `base`."""
    return sorted(path for path in base.rglob("scores/**/*.parquet") if "per_query" not in path.name)


def view(base: Path, **changes: Any) -> tuple[View, pd.DataFrame]:
    """The scores below a folder as the tables of the benchmark `test` see them, and the groups that tests are made on."""
    scores = sorted(base.rglob("scores/**/test.parquet"))
    return View(summarise(scores), "test", **changes), _groups(Inputs(config(), scores, ()))


def write_study(base: Path, benchmarks: tuple[str, ...] = ("test",), groups: int = 50, **grid: object) -> list[Path]:
    """Writes all runs of the study; returns the score files in a fixed order."""
    return [
        write_run(base, sampling, seed, benchmark, groups=groups, **grid)
        for sampling, seeds in SEEDS.items()
        for seed in seeds
        for benchmark in benchmarks
    ]


def write_run(
    base: Path,
    sampling: str,
    seed: int,
    benchmark: str = "test",
    *,
    groups: int = 50,
    alpha: str | None = None,
    num_pairs: str = "all",
    num_translated: str = "all",
    encoder: str = "tiny",
    langs: tuple[str, ...] = LANGS,
    trained: str = TRAINED,
    level: tuple[float, float, float] | None = None,
    drop: tuple[str, str, str] | None = None,
    cells: list[tuple[str, str, str]] | None = None,
    **cure: str,
) -> Path:
    """One run's score file and per-query file; `cure` has any of objective, begin, share and projection.

    `drop` leaves one (setting, query_lang, corpus_lang) out; `cells` are all there are, in place of those of `langs`.
    """
    alpha = "0.5" if sampling == "hybrid" and alpha is None else alpha
    rows = _per_query(sampling, seed, benchmark, groups, langs, level or LEVELS[sampling])
    rows = [row for row in rows if (row["setting"], row["query_lang"], row["corpus_lang"]) != drop]
    if cells:
        rows = [row for row in rows if (row["setting"], row["query_lang"], row["corpus_lang"]) in cells]
    grid = {
        "encoder": encoder,
        "sampling": sampling,
        "alpha": alpha,
        "num_pairs": "0" if sampling == "untrained" else num_pairs,
        "num_translated": num_translated,
        "languages": "" if sampling == "untrained" else trained,
        "seed": seed,
        **GRID_DEFAULTS,
        **cure,
        "benchmark": benchmark,
    }
    run = Run(encoder, sampling, alpha, num_pairs, num_translated, tuple(trained.split("+")), seed, **cure)
    folder = base / "scores" / run.name
    path = folder / f"{benchmark}.parquet"
    means = [*_means(rows, grid), *(_shares(langs, grid) if not cells else [])]
    write_parquet(path, [pa.Table.from_pylist(means, schema=SCORES)], SCORES)
    per_query = pa.Table.from_pylist(rows, schema=PER_QUERY)
    write_parquet(folder / f"{benchmark}.per_query.parquet", [per_query], PER_QUERY)
    return path


def _per_query(sampling: str, seed: int, benchmark: str, groups: int, langs: tuple[str, ...], level: tuple) -> list:
    draw = np.random.default_rng([seed + 1, sorted(LEVELS).index(sampling), len(benchmark)])
    # The same groups are hard for every run: that is what makes paired tests worth their while.
    hardness = np.random.default_rng(7).normal(0, 0.12, groups)
    shift = draw.normal(0, 0.006)
    pairs = [("monolingual", lang, lang) for lang in langs]
    pairs += [("cross_lingual", a, b) for a, b in itertools.permutations(langs, 2)]
    pairs += [("multilingual", lang, POOL) for lang in langs]
    rows = []
    for setting, query_lang, corpus_lang in pairs:
        base = level[["monolingual", "cross_lingual", "multilingual"].index(setting)]
        base -= 0.12 * ("el" in (query_lang, corpus_lang)) * base
        values = np.clip(base + shift + hardness * base + draw.normal(0, 0.05, groups), 0, 1)
        for metric in METRICS[setting]:
            scaled = (1 - values) * 60 if metric == "rank_distance" else values * (0.8 if metric == "recall@1" else 1.0)
            rows += [
                {
                    "setting": setting,
                    "query_lang": query_lang,
                    "corpus_lang": corpus_lang,
                    "metric": metric,
                    "query_id": f"g{group}-{query_lang}",
                    "group": f"g{group}",
                    "value": float(value),
                }
                for group, value in enumerate(scaled)
            ]
    return rows


def _means(rows: list[dict], grid: dict) -> list[dict]:
    cells: dict[tuple, list[float]] = {}
    for row in rows:
        cells.setdefault((row["setting"], row["query_lang"], row["corpus_lang"], row["metric"]), []).append(
            row["value"]
        )
    names = ("setting", "query_lang", "corpus_lang", "metric")
    return [
        {**grid, **dict(zip(names, key, strict=True)), "value": float(np.mean(v)), "num_queries": len(v)}
        for key, v in cells.items()
    ]


def _shares(langs: tuple[str, ...], grid: dict) -> list[dict]:
    """Rows of language shares: half of the top is in the query's own language."""
    place = {**grid, "setting": "multilingual", "num_queries": 10}
    rest = 0.5 / max(1, len(langs) - 1)
    return [
        {**place, "query_lang": query, "corpus_lang": lang, "metric": metric, "value": value}
        for query in langs
        for lang in langs
        for metric, value in zip(SHARES, (0.5 if lang == query else rest, 1 / len(langs)), strict=True)
    ]


def write_collected(base: Path) -> Path:
    steps = [{"step": "empty", "removed": 5}, {"step": "duplicate", "removed": 15}]
    source = {"license": "Apache-2.0", "examples": 120, "collected": 120, "steps": steps, "kept": 100}
    value = {"sources": {"homeassistant": source}, "splits": {"train": 80, "dev": 10, "test": 10}}
    return _write_json(base / "collected" / "en.json", value)


def write_translation(base: Path, lang: str = "de", forward: bool = True) -> Path:
    quality = {part: {"bleu": 31.2, "chrf": 55.4, "count": 40} for part in ("query", "passage")}
    reasons = {"accepted": 60, "low_chrf": 30, "wrong_language": 10}
    value = {
        "lang": lang,
        "translators": {
            "forward": {"direction": f"en-{lang}", "architecture": "marian", "bleu": 31.0},
            "backward": {"direction": f"{lang}-en", "architecture": "marian", "bleu": 33.0},
        },
        "pairs": 100,
        "accepted": 60,
        "reasons": reasons,
        "sources": {"homeassistant": {"pairs": 100, "accepted": 60, "reasons": reasons}},
        "forward": quality if forward else {},
        "round_trip": quality,
        "distinct_outputs": {"query": 0.97, "passage": 0.99},
    }
    return _write_json(base / "translated" / f"{lang}.json", value)


def write_composition(base: Path, run: str = "tiny/hybrid-a0.5/nall/en+de/s0") -> Path:
    value = {
        "steps": 100,
        "rows": 1600,
        "distinct_pairs": 900,
        "batches": {"x-x-mono": 48, "x-y": 52},
        "monolingual_batches": {"en": 25, "de": 23},
        "directions": {"en-en": 400, "de-de": 368, "en-de": 420, "de-en": 412},
    }
    return _write_json(base / "models" / run / "composition.json", value)


def write_training(
    base: Path,
    run: str = "tiny/hybrid-a0.5/nall/en+de/s0",
    *,
    seconds: float = 90.0,
    device: str = "cpu",
    world_size: int = 1,
    threads: int | None = 2,
) -> Path:
    value = {"steps": 100, "seconds": seconds, "device": device, "world_size": world_size}
    value |= {} if threads is None else {"threads": threads}
    return _write_json(base / "models" / run / "training.json", value)


def write_timings(base: Path) -> Path:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    jobs = {
        "train/a.tsv": "61.5\t0:01:01\t900.25\t1\t1\t1\t0\t0\t98.1\t60.1\n",
        "train/b/c.tsv": "58.5\t0:00:58\t910.5\t1\t1\t1\t0\t0\t98.1\t57.0\n",
        "qrels/x.tsv": "0.2\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n",
    }
    for name, line in jobs.items():
        path = base / "timings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + line, "utf-8")
    return base / "timings"


def _write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
    return path
