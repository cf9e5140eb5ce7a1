"""The figure of the trade-off between the monolingual and the cross-lingual setting.

inputs: a `View` of one benchmark's scores
outputs: a Vega-Lite chart, with a panel an encoder where the study has several
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from polybatch.core.errors import DataError
from polybatch.tables.figures.labels import place_labels
from polybatch.tables.figures.style import GREY, INK, colours, titled
from polybatch.tables.scores import View
from polybatch.tables.summary import Arm, metric_label

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_SIZE, _SMALL = 440, 360
# From this many names on, they would cover one another: marks get numbers, and a list beside the panels says whose.
_MOST_NAMED = 8
_NUMBERED_SIZE, _NUMBERED_SMALL = 600, 460
_LINE = 18
# A name further than this from its mark, in pixels, is tied to it by a line.
_STANDS_OFF = 24


class _Look(NamedTuple):
    """What all panels share: arm -> name, name -> colour, side in pixels; name -> number where marks are numbered."""

    names: dict[Arm, str]
    palette: dict[str, str]
    side: int
    numbers: dict[str, str]


def trade_off(view: View) -> alt.ConcatChart:
    """Monolingual against cross-lingual score: a small mark a seed, a large one their mean, named beside it.

    A panel with many arms has numbers in place of names, and a list of them stands beside the panels.
    """
    import altair as alt

    points = _points(view)
    if points.empty:
        raise DataError(
            f"No run has both a monolingual and a cross-lingual {view.headline} on benchmark {view.benchmark}.",
            remedy="see the notes of the main table for what is missing, and run the evaluation again",
        )
    drawn = [arm for arm in view.arms if arm in set(points["arm"])]
    encoders = list(dict.fromkeys(arm.encoder for arm in drawn))
    look = _look(view, drawn, several=len(encoders) > 1)
    lines = [
        ("small: one seed, large: mean over seeds" if _repeated(points) else "one seed each")
        + "; up and to the right is better"
    ]
    panels, joined, inside = [], False, set[str]()
    for encoder in encoders:
        arms = [arm for arm in drawn if arm.encoder == encoder]
        panel, note, several, named = _panel(view, arms, points[points["arm"].isin(arms)], look)
        lines += [f"{encoder}: {line}" if len(encoders) > 1 else line for line in note]
        joined |= several
        inside |= named
        panels.append(panel.properties(title=encoder) if len(encoders) > 1 else panel)
    if joined:
        lines.append("grey lines join the means of one sampling in the order of the main table")
    if len(encoders) > 1:
        lines.append("each panel has axes of its own")
    chart: Any = alt.concat(*panels, columns=2, spacing=44) if len(panels) > 1 else panels[0]
    if look.numbers:
        chart = alt.hconcat(chart, _key(look, inside), spacing=28).resolve_scale(color="independent")
    return titled(chart, view, f"Monolingual against cross-lingual {metric_label(view.headline)}", lines)


def _look(view: View, arms: Sequence[Arm], *, several: bool) -> _Look:
    varying = [part for part in view.summary.varying if part != "encoder"]
    names = {arm: arm.label(varying) for arm in arms}
    first = {name: arm for arm, name in reversed(names.items())}
    ordered = {name: first[name] for name in dict.fromkeys(names.values())}
    palette = colours(list(ordered.values()), list(ordered))
    most = max(sum(arm.encoder == other.encoder for other in arms) for arm in arms)
    if most <= _MOST_NAMED:
        return _Look(names, palette, _SMALL if several else _SIZE, {})
    # The untrained encoder, which may stand outside of the axes, comes last: no number is missing before it.
    last = sorted(ordered, key=lambda name: ordered[name].as_it_comes)
    numbers = {name: str(place) for place, name in enumerate(last, start=1)}
    return _Look(names, palette, _NUMBERED_SMALL if several else _NUMBERED_SIZE, numbers)


def _key(look: _Look, inside: Collection[str]) -> Any:
    """The list of numbers and names, in columns as high as a panel; names that no panel shows are left out."""
    import altair as alt
    import pandas as pd

    names = [name for name in look.numbers if name in inside]
    rows = max(1, (look.side - _LINE) // _LINE)
    wide = 8 * max(map(len, names)) + 56
    columns = -(-len(names) // rows)
    frame = pd.DataFrame(
        {
            "arm": names,
            "told": [f"{look.numbers[name]:>2}  {name}" for name in names],
            "x": [place // rows * wide + 8 for place in range(len(names))],
            "y": [place % rows * _LINE + _LINE for place in range(len(names))],
        }
    )
    height = _LINE * (min(rows, len(names)) + 1)
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, wide * columns], nice=False))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[height, 0], nice=False))
    colour = alt.Color("arm:N", scale=_colour_scale(look), legend=None)
    base = alt.Chart(frame).encode(x, y)
    marks = base.mark_point(size=110, filled=True, opacity=1).encode(colour)
    text = base.mark_text(align="left", baseline="middle", dx=12, fontSize=13, color=INK).encode(alt.Text("told:N"))
    return alt.layer(marks, text).properties(width=wide * columns, height=height)


def _colour_scale(look: _Look) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=list(look.palette), range=list(look.palette.values()))


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


def _panel(
    view: View, arms: Sequence[Arm], points: pd.DataFrame, look: _Look
) -> tuple[alt.LayerChart, list[str], bool, set[str]]:
    """One encoder's arms; what stands outside of the axes, in words; whether a line joins arms; names inside."""
    import altair as alt
    import pandas as pd

    named_as = {arm: look.names[arm] for arm in arms}
    seeds = points.assign(arm=[named_as[arm] for arm in points["arm"]])
    means = seeds.groupby("arm", sort=False)[["x", "y"]].mean().reindex(list(named_as.values())).reset_index()
    floor = means[means["arm"].isin([named_as[arm] for arm in arms if arm.as_it_comes])]
    shown, note = _set_floor_aside(seeds, floor)
    domains = [_domain(shown[axis]) for axis in ("x", "y")]
    means = means[means["arm"].isin(set(shown["arm"]))].reset_index(drop=True)
    path = {name: _path_of(arm, arms) for arm, name in named_as.items()}
    paths = means.assign(path=means["arm"].map(path), order=range(len(means)))
    marks = [shown[axis].tolist() for axis in ("x", "y")]
    labels = [look.numbers[name] for name in means["arm"]] if look.numbers else _names(paths, named_as)
    placed = pd.DataFrame(place_labels(means.assign(arm=labels), domains, marks, (look.side, look.side)))
    metric = metric_label(view.headline)
    scales = [alt.Scale(domain=domain, nice=False, zero=False) for domain in domains]
    x = alt.X("x:Q", title=f"monolingual {metric} →", scale=scales[0], axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=f"cross-lingual {metric} →", scale=scales[1], axis=alt.Axis(tickCount=6))
    colour = alt.Color("arm:N", scale=_colour_scale(look), legend=None)
    small = alt.Chart(shown).mark_circle(size=42, opacity=0.45).encode(x, y, colour)
    size = 90 if look.numbers else 190
    large = alt.Chart(means).mark_point(size=size, filled=True, opacity=1, stroke="white", strokeWidth=1.2)
    joined = (
        alt.Chart(paths)
        .mark_line(color="#c4c4c4", strokeWidth=1.4)
        .encode(x, y, alt.Detail("path:N"), alt.Order("order:Q"))
    )
    text = [
        alt.Chart(part)
        .mark_text(align=align, baseline="middle", fontSize=13, color=INK, fontWeight=500)
        .encode(alt.X("label_x:Q", scale=scales[0]), alt.Y("label_y:Q", scale=scales[1]), alt.Text("arm:N"))
        for align, part in placed.groupby("align")
    ]
    layers = [joined, *_leaders(placed, scales, domains, look.side), small, large.encode(x, y, colour), *text]
    chart = alt.layer(*layers).resolve_scale(color="independent").properties(width=look.side, height=look.side)
    return chart, note, len(set(paths["path"])) < len(paths), set(means["arm"])


