"""The tables of retrieval scores by language.

inputs: a `View` of one benchmark's scores
outputs: `Table`s: monolingual, cross_lingual, multilingual, rank_distance, language_share
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import LANGUAGE_SHARE, POOL_SHARE, RANK_DISTANCE, is_bias_metric, is_share
from polybatch.tables.bias import language_bias_table
from polybatch.tables.forms.table import Cell, Column, Table, mark_best, text_column
from polybatch.tables.scores import View, arm_cells, arm_columns, constants, score_cell
from polybatch.tables.summary import better, digits, languages_of, metric_label


class Kind(NamedTuple):
    """A table of arms against query languages: its name, whose scores it shows, and its words."""

    name: str
    setting: str
    metric: str
    title: str
    caption: str


def language_tables(view: View) -> list[Table]:
    """The tables by language of the benchmark's settings, in the order of the report."""
    headline = metric_label(view.headline)
    monolingual = Kind(
        "monolingual",
        "monolingual",
        view.headline,
        f"Monolingual {headline} by language",
        f"Queries and corpus in the same language, {headline}, higher is better.",
    )
    multilingual = Kind(
        "multilingual",
        "multilingual",
        view.headline,
        f"Multilingual {headline} by query language",
        f"Queries of the column's language against the pool of all languages' passages, {headline}, higher is better.",
    )
    rank_distance = Kind(
        RANK_DISTANCE,
        "multilingual",
        RANK_DISTANCE,
        "Rank distance by query language",
        "Ranks between the best and the worst placed relevant passage in the pool of all languages: "
        "language bias, lower is better.",
    )
    metrics = set(view.scores["metric"])
    makers = {
        "monolingual": lambda: [language_table(view, monolingual)],
        "cross_lingual": lambda: [cross_lingual_table(view)],
        "multilingual": lambda: [
            language_table(view, multilingual),
            *([language_table(view, rank_distance)] if RANK_DISTANCE in metrics else []),
            *([language_bias_table(view)] if any(is_bias_metric(m) and not is_share(m) for m in metrics) else []),
            *([language_share_table(view)] if share_depths(view) else []),
        ],
    }
    return [table for setting in SETTINGS if setting in view.settings for table in makers[setting]()]


def language_table(view: View, kind: Kind) -> Table:
    """Arms against query languages in the monolingual or the multilingual setting, with the macro average."""
    setting, metric = kind.setting, kind.metric
    trained, unseen = languages_of(view.summary, view.benchmark)
    part = view.scores[(view.scores["setting"] == setting) & (view.scores["metric"] == metric)]
    require_rows(view, setting, metric, len(part))
    present = set(part["query_lang"])
    columns = [
        Column(lang, lang, group, digits=digits(metric), better=better(metric))
        for group, langs in (("Trained languages", trained), ("Evaluation only", unseen))
        for lang in langs
        if lang in present
    ]
    grouped = part.groupby(["arm", "query_lang"], sort=False)["value"]
    values = {(arm, lang): list(found) for (arm, lang), found in grouped}
    macro = view.macro()
    average = Column("macro", "mean", "All", digits=digits(metric), better=better(metric))
    table = Table(
        name=f"{kind.name}-{view.benchmark}",
        title=f"{kind.title} on {view.benchmark}",
        caption=f"{kind.caption} Mean over seeds ± sample standard deviation. Bold: best of the column."
        f"{_evaluation_only(unseen)}{constants(view.summary)}",
        columns=[*arm_columns(view.summary), *columns, average],
        rows=[
            [
                *arm_cells(view.summary, arm),
                *(score_cell(values.get((arm, column.key), [])) for column in columns),
                score_cell(macro.get((arm, setting, metric), [])),
            ]
            for arm in view.arms
        ],
        notes=[*_left_out_note(view), *_training_notes(view)],
        data_mark=view.data_mark,
    )
    return mark_best(table)


def require_rows(view: View, setting: str, metric: str, count: int) -> None:
    """Refuses to make a table that would be empty."""
    if not count:
        there = view.scores[view.scores["setting"] == setting]["metric"]
        raise DataError(
            f"No {metric} scores in the {setting} setting of benchmark {view.benchmark}.",
            expected=f"{metric}, which tables.headline names" if metric == view.headline else metric,
            found=", ".join(map(str, dict.fromkeys(there))) or "no scores in this setting",
            remedy="name one of the metrics found as tables.headline in the config"
            if len(there)
            else f"evaluate that setting, or leave it out of benchmarks.{view.benchmark}.settings in the config",
        )


def _evaluation_only(unseen: Sequence[str]) -> str:
    if not unseen:
        return ""
    return f" No row was trained on {', '.join(unseen)}: evaluation only."


