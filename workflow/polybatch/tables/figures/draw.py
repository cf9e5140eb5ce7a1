"""The figures of a study.

inputs: a `View` of one benchmark's scores
outputs: Vega-Lite charts

Here are the matrix of language pairs, the scores by query language, and the languages at the top of the pool. `FIGURES`
names all figures, also those of the modules beside this one. Every mark is labelled or in a legend; bars start at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polybatch.retrieval.metrics import LANGUAGE_SHARE, POOL_SHARE
from polybatch.tables.by_language import share_depths
from polybatch.tables.figures.first_passages import first_passages
from polybatch.tables.figures.style import INK, colours, titled
from polybatch.tables.figures.trade_off import trade_off
from polybatch.tables.figures.trends import by_alpha, by_encoder, by_num_pairs, by_num_translated, by_share
from polybatch.tables.scores import View
from polybatch.tables.summary import SETTING_LABELS, languages_of, mean_and_spread, metric_label

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_SIZE = 440
_CELL = 40


def language_pairs(view: View) -> alt.FacetChart:
    """A heat map an arm: query languages down, corpus languages across, the monolingual diagonal framed."""
    part = view.scores[(view.scores["metric"] == view.headline) & (view.scores["setting"] != "multilingual")]
    chart, starred = _heat_maps(view, part, metric_label(view.headline), "corpus language", ".2f")
    lines = ["mean over seeds; the framed diagonal is the monolingual setting; colour starts at zero, higher is better"]
    return titled(chart, view, f"{metric_label(view.headline)} by query and corpus language", [*lines, *starred])


def language_share(view: View) -> alt.FacetChart:
    """A heat map an arm: query languages down, the languages of the first passages of the pool across."""
    depth = share_depths(view)[0]
    part = view.scores[view.scores["metric"] == f"{LANGUAGE_SHARE}@{depth}"]
    pool = view.scores[view.scores["metric"] == POOL_SHARE].groupby("corpus_lang", sort=False)["value"].first()
    chart, starred = _heat_maps(view, part, f"share of top {depth}", "language of the passages", ".0%")
    lines = [
        "mean over queries and seeds; framed: passages in the query's own language; colour starts at zero",
        f"the pool itself holds {', '.join(f'{lang} {share:.0%}' for lang, share in pool.items())}",
    ]
    return titled(chart, view, f"Languages among the first {depth} of the pool", [*lines, *starred])


def _heat_maps(view: View, part: pd.DataFrame, title: str, across: str, form: str) -> tuple[alt.FacetChart, list[str]]:
    """One panel an arm of the mean over seeds of `part`'s values; and what a star means, if there is one."""
    import altair as alt
    import pandas as pd

    trained, unseen = languages_of(view.summary, view.benchmark)
    order = [lang for lang in (*trained, *unseen) if lang in set(part["query_lang"]) | set(part["corpus_lang"])]
    names = {lang: f"{lang}*" if lang in unseen and trained else lang for lang in order}
    rows = [
        {"arm": view.summary.label(arm), "query": names[query], "corpus": names[corpus], "value": mean}
        for (arm, query, corpus), values in part.groupby(["arm", "query_lang", "corpus_lang"], sort=False)["value"]
        if (mean := mean_and_spread(list(values))[0]) is not None
    ]
    frame = pd.DataFrame(rows)
    labels = [view.summary.label(arm) for arm in view.arms]
    high = float(frame["value"].max())
    sides = {side: [name for name in names.values() if name in set(frame[side])] for side in ("corpus", "query")}
    x = alt.X("corpus:N", title=across, sort=sides["corpus"], axis=alt.Axis(labelAngle=0, orient="bottom"))
    y = alt.Y("query:N", title="query language", sort=sides["query"])
    base = alt.Chart().encode(x, y)
    tiles = base.mark_rect().encode(
        alt.Color(
            "value:Q",
            scale=alt.Scale(scheme="viridis", domain=[0, high]),
            title=title,
            legend=alt.Legend(format=form),
        )
    )
    text = base.mark_text(fontSize=11).encode(
        alt.Text("value:Q", format=form),
        color=alt.condition(alt.datum.value > 0.55 * high, alt.value(INK), alt.value("white")),
    )
    framed = base.transform_filter("datum.query === datum.corpus").mark_rect(
        fillOpacity=0, stroke="white", strokeWidth=1.6
    )
    width, height = (_CELL * len(sides[side]) for side in ("corpus", "query"))
    panel = alt.layer(tiles, framed, text, data=frame).properties(width=width, height=height)
    chart = panel.facet(
        facet=alt.Facet("arm:N", sort=labels, title=None, header=alt.Header(labelFontSize=14, labelFontWeight="bold")),
        columns=2 if len(labels) == 4 else min(3, len(labels)),
    ).resolve_scale(x="independent", y="independent")
    return chart, _starred(unseen, trained)


