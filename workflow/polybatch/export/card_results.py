"""The results in a model card: tables of scores and of language bias, and the hub's `model-index`.

inputs: scores of a run, those of its encoder before training, those of its ONNX files
outputs: lines of Markdown, and huggingface_hub's EvalResult
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from polybatch.core.languages import language
from polybatch.export.mteb_results import SPLIT, Data, is_published, published_data
from polybatch.export.scores import Scores
from polybatch.export.source import Source
from polybatch.retrieval.metrics import LANGUAGE_SHARE
from polybatch.tables.summary import SETTING_LABELS, better, digits, metric_label

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_MEAN = "mean over languages"
_BEFORE = "encoder before training"


def results(source: Source, scores: Scores | None, before: Scores | None) -> Iterator[str]:
    """A table for each benchmark: settings and metrics down, this model and its encoder across."""
    hidden = [name for name in source.scored() if scores is None or name not in scores.benchmarks]
    untold = f"what the scores on {', '.join(hidden)} were made from could not be told when this was exported."
    if scores is None:
        yield f"None: {untold if hidden else 'this run had no scores when it was exported.'}"
        return
    yield "Means over query languages; in the cross-lingual setting over pairs of languages."
    for benchmark in scores.benchmarks:
        yield from ("", f"**{benchmark}** ({_described(source, benchmark)})", "")
        yield from _table(scores, before, benchmark)
    if missing := source.unscored():
        yield from ("", f"Not scored when this was exported: {', '.join(missing)}.")
    if hidden:
        yield from ("", f"Not shown: {untold}")


def _described(source: Source, benchmark: str) -> str:
    entry = source.config.get("benchmarks", {}).get(benchmark)
    languages = {code for side in source.languages(benchmark) for code in side}
    told = f"in {', '.join(sorted(languages))}"
    if entry is None:
        return told
    if "split" in entry and "adapter" not in entry:
        return f"text held out of the training sources, {told}"
    if entry.get("adapter") == "mteb":
        return f"mteb's {entry['task']}, {told}"
    return told


def _table(scores: Scores, before: Scores | None, benchmark: str) -> Iterator[str]:
    others = [before] if before and before is not scores and benchmark in before.benchmarks else []
    yield f"| setting | metric | this model |{' ' + _BEFORE + ' |' if others else ''}"
    yield f"|---|---|---|{'---|' if others else ''}"
    for setting in scores.settings(benchmark):
        for metric in scores.main_metrics(benchmark, setting):
            values = [_told(one, (benchmark, setting, metric)) for one in (scores, *others)]
            yield f"| {SETTING_LABELS[setting]} | {_label(metric)} | {' | '.join(values)} |"


def _label(metric: str) -> str:
    way = better(metric)
    return metric_label(metric) + (" (lower is better)" if way == "lower" else "")


def _told(scores: Scores, key: tuple[str, str, str]) -> str:
    value = scores.means.get(key)
    return "–" if value is None else f"{value:.{digits(key[2])}f}"


def language_bias(scores: Scores, before: Scores | None) -> Iterator[str]:
    """A section: for each benchmark with a pool of languages, all measures of bias, and the languages of the first
    passages by query language; nothing where no benchmark has any."""
    of_pool = [benchmark for benchmark in scores.benchmarks if scores.bias_metrics(benchmark)]
    if not of_pool:
        return
    yield "## Language bias"
    yield "Queries of one language against the passages of all languages in one pool. Polybatch's docs/retrieval.md"
    yield "defines the measures."
    for benchmark in of_pool:
        others = [before] if before and before is not scores and benchmark in before.benchmarks else []
        yield from ("", f"**{benchmark}**", "", f"| measure | this model |{' ' + _BEFORE + ' |' if others else ''}")
        yield f"|---|---|{'---|' if others else ''}"
        for metric in scores.bias_metrics(benchmark):
            values = [_told(one, (benchmark, "multilingual", metric)) for one in (scores, *others)]
            yield f"| {_label(metric)} | {' | '.join(values)} |"
        yield from _shares(scores, benchmark)
    yield ""


def _shares(scores: Scores, benchmark: str) -> Iterator[str]:
    names = {metric for metric in scores.cells["metric"] if metric.startswith(f"{LANGUAGE_SHARE}@")}
    if not names:
        return
    metric = min(names, key=lambda name: int(name.partition("@")[2]))
    cells = scores.of(benchmark, "multilingual", metric)
    queries, corpora = (list(dict.fromkeys(pair[side] for pair in cells)) for side in (0, 1))
    depth = metric.partition("@")[2]
    yield from (
        "",
        f"Share of each language among the first {depth} passages, in percent, by language of the query:",
        "",
    )
    yield f"| query | {' | '.join(corpora)} |"
    yield f"|---|{'---|' * len(corpora)}"
    for query in queries:
        yield f"| {query} | {' | '.join(f'{100 * cells[query, corpus]:.1f}' for corpus in corpora)} |"


def onnx_scores(onnx: Mapping[str, Any], scores: Scores | None) -> Iterator[str]:
    """A table of the scores of each ONNX file beside the model's own, where they were made."""
    files = {name: file["scores"] for name, file in onnx["files"].items() if file.get("scores")}
    if not files:
        return
    benchmark = onnx["scored_on"]
    own = scores.main(benchmark) if scores and benchmark in scores.benchmarks else {}
    yield from ("", f"Scores on {benchmark}, with all its texts embedded anew:", "")
    yield f"| setting | metric | model | {' | '.join(f'`{name}`' for name in files)} |"
    yield f"|---|---|---|{'---|' * len(files)}"
    first: Mapping[str, Mapping[str, float]] = next(iter(files.values()))
    for setting, metrics in first.items():
        for metric in metrics:
            values = [own.get(setting, {}).get(metric), *(file[setting][metric] for file in files.values())]
            told = ["–" if value is None else f"{value:.{digits(metric)}f}" for value in values]
            yield f"| {SETTING_LABELS[setting]} | {_label(metric)} | {' | '.join(told)} |"


