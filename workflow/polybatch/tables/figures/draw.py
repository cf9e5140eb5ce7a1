"""The figures of a study.

inputs: a `View` of one benchmark's scores
outputs: Vega-Lite charts

Up to four figures a benchmark: the trade-off between the monolingual and the cross-lingual setting, the matrix of
language pairs, the scores by query language, and the languages at the top of the pool. `FIGURES` names them and those
of `trends`. Every mark is labelled or in a legend, and bars start at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError
from polybatch.retrieval.metrics import LANGUAGE_SHARE, POOL_SHARE
from polybatch.tables.by_language import share_depths
from polybatch.tables.figures.labels import place_labels
from polybatch.tables.figures.style import GREY, INK, colours, titled
from polybatch.tables.figures.trends import by_alpha, by_encoder, by_num_pairs, by_num_translated
from polybatch.tables.scores import View
from polybatch.tables.summary import SETTING_LABELS, UNTRAINED, languages_of, mean_and_spread, metric_label

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_SIZE = 440
_CELL = 40


def trade_off(view: View) -> alt.LayerChart:
    """Monolingual against cross-lingual score: a small mark a seed, a large one their mean, named beside it."""
    import altair as alt
    import pandas as pd

    seeds = _trade_off_points(view)
    if seeds.empty:
        raise DataError(
            f"No run has both a monolingual and a cross-lingual {view.headline} on benchmark {view.benchmark}.",
            remedy="see the notes of the main table for what is missing, and run the evaluation again",
        )
    arms = [arm for arm in view.arms if view.summary.label(arm) in set(seeds["arm"])]
    labels = [view.summary.label(arm) for arm in arms]
    means = seeds.groupby("arm", sort=False)[["x", "y"]].mean().reset_index()
    floor = means[means["arm"].isin([view.summary.label(arm) for arm in arms if arm.sampling == UNTRAINED])]
    shown, note = _set_floor_aside(seeds, floor)
    domains = [_domain(shown[axis]) for axis in ("x", "y")]
    means = means[means["arm"].isin(set(shown["arm"]))].reset_index(drop=True)
    sampling = {view.summary.label(arm): arm.sampling for arm in arms}
    paths = means.assign(sampling=means["arm"].map(sampling), order=range(len(means)))
    named = means.assign(arm=_names(paths))
    points = [shown[axis].tolist() for axis in ("x", "y")]
    placed = pd.DataFrame(place_labels(named, domains, points, (_SIZE, _SIZE)))
    palette = colours(arms, labels)
    metric = metric_label(view.headline)
    scales = [alt.Scale(domain=domain, nice=False, zero=False) for domain in domains]
    x = alt.X("x:Q", title=f"monolingual {metric} →", scale=scales[0], axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=f"cross-lingual {metric} →", scale=scales[1], axis=alt.Axis(tickCount=6))
    colour = alt.Color("arm:N", scale=alt.Scale(domain=list(palette), range=list(palette.values())), legend=None)
    small = alt.Chart(shown).mark_circle(size=42, opacity=0.45).encode(x, y, colour)
    large = alt.Chart(means).mark_point(size=190, filled=True, opacity=1, stroke="white", strokeWidth=1.2)
    joined = (
        alt.Chart(paths)
        .mark_line(color="#c4c4c4", strokeWidth=1.4)
        .encode(x, y, alt.Detail("sampling:N"), alt.Order("order:Q"))
    )
    rules = _leaders(placed, scales)
    text = [
        alt.Chart(part)
        .mark_text(align=align, baseline="middle", fontSize=13, color=INK, fontWeight=500)
        .encode(alt.X("label_x:Q", scale=scales[0]), alt.Y("label_y:Q", scale=scales[1]), alt.Text("arm:N"))
        for align, part in placed.groupby("align")
    ]
    chart = alt.layer(joined, *rules, small, large.encode(x, y, colour), *text).properties(width=_SIZE, height=_SIZE)
    several = "small: one seed, large: mean over seeds" if len(shown) > len(means) else "one seed each"
    lines = [f"{several}; up and to the right is better", *note]
    if len(set(paths["sampling"])) < len(paths):
        lines.append("grey lines join the means of one sampling in the order of the main table")
    return titled(chart, view, f"Monolingual against cross-lingual {metric}", lines)


def _trade_off_points(view: View) -> pd.DataFrame:
    macro = view.summary.macro
    part = macro[(macro["benchmark"] == view.benchmark) & (macro["metric"] == view.headline)]
    wide = part.pivot(index=["arm", "seed"], columns="setting", values="value").reindex(
        columns=["monolingual", "cross_lingual"]
    )
    wide = wide.dropna().reset_index().rename(columns={"monolingual": "x", "cross_lingual": "y"})
    wide["arm"] = [view.summary.label(arm) for arm in wide["arm"]]
    return wide[["arm", "seed", "x", "y"]]


def _set_floor_aside(seeds: pd.DataFrame, floor: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leaves the untrained floor out of the axes, in words, where it would squeeze the trained arms together."""
    trained = seeds[~seeds["arm"].isin(floor["arm"])]
    if trained.empty or floor.empty:
        return seeds, []
    far = any(
        abs(float(trained[axis].mean()) - float(floor[axis].mean())) > 2.0 * max(_extent(trained[axis]), 1e-9)
        for axis in ("x", "y")
    )
    if not far:
        return seeds, []
    told = ", ".join(f"{row.arm} at ({row.x:.3f}, {row.y:.3f})" for row in floor.itertuples())
    return trained, [f"outside the axes, which do not start at zero: {told}"]


def _extent(values: Any) -> float:
    return float(max(values) - min(values))


def _domain(values: Any) -> list[float]:
    """The values' range with room for labels."""
    room = max(0.18 * _extent(values), 0.004)
    return [max(0.0, float(min(values)) - room), min(1.0, float(max(values)) + room)]


def _names(paths: pd.DataFrame) -> list[str]:
    """Labels; inside a path of one sampling's arms only what tells them apart, so that names do not crowd it."""
    names = []
    for place, (arm, sampling) in enumerate(zip(paths["arm"], paths["sampling"], strict=True)):
        inside = sampling in set(paths["sampling"][:place]) and sampling in set(paths["sampling"][place + 1 :])
        names.append(arm.removeprefix(f"{sampling}-").removeprefix(f"{sampling} · ") if inside else arm)
    return names


def _leaders(placed: pd.DataFrame, scales: Sequence[alt.Scale]) -> list[alt.Chart]:
    """Thin lines from a mark to a name that had to stand off."""
    import altair as alt

    spans = [placed[axis].max() - placed[axis].min() or 1.0 for axis in ("x", "y")]
    distance = ((placed["label_x"] - placed["x"]) / spans[0]).abs() + (
        (placed["label_y"] - placed["y"]) / spans[1]
    ).abs()
    far = placed[distance > 0.12]
    if far.empty:
        return []
    return [
        alt.Chart(far)
        .mark_rule(color=GREY, strokeWidth=0.7)
        .encode(alt.X("x:Q", scale=scales[0]), alt.Y("y:Q", scale=scales[1]), x2="label_x:Q", y2="label_y:Q")
    ]


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
        columns=min(3, len(labels)),
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
    "trade_off": trade_off,
    "language_pairs": language_pairs,
    "by_language": by_language,
    "by_alpha": by_alpha,
    "by_num_pairs": by_num_pairs,
    "by_num_translated": by_num_translated,
    "by_encoder": by_encoder,
    "language_share": language_share,
}
