"""Scores in the form in which mteb's repository of results holds them.

inputs: scores of a run; the study's configuration
outputs: mteb/<model>/<revision>/<task>.json (mteb's TaskResult) and model_meta.json (its ModelMeta)

mteb's evaluator computed none of this. A task has mteb's name only where text, judgements and ranking are those of
mteb: a benchmark with `adapter: mteb`, in the monolingual setting, searched exactly
(tests/unit/retrieval/test_mteb_parity.py holds the values to mteb's). All else, such as a pool of all languages, or an
index that approximates, is a task of its own,
`Polybatch-<collection>-<benchmark>-<setting>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.core import made_from
from polybatch.core.contracts import POOL
from polybatch.core.errors import DataError
from polybatch.core.files import open_parquet, sha256_file, write_json
from polybatch.core.languages import language
from polybatch.export.scores import Scores
from polybatch.export.source import Source
from polybatch.retrieval.metrics import is_share
from polybatch.retrieval.options import EXACT

# The main score of mteb's retrieval tasks.
MAIN = "ndcg@10"
SPLIT = "test"


def write(
    source: Source,
    scores: Scores,
    benchmarks: Sequence[str],
    folder: Path,
    *,
    parameters: int,
    dim: int,
    max_tokens: int | None,
) -> list[str]:
    """Writes one file for each task, and the model's.

    Args:
        source: The run.
        scores: Its scores.
        benchmarks: Those that have all main scores (`lacking_main`).
        folder: mteb/.
        parameters, dim, max_tokens: Of the model; None where it reads texts of any length.

    Returns:
        The names of the tasks.
    """
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    place = folder / f"polybatch__{source.name}" / revision(source)
    place.mkdir(parents=True)
    names = []
    for benchmark in benchmarks:
        for name, result in results_of(source, scores, benchmark):
            result.to_disk(place / f"{name}.json")
            names.append(name)
    meta = ModelMeta(
        loader=None,
        name=f"polybatch/{source.name}",
        revision=revision(source),
        release_date=None,
        languages=[mteb_code(lang) for lang in source.training.get("languages", [])] or None,
        n_parameters=parameters,
        memory_usage_mb=round(parameters * 4 / 2**20, 1),
        max_tokens=max_tokens,
        embed_dim=dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["Sentence Transformers", "PyTorch", "safetensors"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=True,
        training_datasets=None,
        adapted_from=source.base_model or None,
    )
    write_json(place / "model_meta.json", meta.to_dict(), sealed=False)
    return names


def revision(source: Source) -> str:
    """What stands for a commit, which a model that no hub holds does not have: the SHA-256 of its checksums."""
    return made_from.digest(source.folder)[:40]


def mteb_code(iso: str) -> str:
    """`"de"` as mteb writes it: `"deu-Latn"`."""
    return language(iso).nllb.replace("_", "-")


def main_metric(source: Source, benchmark: str, setting: str, headline: str) -> str:
    """The main score of a task: mteb's own, or the study's headline."""
    return MAIN if is_published(source, benchmark, setting) else headline


def lacking_main(source: Source, benchmark: str) -> str:
    """Which main score some of a benchmark's results would lack, in words; "" if none does.

    Raises:
        DataError: The file of its scores is damaged.
    """
    columns = ["setting", "query_lang", "corpus_lang", "metric"]
    rows = open_parquet(source.paths.scores(source.run.name, benchmark)).read(columns=columns).to_pylist()
    measured: dict[tuple[str, str, str], set[str]] = {}
    for row in (row for row in rows if not is_share(row["metric"])):
        measured.setdefault((row["setting"], row["query_lang"], row["corpus_lang"]), set()).add(row["metric"])
    headline = source.table_options.headline
    for (setting, *_), metrics in measured.items():
        if (main := main_metric(source, benchmark, setting, headline)) not in metrics:
            return f"no {main} in the {setting} setting, which would be the main score"
    return ""


class Data(NamedTuple):
    """The data behind a result.

    Attributes:
        place: An id of the hub, or a name of ours.
        revision: The commit of it; None where there is none.
        split: Its part.
    """

    place: str
    revision: str | None
    split: str


def is_published(source: Source, benchmark: str, setting: str) -> bool:
    """Whether scores of a benchmark in a setting are those of a task of mteb: its text, judgements and ranking."""
    entry = source.config.get("benchmarks", {}).get(benchmark, {})
    exact = source.config.get("index", {}).get("factory", EXACT) == EXACT
    return bool(entry.get("adapter") == "mteb" and setting == "monolingual" and exact)


def published_data(entry: Mapping[str, Any]) -> Data:
    """The data of a task of mteb, by a benchmark's entry of the configuration."""
    from polybatch.benchmarks.mteb_tasks import chosen_split, retrieval_task

    task = retrieval_task(entry["task"])
    data = task.metadata.dataset
    return Data(str(data["path"]), str(data["revision"]), chosen_split(task, entry.get("split", "")))