def _left_out_note(view: View) -> list[str]:
    absent = view.summary.left_out.get(view.benchmark, ())
    return [f"The mean leaves out {', '.join(absent)}."] if absent else []


def _training_notes(view: View) -> list[str]:
    samplings = {arm.sampling for arm in view.arms}
    notes = ["en-en was trained on English alone: every other language is zero-shot in that row."]
    return notes if "en-en" in samplings and len(samplings) > 1 else []


def cross_lingual_table(view: View) -> Table:
    """One block of rows an arm: query languages down, corpus languages across."""
    metric = view.headline
    part = view.scores[(view.scores["setting"] == "cross_lingual") & (view.scores["metric"] == metric)]
    require_rows(view, "cross_lingual", metric, len(part))
    trained, unseen = languages_of(view.summary, view.benchmark)
    langs, corpora = (
        [lang for lang in (*trained, *unseen) if lang in set(part[side])] for side in ("query_lang", "corpus_lang")
    )
    grouped = part.groupby(["arm", "query_lang", "corpus_lang"], sort=False)["value"]
    values = {(arm, query, corpus): list(found) for (arm, query, corpus), found in grouped}
    rows = [
        [
            *arm_cells(view.summary, arm),
            Cell(query),
            *(Cell("·") if query == corpus else score_cell(values.get((arm, query, corpus), [])) for corpus in corpora),
        ]
        for arm in view.arms
        for query in langs
    ]
    columns = [
        Column(lang, lang, "Trained corpus languages" if lang in trained else "Evaluation only", digits=digits(metric))
        for lang in corpora
    ]
    return Table(
        name=f"cross_lingual-{view.benchmark}",
        title=f"Cross-lingual {metric_label(metric)} by language pair on {view.benchmark}",
        caption="Queries of the row's language searched in the corpus of the column's language, "
        f"{metric_label(metric)}, higher is better; mean over seeds ± sample standard deviation. The diagonal is the "
        f"monolingual setting and stands in its own table.{_evaluation_only(unseen)}{constants(view.summary)}",
        columns=[*arm_columns(view.summary), text_column("query_lang", "query"), *columns],
        rows=rows,
        notes=_training_notes(view),
        data_mark=view.data_mark,
    )


def share_depths(view: View) -> list[int]:
    """The cut-offs that language shares were measured at, rising."""
    names = [name for name in set(view.scores["metric"]) if name.startswith(f"{LANGUAGE_SHARE}@")]
    return sorted(int(name.partition("@")[2]) for name in names)


def language_share_table(view: View) -> Table:
    """One block of rows an arm: query languages down, shares of the passages' languages at the top across."""
    depths = share_depths(view)
    names = {f"{LANGUAGE_SHARE}@{depth}": f"Top {depth}" for depth in depths}
    part = view.scores[view.scores["metric"].isin([*names, POOL_SHARE])]
    trained, unseen = languages_of(view.summary, view.benchmark)
    langs, corpora = (
        [lang for lang in (*trained, *unseen) if lang in set(part[side])] for side in ("query_lang", "corpus_lang")
    )
    grouped = part.groupby(["arm", "query_lang", "corpus_lang", "metric"], sort=False)["value"]
    values = {key: list(found) for key, found in grouped}
    pool = part[part["metric"] == POOL_SHARE].groupby("corpus_lang")["value"].first()
    blank = [Cell(None) for _ in arm_columns(view.summary)][1:]
    rows = [[Cell("pool"), *blank, Cell("–"), *(Cell(float(pool[lang])) for _ in names for lang in corpora)]]
    rows += [
        [
            *arm_cells(view.summary, arm),
            Cell(query),
            *(score_cell(values.get((arm, query, lang, name), [])) for name in names for lang in corpora),
        ]
        for arm in view.arms
        for query in langs
    ]
    columns = [
        Column(f"{name}.{lang}", lang, label, digits=1, percent=True)
        for name, label in names.items()
        for lang in corpora
    ]
    return Table(
        name=f"{LANGUAGE_SHARE}-{view.benchmark}",
        title=f"Languages at the top of the pool on {view.benchmark}",
        caption="Queries of the row's language against the pool of all languages' passages: the share of passages in "
        "the column's language among the first ones, mean over queries and seeds ± sample standard deviation. The "
        "first row is the pool's own: a retriever without a preference for a language comes near it."
        f"{_evaluation_only(unseen)}{constants(view.summary)}",
        columns=[*arm_columns(view.summary), text_column("query_lang", "query"), *columns],
        rows=rows,
        notes=_training_notes(view),
        data_mark=view.data_mark,
    )
