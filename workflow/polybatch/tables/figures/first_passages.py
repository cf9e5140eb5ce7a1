"""The picture of a study: the languages of the first passages that queries get, before and after training.

inputs: a `View` of one benchmark's scores
outputs: a Vega-Lite chart

A panel a model, a bar a query language: how the first passages of the pool of all languages divide among languages.
The query's own language stands first and in a strong colour, the others in greys, each named in its place. A dark
line marks what the pool holds of the own language, which a retriever without a preference comes near.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError
from polybatch.core.languages import LANGUAGES
from polybatch.retrieval.metrics import LANGUAGE_SHARE, POOL_SHARE
from polybatch.tables.by_language import share_depths
from polybatch.tables.figures.style import INK, titled
from polybatch.tables.findings import before_and_after, model_words, untrained_words
from polybatch.tables.scores import View
from polybatch.tables.summary import Arm, languages_of

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_WIDTH, _ROW = 352, 32
_PANELS = 4
# Vermilion of Okabe and Ito; greys that differ in lightness alone.
_OWN, _CHANCE = "#b8460b", "#1b1b1b"
_GREYS = ("#cfd4da", "#e3e6ea")
# Narrower parts of a bar hold no name.
_NAMED, _COUNTED = 0.055, 0.11


def first_passages(view: View) -> alt.ConcatChart:
    """Shares of languages among the first passages of the pool, as stacked bars by query language."""
    import altair as alt

    depth = share_depths(view)[0]
    arms = _drawn(view)
    parts = [_parts(view, arm, depth) for arm in arms]
    panels = [
        _panel(view, arm, part, first=place % 2 == 0) for place, (arm, part) in enumerate(zip(arms, parts, strict=True))
    ]
    title = _title(view, arms, [_own_mean(part) for part in parts], depth)
    lines = [
        "A bar: the languages of the first passages that queries in one language get from the pool of all languages,",
        f"mean over queries{_seeds(view, arms)}. Dark line: its share of the pool, as without a preference.",
        *_left_out(view, arms),
        *_starred(view),
    ]
    return titled(alt.concat(*panels, columns=2, spacing=36), view, title, lines, name_benchmark=False)


def _drawn(view: View) -> list[Arm]:
    """As it comes and trained, encoder by encoder; without an untrained one, the last arms of the table."""
    pairs = [arm for pair in before_and_after(view) for arm in pair]
    return (pairs or view.arms[-2:])[:_PANELS]


def _title(view: View, arms: Sequence[Arm], own: Sequence[float | None], depth: int) -> str:
    """What the picture shows; with its numbers where there is one before and one after."""
    title = f"Query's own language among the first {depth} passages, on {view.benchmark}"
    if len(own) != 2 or not arms[0].as_it_comes or None in own:
        return title
    return f"{title}: {own[0]:.0%} {untrained_words(view, arms[0].encoder)}, {own[1]:.0%} after"


def _parts(view: View, arm: Arm, depth: int) -> pd.DataFrame:
    """The parts of an arm's bars: query, lang, share, start, end, own, chance, label; means over seeds."""
    import pandas as pd

    scores = view.scores[view.scores["arm"] == arm]
    shares = scores[scores["metric"] == f"{LANGUAGE_SHARE}@{depth}"]
    if shares.empty:
        raise DataError(
            f"No shares of languages of {model_words(view, arm)} on benchmark {view.benchmark}.",
            remedy=f"evaluate the multilingual setting with {LANGUAGE_SHARE}@{depth} among scoring.metrics",
        )
    means = shares.groupby(["query_lang", "corpus_lang"], sort=False)["value"].mean()
    pool = scores[scores["metric"] == POOL_SHARE].groupby("corpus_lang", sort=False)["value"].first()
    order = [lang for group in languages_of(view.summary, view.benchmark) for lang in group]
    names = _names(view)
    rows: list[dict[str, Any]] = []
    for query in (lang for lang in order if lang in means.index.get_level_values(0)):
        start = 0.0
        others = [lang for lang in order if lang in pool.index and lang != query]
        for place, lang in enumerate([*([query] if query in pool.index else []), *others]):
            share = float(means[query, lang])
            own = lang == query
            rows.append(
                {
                    **{"query": names[query], "lang": lang, "share": share, "start": start, "end": start + share},
                    **{"own": own, "chance": float(pool[query]) if own else None, "middle": start + share / 2},
                    "fill": _OWN if own else _GREYS[place % 2],
                    "label": _label(lang, share, own),
                    **_own_place(share, float(pool[query]) if own else 0.0),
                }
            )
            start += share
    return pd.DataFrame(rows)


