"""The figures of studies that vary a number: the share of monolingual batches or of trained weights, how many pairs are
trained on, or the size of the encoder.

inputs: a `View` of one benchmark's scores; the metric drawn is its headline metric
outputs: Vega-Lite charts, one panel a setting: every seed a small mark, their means joined by a line
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from polybatch.config.grid import NONE, WHOLE
from polybatch.core.errors import DataError
from polybatch.tables.cures import spelled
from polybatch.tables.figures.labels import place_labels
from polybatch.tables.figures.style import GREY, INK, colours, titled
from polybatch.tables.scores import View
from polybatch.tables.summary import SETTING_LABELS, UNTRAINED, Arm, better, metric_label, size_order

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_WIDTH, _HEIGHT = 250, 240
_WIDE = 340
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
# A name this many pixels from its mark is joined to it by a thin line.
_FAR = 42
# How an encoder's name ends with its size: xlm-r-large, e5-small, qwen3-0.6b.
_SIZE_WORD = re.compile(r"nano|tiny|mini|small|medium|base|large|x+l|huge|[0-9]+(\.[0-9]+)?[mb]", re.IGNORECASE)
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
    lines = [_legend(view)]
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


def by_share(view: View) -> alt.HConcatChart:
    """Score against the share of trained weights in a mixture with those before, one line a way of training.

    At 0 stands what the training began with, where it was scored. Trainings without a mixture are left out where others
    have some.
    """
    import altair as alt
    import pandas as pd

    trained = [arm for arm in view.arms if arm.sampling != UNTRAINED]
    mixed = {arm: arm._replace(share=WHOLE) for arm in trained}
    several = {whole for arm, whole in mixed.items() if arm.share != WHOLE}
    drawn = [arm for arm in trained if mixed[arm] in several] or trained
    frame = _points(view, drawn)
    frame["x"] = [float(arm.share) for arm in frame["arm"]]
    frame["series"] = [_way(view, mixed[arm]) for arm in frame["arm"]]
    parts = [frame]
    scored = set(_points(view, view.arms)["arm"])
    for whole in dict.fromkeys(mixed[arm] for arm in drawn):
        start = [arm for arm in view.arms if _is_start(arm, whole) and arm in scored]
        parts += [_points(view, start).assign(x=0.0, series=_way(view, whole))] if start else []
    frame = pd.concat(parts, ignore_index=True).assign(apart=False, told="")
    x = alt.X("x:Q", title="w, share of the trained weights", scale=alt.Scale(domain=[-0.04, 1.04], nice=False))
    lines = [_legend(view), "0: before the training, 1: the trained model"]
    return _panels(view, frame, x, f"{metric_label(view.headline)} by share of the trained weights", lines)


def _way(view: View, arm: Arm, but: str = "") -> str:
    """An arm in words, `but` for the part that is drawn."""
    return " · ".join(filter(None, [_encoder(view, arm), arm.sampling_label, *_others(view, arm, but)]))


def _is_start(arm: Arm, trained: Arm) -> bool:
    """Whether an arm is the untrained encoder that a mixture with no trained weights at all would be."""
    if arm.sampling != UNTRAINED or arm.encoder != trained.encoder or NONE not in (trained.begin, trained.projection):
        return False
    return arm.projection == (trained.projection if trained.begin == NONE else trained.begin)


def by_num_pairs(view: View) -> alt.HConcatChart:
    """Score against the number of training pairs, one line a sampling."""
    return _by_size(view, "num_pairs", "number of training pairs", "training pairs")


def by_num_translated(view: View) -> alt.HConcatChart:
    """Score against the number of machine-translated pairs, one line a sampling; en-en stands at 0.

    A pair counts that was translated into at least one language.
    """
    return _by_size(view, "num_translated", "number of machine-translated pairs", "pairs with a translation")


def _by_size(view: View, part: str, title: str, axis: str) -> alt.HConcatChart:
    import altair as alt

    arms = [arm for arm in view.arms if arm.sampling != UNTRAINED]
    frame = _points(view, arms)
    frame["x"] = [getattr(arm, part) or "0" for arm in frame["arm"]]
    frame["series"] = [_way(view, arm, part) for arm in frame["arm"]]
    frame["apart"], frame["told"] = False, ""
    sizes = sorted(set(frame["x"]), key=size_order)
    x = alt.X("x:O", title=f"{axis} (even steps)", sort=sizes, axis=alt.Axis(labelAngle=0))
    return _panels(view, frame, x, f"{metric_label(view.headline)} by {title}", [_legend(view)])


def by_encoder(view: View) -> alt.HConcatChart:
    """Score against the number of the encoder's parameters, one line a sampling and family of encoders.

    The untrained encoders are drawn only where there are no others: most would stand far below. If the number of an
    encoder's parameters is not known, the encoders stand side by side in the study's order.
    """
    import altair as alt

    arms = [arm for arm in view.arms if arm.sampling != UNTRAINED] or view.arms
    frame = _points(view, arms)
    frame["series"] = [" · ".join([arm.sampling_label, *_others(view, arm)]) for arm in frame["arm"]]
    frame["apart"], frame["told"] = False, ""
    frame["encoder"] = [arm.encoder for arm in frame["arm"]]
    frame["family"] = [family_of(name) for name in frame["encoder"]]
    used = set(frame["encoder"])
    order = [name for name in view.parameters if name in used]
    order += sorted(used - set(order))
    unknown = [name for name in order if not view.parameters.get(name)]
    title = f"{metric_label(view.headline)} by size of the encoder"
    lines = [_legend(view), "a shape is a family of encoders, and lines join encoders of one family alone"]
    if unknown:
        frame["x"] = frame["encoder"]
        x = alt.X("x:O", title="encoder", sort=order, axis=alt.Axis(labelAngle=-30))
        told = f"the number of parameters is not known of {', '.join(unknown)}: encoders in the order of the study"
        return _panels(view, frame, x, title, [*lines, told], width=_WIDE)
    parameters = {name: view.parameters[name] or 0 for name in order}
    frame["x"] = [parameters[name] for name in frame["encoder"]]
    domain = _log_domain(parameters)
    spelled = "replace(format(datum.value, '.3~s'), 'G', 'B')"
    axis = alt.Axis(values=_ticks(parameters.values(), domain), labelExpr=spelled)
    scale = alt.Scale(type="log", domain=domain, nice=False)
    x = alt.X("x:Q", title="number of parameters (log scale)", scale=scale, axis=axis)
    return _panels(view, frame, x, title, lines, width=_WIDE, named=partial(_encoder_names, domain=domain))


def family_of(encoder: str) -> str:
    """The encoders that one line may join have this in common: the name without a size at its end.

    xlm-r and xlm-r-large are `xlm-r`; e5-small and e5-base are `e5`; mbert-cased is a family of its own.
    """
    stem, _, last = encoder.rpartition("-")
    return stem if stem and _SIZE_WORD.fullmatch(last) else encoder


def _log_domain(parameters: Mapping[str, int]) -> list[float]:
    """The axis' ends, with room for the names of the largest encoders on their right, where no line runs."""
    low, high = (math.log10(end(parameters.values())) for end in (min, max))
    longest = max(len(name) for name, number in parameters.items() if number > 0.8 * max(parameters.values()))
    left, right = 0.12, min(0.4, (8 * longest + 16) / _WIDE)
    span = max(high - low, 0.02) / (1 - left - right)
    return [10 ** (low - left * span), 10 ** (high + right * span)]