def _path_of(arm: Arm, arms: Sequence[Arm]) -> str:
    """What the arms of one line share: all but the first of alpha and sizes that the arms of its curve vary."""
    mine = [other for other in arms if other.curve == arm.curve]
    for part in ("alpha", "num_pairs", "num_translated", "languages"):
        if len({getattr(other, part) for other in mine}) > 1:
            return str(arm._replace(**{part: ""}))
    return str(arm)


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


def _names(paths: pd.DataFrame, named_as: Mapping[Arm, str]) -> list[str]:
    """Labels; inside a path of one sampling's arms only what tells them apart, so that names do not crowd it."""
    sampling = {name: arm.sampling for arm, name in named_as.items()}
    names = []
    for place, (arm, path) in enumerate(zip(paths["arm"], paths["path"], strict=True)):
        inside = path in set(paths["path"][:place]) and path in set(paths["path"][place + 1 :])
        names.append(arm.removeprefix(f"{sampling[arm]}-").removeprefix(f"{sampling[arm]} · ") if inside else arm)
    return names


def _leaders(
    placed: pd.DataFrame, scales: Sequence[alt.Scale], domains: Sequence[Sequence[float]], side: int
) -> list[alt.Chart]:
    """Thin lines from a mark to a name that had to stand off."""
    import altair as alt

    pixels = [
        (placed[f"label_{axis}"] - placed[axis]) * side / (high - low)
        for axis, (low, high) in zip(("x", "y"), domains, strict=True)
    ]
    stands_off = (pixels[0] ** 2 + pixels[1] ** 2) ** 0.5 > _STANDS_OFF
    # A line to a name above or below its mark ends at the name's edge, not in its middle.
    edge = (placed["align"] == "center") * (pixels[1] > 0).map({True: -1, False: 1}) * _LINE / 2
    low, high = domains[1]
    far = placed.assign(end_y=placed["label_y"] + edge * (high - low) / side)[stands_off]
    if far.empty:
        return []
    return [
        alt.Chart(far)
        .mark_rule(color=GREY, strokeWidth=0.7)
        .encode(alt.X("x:Q", scale=scales[0]), alt.Y("y:Q", scale=scales[1]), x2="label_x:Q", y2="end_y:Q")
    ]
