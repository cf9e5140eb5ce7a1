"""The figure of the trade-off between the monolingual and the cross-lingual setting.

inputs: a `View` of one benchmark's scores
outputs: a Vega-Lite chart, with a panel an encoder where the study has several
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError
from polybatch.tables.figures.labels import place_labels
from polybatch.tables.figures.style import GREY, INK, colours, titled
from polybatch.tables.scores import View
from polybatch.tables.summary import Arm, metric_label

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_SIZE, _SMALL = 440, 360


def trade_off(view: View) -> alt.ConcatChart:
    """Monolingual against cross-lingual score: a small mark a seed, a large one their mean, named beside it."""
    import altair as alt

    points = _points(view)
    if points.empty:
        raise DataError(
            f"No run has both a monolingual and a cross-lingual {view.headline} on benchmark {view.benchmark}.",
            remedy="see the notes of the main table for what is missing, and run the evaluation again",
        )
    drawn = set(points["arm"])
    encoders = list(dict.fromkeys(arm.encoder for arm in view.arms if arm in drawn))
    lines = [
        ("small: one seed, large: mean over seeds" if _repeated(points) else "one seed each")
        + "; up and to the right is better"
    ]
    panels, joined = [], False
    for encoder in encoders:
        arms = [arm for arm in view.arms if arm in drawn and arm.encoder == encoder]
        panel, note, several = _panel(
            view, arms, points[points["arm"].isin(arms)], _SIZE if len(encoders) == 1 else _SMALL
        )
        lines += [f"{encoder}: {line}" if len(encoders) > 1 else line for line in note]
        joined |= several
        panels.append(panel.properties(title=encoder) if len(encoders) > 1 else panel)
    if joined:
        lines.append("grey lines join the means of one sampling in the order of the main table")
    if len(encoders) > 1:
        lines.append("each panel has axes of its own")
    chart: Any = alt.concat(*panels, columns=2, spacing=44) if len(panels) > 1 else panels[0]
    return titled(chart, view, f"Monolingual against cross-lingual {metric_label(view.headline)}", lines)


def _repeated(points: pd.DataFrame) -> bool:
    return bool(points["arm"].duplicated().any())


def _points(view: View) -> pd.DataFrame:
    """arm, seed, x (monolingual), y (cross-lingual) of every run that has both."""
    macro = view.summary.macro
    part = macro[(macro["benchmark"] == view.benchmark) & (macro["metric"] == view.headline)]
    wide = part.pivot(index=["arm", "seed"], columns="setting", values="value").reindex(
        columns=["monolingual", "cross_lingual"]
    )
    wide = wide.dropna().reset_index().rename(columns={"monolingual": "x", "cross_lingual": "y"})
    return wide[["arm", "seed", "x", "y"]]


def _panel(view: View, arms: Sequence[Arm], points: pd.DataFrame, side: int) -> tuple[alt.LayerChart, list[str], bool]:
    """One encoder's arms; what stands outside of the axes, in words; and whether a line joins several arms."""
    import altair as alt
    import pandas as pd

    varying = [part for part in view.summary.varying if part != "encoder"]
    named_as = {arm: arm.label(varying) for arm in arms}
    seeds = points.assign(arm=[named_as[arm] for arm in points["arm"]])
    means = seeds.groupby("arm", sort=False)[["x", "y"]].mean().reindex(list(named_as.values())).reset_index()
    floor = means[means["arm"].isin([named_as[arm] for arm in arms if arm.as_it_comes])]
    shown, note = _set_floor_aside(seeds, floor)
    domains = [_domain(shown[axis]) for axis in ("x", "y")]
    means = means[means["arm"].isin(set(shown["arm"]))].reset_index(drop=True)
    curves = {name: arm.curve for arm, name in named_as.items()}
    paths = means.assign(curve=means["arm"].map(curves), order=range(len(means)))
    marks = [shown[axis].tolist() for axis in ("x", "y")]
    placed = pd.DataFrame(place_labels(means.assign(arm=_names(paths)), domains, marks, (side, side)))
    palette = colours(arms, list(named_as.values()))
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
        .encode(x, y, alt.Detail("curve:N"), alt.Order("order:Q"))
    )
    text = [
        alt.Chart(part)
        .mark_text(align=align, baseline="middle", fontSize=13, color=INK, fontWeight=500)
        .encode(alt.X("label_x:Q", scale=scales[0]), alt.Y("label_y:Q", scale=scales[1]), alt.Text("arm:N"))
        for align, part in placed.groupby("align")
    ]
    layers = [joined, *_leaders(placed, scales), small, large.encode(x, y, colour), *text]
    chart = alt.layer(*layers).resolve_scale(color="independent").properties(width=side, height=side)
    return chart, note, len(set(paths["curve"])) < len(paths)


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
    for place, (arm, curve) in enumerate(zip(paths["arm"], paths["curve"], strict=True)):
        inside = curve in set(paths["curve"][:place]) and curve in set(paths["curve"][place + 1 :])
        names.append(arm.removeprefix(f"{curve}-").removeprefix(f"{curve} · ") if inside else arm)
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