def results_of(source: Source, scores: Scores, benchmark: str) -> Iterator[tuple[str, Any]]:
    """The name of each task of a benchmark, one a setting, and its TaskResult."""
    from mteb.results import TaskResult

    entry = source.config.get("benchmarks", {}).get(benchmark, {})
    for setting in scores.settings(benchmark):
        subsets = list(_subsets(scores, benchmark, setting))
        is_mtebs = is_published(source, benchmark, setting)
        main = main_metric(source, benchmark, setting, scores.headline)
        name, data, split = _published(entry, subsets) if is_mtebs else _own(source, benchmark, setting)
        rows: list[Mapping[str, Any]] = [_with_main(s, main, benchmark, setting) for s in subsets]
        yield (
            name,
            TaskResult(
                dataset_revision=data, task_name=name, mteb_version=None, scores={split: rows}, evaluation_time=None
            ),
        )


def _published(entry: dict[str, Any], subsets: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Name, revision of the data and split of a task of mteb; gives the subsets the names that they have there."""
    from polybatch.benchmarks.mteb_tasks import chosen_subsets, retrieval_task

    task = retrieval_task(entry["task"])
    for subset in subsets:
        lang = subset["hf_subset"].split("-")[0]
        subset["hf_subset"] = chosen_subsets(task, [lang], [lang], entry.get("pair_order", ""))[0].name
    data = published_data(entry)
    return entry["task"], str(data.revision), data.split


def _own(source: Source, benchmark: str, setting: str) -> tuple[str, str, str]:
    collection = Path(source.paths.base).name
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"Polybatch-{collection}-{benchmark}-{setting}")
    qrels = Path(source.paths.qrels(benchmark))
    return name, sha256_file(qrels) if qrels.is_file() else "not known", SPLIT


def _subsets(scores: Scores, benchmark: str, setting: str) -> Iterator[dict[str, Any]]:
    """One entry for each pair of languages, with all metrics under mteb's spelling (`ndcg_at_10`)."""
    frame = scores.cells
    mine = frame[(frame["benchmark"] == benchmark) & (frame["setting"] == setting)]
    corpora = sorted(set(mine["corpus_lang"]) - {POOL}) if setting == "multilingual" else []
    mine = mine[~mine["metric"].map(is_share)]
    for (query, corpus), rows in mine.groupby(["query_lang", "corpus_lang"], sort=False):
        languages = dict.fromkeys([query, *(corpora if corpus == POOL else [corpus])])
        values = dict(zip(rows["metric"], rows["value"], strict=True))
        yield {
            **{metric.replace("@", "_at_"): float(value) for metric, value in values.items()},
            "hf_subset": f"{query}-{corpus}",
            "languages": [mteb_code(lang) for lang in languages],
        }


def _with_main(subset: dict[str, Any], main: str, benchmark: str, setting: str) -> dict[str, Any]:
    name = main.replace("@", "_at_")
    if name not in subset:
        raise DataError(
            "A result has no main score.",
            where=f"{benchmark}, {setting}, {subset['hf_subset']}",
            expected=main,
            found=", ".join(key for key in subset if key not in ("hf_subset", "languages")),
            remedy="leave mteb out with --only, or score with this metric",
        )
    return {**subset, "main_score": subset[name]}