def by_language(view: View) -> alt.VConcatChart:
    """Bars from zero: arms side by side for every query language, one panel a setting, whiskers of one deviation."""
    import altair as alt
    import pandas as pd

    frame = pd.DataFrame(_language_rows(view))
    trained, unseen = languages_of(view.summary, view.benchmark)
    labels = [view.summary.label(arm) for arm in view.arms]
    palette = colours(view.arms, labels)
    order = [f"{lang}*" if lang in unseen and trained else lang for lang in (*trained, *unseen)]
    metric = metric_label(view.headline)
    settings = [label for label in SETTING_LABELS.values() if label in set(frame["setting"])]
    scale = alt.Scale(domain=[0, 1.05 * float(frame[["mean", "high"]].max().max())], nice=False)
    colour = alt.Color(
        "arm:N",
        scale=alt.Scale(domain=list(palette), range=list(palette.values())),
        title=None,
        legend=alt.Legend(orient="top", columns=6, symbolType="square", labelLimit=400, labelFontSize=13),
    )
    panels = []
    for setting in settings:
        axis = alt.Axis(labelAngle=0, ticks=False, labelFontSize=13, labelPadding=6)
        last = "query language" if setting == settings[-1] else None
        base = alt.Chart(frame[frame["setting"] == setting]).encode(
            alt.X("lang:N", sort=order, title=last, axis=axis, scale=alt.Scale(paddingInner=0.18, paddingOuter=0.1)),
            alt.XOffset("arm:N", sort=labels),
        )
        bars = base.mark_bar().encode(alt.Y("mean:Q", title=metric, scale=scale), colour)
        whiskers = base.mark_rule(color=INK, strokeWidth=1.2).encode(alt.Y("low:Q", scale=scale), alt.Y2("high:Q"))
        title = alt.TitleParams(setting, anchor="start", fontSize=14, offset=6)
        width = max(560, len(order) * (len(labels) * 13 + 16))
        panels.append(alt.layer(bars, whiskers).properties(width=width, height=170, title=title))
    spread = "mean over seeds, whiskers one standard deviation" if frame["high"].notna().any() else "one seed each"
    lines = [f"{spread}; cross-lingual: mean over the other languages' corpora"]
    return titled(alt.vconcat(*panels), view, f"{metric} by query language", [*lines, *_starred(unseen, trained)])


def _language_rows(view: View) -> list[dict[str, Any]]:
    part = view.scores[view.scores["metric"] == view.headline]
    trained, unseen = languages_of(view.summary, view.benchmark)
    rows = []
    by_seed = part.groupby(["arm", "setting", "query_lang", "seed"], sort=False)["value"].agg(
        lambda v: v.mean(skipna=False)
    )
    for (arm, setting, lang), values in by_seed.groupby(level=[0, 1, 2], sort=False):
        mean, spread, _ = mean_and_spread(list(values))
        if mean is None:
            continue
        rows.append(
            {
                "arm": view.summary.label(arm),
                "setting": SETTING_LABELS[setting],
                "lang": f"{lang}*" if lang in unseen and trained else lang,
                "mean": mean,
                "low": None if spread is None else mean - spread,
                "high": None if spread is None else mean + spread,
            }
        )
    return rows


def _starred(unseen: Sequence[str], trained: Sequence[str]) -> list[str]:
    return [f"* evaluation only: no run was trained on {', '.join(unseen)}"] if unseen and trained else []


FIGURES = {
    "first_passages": first_passages,
    "trade_off": trade_off,
    "language_pairs": language_pairs,
    "by_language": by_language,
    "by_alpha": by_alpha,
    "by_share": by_share,
    "by_num_pairs": by_num_pairs,
    "by_num_translated": by_num_translated,
    "by_encoder": by_encoder,
    "language_share": language_share,
}