def _ticks(parameters: Iterable[int], domain: Sequence[float]) -> list[int]:
    """A tick an encoder, but for those whose numbers would touch."""
    apart = 42 / _WIDE * math.log10(domain[1] / domain[0])
    ticks: list[int] = []
    for number in sorted(set(parameters)):
        if not ticks or math.log10(number / ticks[-1]) > apart:
            ticks.append(number)
    return ticks


def _encoder_names(
    seeds: pd.DataFrame, means: pd.DataFrame, domain: Sequence[float]
) -> tuple[list[float], list[alt.Chart]]:
    """The ends of y with room for names, and each encoder's name near its highest mean, clear of marks and lines."""
    import altair as alt
    import pandas as pd

    seeds, means = (frame.assign(x=[math.log10(value) for value in frame["x"]]) for frame in (seeds, means))
    low, high = float(seeds["value"].min()), float(seeds["value"].max())
    room = 0.14 * (high - low) or 0.1 * abs(high) or 0.1
    ends, across = [low - room, high + room], [math.log10(end) for end in domain]
    marks = list(zip(seeds["x"], seeds["value"], strict=True))
    for _, line in means.groupby(["series", "family"], sort=False):
        along = sorted(zip(line["x"], line["value"], strict=True))
        marks += [point for start, end in itertools.pairwise(along) for point in _between(start, end)]
    highest = means.sort_values("value", ascending=False, kind="stable").drop_duplicates("encoder")
    highest = highest.rename(columns={"encoder": "arm", "value": "y"})[["arm", "x", "y"]]
    points = [[mark[axis] for mark in marks] for axis in (0, 1)]
    placed = pd.DataFrame(place_labels(highest, [across, ends], points, (_WIDE, _HEIGHT), closeness=0.5))
    aside = (placed["label_x"] - placed["x"]) * _WIDE / (across[1] - across[0])
    above = (placed["label_y"] - placed["y"]) * _HEIGHT / (ends[1] - ends[0])
    far = (aside**2 + above**2) > _FAR**2
    placed = placed.assign(**{axis: [10**value for value in placed[axis]] for axis in ("x", "label_x")})
    lines = alt.Chart(placed[far]).mark_rule(color=GREY, strokeWidth=0.7)
    leaders = [lines.encode(alt.X("x:Q"), alt.Y("y:Q"), x2="label_x:Q", y2="label_y:Q")] if far.any() else []
    names = [
        alt.Chart(part)
        .mark_text(align=align, baseline="middle", fontSize=12, color=INK, fontWeight=500)
        .encode(alt.X("label_x:Q"), alt.Y("label_y:Q"), alt.Text("arm:N"))
        for align, part in placed.groupby("align")
    ]
    return ends, [*leaders, *names]