def eval_results(source: Source, scores: Scores) -> Iterator[EvalResult]:
    """What the hub shows of a model: each main metric's mean, and the headline by language."""
    for benchmark in scores.benchmarks:
        for setting in scores.settings(benchmark):
            main = {
                metric: scores.means[benchmark, setting, metric] for metric in scores.main_metrics(benchmark, setting)
            }
            yield from _results(source, (benchmark, setting), _MEAN, main)
            if setting == "cross_lingual":
                continue  # a pair each: they stand in the results for mteb
            for (query, _), value in scores.of(benchmark, setting, scores.headline).items():
                name = f"queries in {language(query).name}"
                yield from _results(source, (benchmark, setting), name, {scores.headline: value})


def _results(source: Source, place: tuple[str, str], queries: str, values: Mapping[str, float]) -> Iterator[EvalResult]:
    """The values of some metrics at a place (benchmark, setting), for some `queries` in words."""
    from huggingface_hub import EvalResult

    benchmark, setting = place
    entry: Mapping[str, Any] = source.config.get("benchmarks", {}).get(benchmark, {})
    if is_published(source, benchmark, setting):
        name, data = entry["task"], published_data(entry)
    else:
        name, data = benchmark, Data(f"polybatch/{source.study}-{benchmark}", None, entry.get("split") or SPLIT)
    for metric, value in values.items():
        yield EvalResult(
            task_type="retrieval",
            task_name=f"{SETTING_LABELS[setting]} retrieval",
            dataset_type=data.place,
            dataset_name=f"{name}, {setting}, {queries}",
            dataset_config=f"{setting}, {queries}",
            dataset_split=data.split,
            dataset_revision=data.revision,
            metric_type=metric.replace("@", "_at_"),
            metric_name=metric_label(metric),
            metric_value=round(float(value), 5),
        )