def _label(lang: str, share: float, own: bool) -> str:
    if own:
        return f"{share:.0%}" if share >= _COUNTED else ""
    return lang if share >= _NAMED else ""


def _own_place(share: float, chance: float) -> dict[str, Any]:
    """Where the own language's number stands: at the end of its part of the bar, or at its start, clear of the line."""
    at_end = share < chance or share - _COUNTED > chance or chance < _COUNTED
    return {"number_x": share - 0.015 if at_end else 0.015, "number_align": "right" if at_end else "left"}


def _names(view: View) -> dict[str, str]:
    """Language -> its English name, with a star where no arm was trained on it."""
    trained, unseen = languages_of(view.summary, view.benchmark)
    known = {
        lang: LANGUAGES[lang].name.partition(" (")[0] if lang in LANGUAGES else lang for lang in (*trained, *unseen)
    }
    return {lang: f"{name}*" if lang in unseen and trained else name for lang, name in known.items()}


def _panel(view: View, arm: Arm, parts: pd.DataFrame, *, first: bool) -> Any:
    import altair as alt

    order = list(dict.fromkeys(parts["query"]))
    base = alt.Chart(parts)
    axis = alt.Axis(
        labels=first, ticks=False, domain=False, labelFontSize=14, labelColor=INK, labelPadding=8, title=None
    )
    y = alt.Y("query:N", sort=order, axis=axis, scale=alt.Scale(paddingInner=0.16, paddingOuter=0.08))
    scale = alt.Scale(domain=[0, 1], nice=False)
    ends = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], title=None, grid=False, labelFontSize=12)
    bars = base.mark_bar(stroke="white", strokeWidth=1).encode(
        alt.X("start:Q", scale=scale, axis=ends), alt.X2("end:Q"), y, alt.Color("fill:N", scale=None)
    )
    numbers = [
        base.transform_filter(f"datum.own && datum.number_align === '{align}'")
        .mark_text(fontSize=13, color="white", fontWeight=700, align=align)
        .encode(alt.X("number_x:Q", scale=scale), y, alt.Text("label:N"))
        for align in ("left", "right")
    ]
    names = (
        base.transform_filter("!datum.own")
        .mark_text(fontSize=12, color="#3d434a")
        .encode(alt.X("middle:Q", scale=scale), y, alt.Text("label:N"))
    )
    text = [*numbers, names]
    chance = (
        base.transform_filter("datum.own")
        .mark_tick(color=_CHANCE, thickness=2, size=_ROW)
        .encode(alt.X("chance:Q", scale=scale), y)
    )
    told = alt.Chart(parts[parts["own"]].head(1)).mark_text(fontSize=12, color=INK, align="left", dx=-4, dy=-9)
    pool = told.encode(alt.X("chance:Q", scale=scale), y=alt.value(0), text=alt.value(_pool_words(parts)))
    words, own = model_words(view, arm), _own_mean(parts)
    title = alt.TitleParams(
        words if "encoder" in view.summary.varying else words[0].upper() + words[1:],
        subtitle="" if own is None else f"own language {own:.0%}",
        anchor="start",
        frame="group",
        fontSize=14,
        subtitleFontSize=14,
        subtitleFontWeight=700,
        subtitleColor=_OWN,
        offset=8,
    )
    return alt.layer(bars, *text, chance, pool).properties(width=_WIDTH, height=_ROW * len(order), title=title)


def _pool_words(parts: pd.DataFrame) -> str:
    """What the dark line says: a number where it is the same for all languages."""
    shares = parts[parts["own"]]["chance"]
    return f"pool {shares.mean():.0%}" if shares.max() - shares.min() < 0.005 else "pool"


def _own_mean(parts: pd.DataFrame) -> float | None:
    """The mean over query languages of the own language's share; None where the pool holds none of them."""
    own = parts[parts["own"]]["share"]
    return float(own.mean()) if len(own) else None


def _seeds(view: View, arms: list[Arm]) -> str:
    counts = view.scores[view.scores["arm"].isin(set(arms))].groupby("arm")["seed"].nunique()
    return " and seeds" if counts.max() > 1 else ""


def _left_out(view: View, arms: list[Arm]) -> list[str]:
    """How many models are not drawn."""
    rest = len(view.arms) - len(arms)
    return [f"Further models of the study, in language_share-{view.benchmark}: {rest}."] if rest > 0 else []


def _starred(view: View) -> list[str]:
    trained, unseen = languages_of(view.summary, view.benchmark)
    return ["* no model was trained on it in this study"] if trained and unseen else []