def _between(start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> list[tuple[float, float]]:
    """Points along a line, which names then keep clear of."""
    shares = [step / steps for step in range(1, steps)]
    return [(start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])) for share in shares]


def _legend(view: View) -> str:
    direction = better(view.headline)
    told = f"{direction} is better" if direction else "neither end is better in itself"
    return f"small: one seed, line: mean over seeds; {told}; axes do not start at zero"


def _points(view: View, arms: Sequence[Arm]) -> pd.DataFrame:
    macro = view.summary.macro
    part = macro[(macro["benchmark"] == view.benchmark) & (macro["metric"] == view.headline)].dropna(subset="value")
    place = {arm: i for i, arm in enumerate(arms)}
    part = part[part["arm"].isin(set(arms))]
    if part.empty:
        raise DataError(
            f"No {metric_label(view.headline)} to draw on benchmark {view.benchmark}.",
            found=f"no average of {view.headline} of any of {len(arms)} arms",
            remedy="name metrics that the benchmark is scored in as tables.headline and tables.figure_metrics",
        )
    return part.sort_values("arm", key=lambda column: column.map(place), kind="stable").reset_index(drop=True)


def _encoder(view: View, arm: Arm) -> str:
    return arm.encoder if "encoder" in view.summary.varying else ""


def _rest(view: View, arm: Arm) -> str:
    """What tells an arm from others of its alpha."""
    cure = "" if arm.plain else spelled("hybrid", *arm[-4:])
    return " · ".join(filter(None, [_encoder(view, arm), cure, *_others(view, arm)]))


