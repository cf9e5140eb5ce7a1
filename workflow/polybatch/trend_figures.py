"""The figures of studies that vary a number: the share of monolingual batches, or how many pairs are trained on.

inputs: a `View` of one benchmark's scores
outputs: Vega-Lite charts, one panel a setting: every seed a small mark, their means joined by a line
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polybatch.figure_style import INK, colours, titled
from polybatch.score_tables import View
from polybatch.summary import SETTING_LABELS, UNTRAINED, Arm, metric_label, size_order

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_WIDTH, _HEIGHT = 250, 240
_LEGEND = "small: one seed, line: mean over seeds; higher is better; axes do not start at zero"
# What alpha 0 and alpha 1 are by definition, drawn where runs of them exist.
_ENDS = {"x-y": 0.0, "x-x-mono": 1.0}


def by_alpha(view: View) -> alt.HConcatChart:
    """Score against the share of monolingual batches in hybrid; x-y and x-x-mono stand at its ends.

    An alpha that changes over the training stands at its mean, named, and no line joins it.
    """
    import altair as alt

    frame = _points(view, [arm for arm in view.arms if arm.sampling in ("hybrid", *_ENDS)])
    frame["x"] = [_alpha_of(arm) for arm in frame["arm"]]
    frame["series"] = [_rest(view, arm) or "hybrid" for arm in frame["arm"]]
    frame["apart"] = [arm.sampling in _ENDS or arm.schedule is not None for arm in frame["arm"]]
    frame["told"] = [f"{arm.schedule[0]:g} to {arm.schedule[1]:g}" if arm.schedule else "" for arm in frame["arm"]]
    x = alt.X("x:Q", title="alpha, share of monolingual batches", scale=alt.Scale(domain=[-0.04, 1.04], nice=False))
    lines = [_LEGEND]
    ends = [name for name in _ENDS if any(arm.sampling == name for arm in frame["arm"])]
    if ends:
        lines.append(f"hollow: {' and '.join(f'{name} at {_ENDS[name]:g}' for name in ends)}, which no line joins")
    if frame["told"].any():
        lines.append("hollow and named: alpha changes evenly over the training, drawn at its mean")
    return _panels(view, frame, x, f"{metric_label(view.headline)} by alpha", lines)


def _alpha_of(arm: Arm) -> float | None:
    if arm.schedule is not None:
        return sum(arm.schedule) / 2
    return _ENDS.get(arm.sampling, arm.constant_alpha)


def by_num_pairs(view: View) -> alt.HConcatChart:
    """Score against the number of training pairs, one line a sampling."""
    return _by_size(view, "num_pairs", "number of training pairs", "training pairs")


def by_num_translated(view: View) -> alt.HConcatChart:
    """Score against the number of machine-translated pairs of a language, one line a sampling; en-en stands at 0."""
    return _by_size(view, "num_translated", "number of machine-translated pairs", "translated pairs a language")


def _by_size(view: View, part: str, title: str, axis: str) -> alt.HConcatChart:
    import altair as alt

    arms = [arm for arm in view.arms if arm.sampling != UNTRAINED]
    frame = _points(view, arms)
    frame["x"] = [getattr(arm, part) or "0" for arm in frame["arm"]]
    frame["series"] = [
        " · ".join(filter(None, [_encoder(view, arm), arm.sampling_label, *_others(view, arm, part)]))
        for arm in frame["arm"]
    ]
    frame["apart"], frame["told"] = False, ""
    sizes = sorted(set(frame["x"]), key=size_order)
    x = alt.X("x:O", title=f"{axis} (even steps)", sort=sizes, axis=alt.Axis(labelAngle=0))
    return _panels(view, frame, x, f"{metric_label(view.headline)} by {title}", [_LEGEND])


def _points(view: View, arms: Sequence[Arm]) -> pd.DataFrame:
    macro = view.summary.macro
    part = macro[(macro["benchmark"] == view.benchmark) & (macro["metric"] == view.headline)].dropna(subset="value")
    place = {arm: i for i, arm in enumerate(arms)}
    part = part[part["arm"].isin(set(arms))]
    return part.sort_values("arm", key=lambda column: column.map(place), kind="stable").reset_index(drop=True)


def _encoder(view: View, arm: Arm) -> str:
    return arm.encoder if "encoder" in view.summary.varying else ""


def _rest(view: View, arm: Arm) -> str:
    """What tells an arm from others of its alpha."""
    return " · ".join(filter(None, [_encoder(view, arm), *_others(view, arm)]))


def _others(view: View, arm: Arm, but: str = "") -> list[str]:
    """What else the study varies of an arm, beyond encoder and sampling, `but` for the part that is drawn."""
    words = {
        "num_pairs": f"n={arm.num_pairs}",
        "num_translated": f"mt={arm.num_translated}",
        "languages": arm.languages,
    }
    return [text for part, text in words.items() if part in view.summary.varying and part != but and getattr(arm, part)]


def _panels(view: View, frame: pd.DataFrame, x: Any, title: str, lines: Sequence[str]) -> alt.HConcatChart:
    """One panel a setting. `frame` has arm, seed, setting, value, x, series, apart (no line joins it) and told."""
    import altair as alt

    frame = frame.assign(sampling=[arm.sampling for arm in frame["arm"]]).drop(columns=["arm", "benchmark", "metric"])
    series = list(dict.fromkeys(frame["series"]))
    palette = _palette(view, series)
    colour = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=series, range=[palette[name] for name in series]),
        legend=alt.Legend(orient="top", columns=5, labelLimit=400, labelFontSize=13, symbolOpacity=1)
        if len(series) > 1
        else None,
    )
    panels = []
    for setting in [name for name in SETTING_LABELS if name in set(frame["setting"])]:
        of_setting = frame[frame["setting"] == setting]
        keys = ["series", "x", "sampling", "apart", "told"]
        means = of_setting.groupby(keys, sort=False)["value"].mean().reset_index()
        y = alt.Y("value:Q", title=metric_label(view.headline), scale=alt.Scale(zero=False, padding=12))
        seeds = alt.Chart(of_setting).mark_circle(size=36, opacity=0.4).encode(x, y, colour)
        joined, apart = means[~means["apart"]], means[means["apart"]]
        line = alt.Chart(joined).mark_line(strokeWidth=2).encode(x, y, colour)
        dots = alt.Chart(joined).mark_point(size=70, filled=True, opacity=1).encode(x, y, colour)
        layers = [seeds, line, dots]
        if len(apart):
            layers.append(alt.Chart(apart).mark_point(size=80, strokeWidth=2).encode(x, y, colour))
        if apart["told"].any():
            named = alt.Chart(apart[apart["told"] != ""]).mark_text(dy=-13, fontSize=11, color=INK)
            layers.append(named.encode(x, y, alt.Text("told:N")))
        label = alt.TitleParams(SETTING_LABELS[setting], anchor="start", fontSize=14, offset=6)
        panels.append(alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=label))
    return titled(alt.hconcat(*panels, spacing=86, bounds="flush"), view, title, lines)


def _palette(view: View, series: Sequence[str]) -> dict[str, str]:
    """The samplings' own colours where the lines are samplings, else colours of hybrid and of other samplings."""
    own = {arm.sampling_label: arm for arm in view.arms}
    if all(name in own for name in series):
        return colours([own[name] for name in series], series)
    hues = ["hybrid", "x-x-mono", "x-y", "en-en", "x-x", UNTRAINED]
    stand_ins = [Arm(name, hues[place % len(hues)], None, "", "", "") for place, name in enumerate(series)]
    return colours(stand_ins, series)