def _others(view: View, arm: Arm, but: str = "") -> list[str]:
    """What else the study varies of an arm, beyond encoder and sampling, `but` for the part that is drawn."""
    words = {
        "num_pairs": f"n={arm.num_pairs}",
        "num_translated": f"mt={arm.num_translated}",
        "languages": arm.languages,
    }
    return [text for part, text in words.items() if part in view.summary.varying and part != but and getattr(arm, part)]


def _panels(
    view: View,
    frame: pd.DataFrame,
    x: Any,
    title: str,
    lines: Sequence[str],
    *,
    width: int = _WIDTH,
    named: Callable[[pd.DataFrame, pd.DataFrame], tuple[list[float], list[alt.Chart]]] | None = None,
) -> alt.HConcatChart:
    """One panel a setting.

    `frame` has arm, seed, setting, value, x, series, apart (no line joins it) and told; it may have encoder and
    family (a shape each; a line joins one family). `named` takes a panel's seeds and means, and gives the ends of
    its y axis and layers of names.
    """
    import altair as alt

    frame = frame.assign(sampling=[arm.sampling for arm in frame["arm"]]).drop(columns=["arm", "benchmark", "metric"])
    series = list(dict.fromkeys(frame["series"]))
    palette = _palette(view, series)
    legend = alt.Legend(orient="top", columns=5, labelLimit=400, labelFontSize=13, symbolOpacity=1)
    colour = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=series, range=[palette[name] for name in series]),
        legend=legend if len(series) > 1 else None,
    )
    optional = [name for name in ("encoder", "family") if name in frame]
    families = list(dict.fromkeys(frame["family"])) if "family" in frame else []
    shapes = alt.Scale(domain=families, range=[_SHAPES[i % len(_SHAPES)] for i in range(len(families))])
    shape = [alt.Shape("family:N", scale=shapes, title=None, legend=legend)] if len(families) > 1 else []
    detail = [alt.Detail("family:N")] if families else []
    panels = []
    for setting in [name for name in SETTING_LABELS if name in set(frame["setting"])]:
        of_setting = frame[frame["setting"] == setting]
        keys = ["series", "x", "sampling", "apart", "told", *optional]
        means = of_setting.groupby(keys, sort=False)["value"].mean().reset_index()
        ends, names = named(of_setting, means) if named else ([], [])
        fitted = alt.Scale(domain=ends, nice=False) if ends else alt.Scale(zero=False, padding=12)
        y = alt.Y("value:Q", title=metric_label(view.headline), scale=fitted)
        seeds = alt.Chart(of_setting).mark_circle(size=36, opacity=0.4).encode(x, y, colour)
        joined, apart = means[~means["apart"]], means[means["apart"]]
        line = alt.Chart(joined).mark_line(strokeWidth=2).encode(x, y, colour, *detail)
        dots = alt.Chart(joined).mark_point(size=70, filled=True, opacity=1).encode(x, y, colour, *shape)
        layers = [seeds, line, dots]
        if len(apart):
            layers.append(alt.Chart(apart).mark_point(size=80, strokeWidth=2).encode(x, y, colour))
        if apart["told"].any():
            schedules = alt.Chart(apart[apart["told"] != ""]).mark_text(dy=-13, fontSize=11, color=INK)
            layers.append(schedules.encode(x, y, alt.Text("told:N")))
        label = alt.TitleParams(SETTING_LABELS[setting], anchor="start", fontSize=14, offset=6)
        panels.append(alt.layer(*layers, *names).properties(width=width, height=_HEIGHT, title=label))
    return titled(alt.hconcat(*panels, spacing=86, bounds="flush"), view, title, lines)


def _palette(view: View, series: Sequence[str]) -> dict[str, str]:
    """The samplings' own colours where the lines are samplings, else colours of hybrid and of other samplings."""
    own = {arm.sampling_label: arm for arm in view.arms}
    if all(name in own for name in series):
        return colours([own[name] for name in series], series)
    hues = ["hybrid", "x-x-mono", "x-y", "en-en", "x-x", UNTRAINED]
    stand_ins = [Arm(name, hues[place % len(hues)], None, "", "", "") for place, name in enumerate(series)]
    return colours(stand_ins, series)
