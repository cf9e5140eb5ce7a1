"""Turns the raw numbers of the benchmarks into tables, figures and docs/performance.md.

Nothing is measured here: every number comes from measurements/results/*.json. What people wrote about them, what was
predicted, what came out, what limits a stage, stands in measurements/introduction.md and measurements/notes/<stage>.md.

inputs: measurements/results/<stage>.json, measurements/introduction.md, measurements/notes/<stage>.md.
outputs: beside each JSON file <stage>.md, .svg, .png and .vl.json; docs/performance.md; docs/performance/<stage>.svg.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from figures_of_a_run import HERE, RESULTS, ROOT, Growth, Measurement, Of, Result, short_system

from polybatch.core import stage
from polybatch.core.files import atomic_path, read_json

STAGES = ("e5", "translate", "search", "study_cost", "collect", "pipeline", "train", "encode")
TITLES = {
    "e5": "The encoder that studies start from, multilingual-e5-small",
    "e5-1-of-2-cores": "The same on one of the two processors, one round",
    "translate-1-of-2-cores": "Translating on one of the two processors, one round",
    "study_cost": "A whole study",
    "growth-collect": "Growth: collecting, one to ten million pairs",
}
MET = {True: "met", False: "**missed**", None: "not measured"}
# Of the figure's logarithmic axis. A goal of "at most" that came out as nothing, or less, lies at its end.
_LEAST, _MOST = 1e-3, 10.0


def write_stage(path: Path) -> str:
    """Writes the table and the figure of one stage's results beside them; returns the table.

    Args:
        path: <stage>.json as `measure.write` made it.
    """
    results = read_json(path)
    text = stage_table(results)
    with atomic_path(path.with_suffix(".md")) as partial:
        partial.write_text(text, "utf-8")
    _draw(results, path.parent, path.stem)
    return text


def stage_table(results: Mapping[str, Any]) -> str:
    """One stage in Markdown: goals first, then every measurement, then the machine."""
    parts = [_goal_table(results["goals"])] if results["goals"] else []
    for title, measured in results["measurements"].items():
        parts.append(f"**{title}**\n\n{_TABLES[measured['kind']](measured)}")
    parts.append(_machine_line(results))
    return "\n".join(parts) + "\n"


def _goal_table(goals: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [
            goal["name"],
            _bound(goal),
            _value(goal),
            MET[goal["met"]],
        ]
        for goal in goals
    ]
    notes = [f"- {goal['name']}: {goal['note']}" for goal in goals if goal["note"]]
    table = _markdown(["goal", "wished", "measured", ""], rows)
    return table + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _bound(goal: Mapping[str, Any]) -> str:
    return f"{'at least' if goal['at_least'] else 'at most'} {_number(goal['bound'])}{goal['unit']}"


def _value(goal: Mapping[str, Any]) -> str:
    """The median with the least and the greatest of the rounds."""
    if goal["value"] is None:
        return "-"
    told = f"{_number(goal['value'])}{goal['unit']}"
    if len(goal["each"]) < 2:
        return told
    return f"{told} ({_number(min(goal['each']))} to {_number(max(goal['each']))})"


def _paired_table(measured: Mapping[str, Any]) -> str:
    unit, peer = measured["unit"], measured["peer"]
    cases = {name: [Result(**result) for result in measured["cases"][name]] for name in measured["order"]}
    pairs = Measurement(cases, unit=unit, peer=peer)
    inner = all(result.inner_seconds is not None for results in cases.values() for result in results)
    several = len(cases) > 1
    rows = []
    for name in cases:
        ratio = pairs.ratio(name, peer)
        row = [name, _number(pairs.median(name, "seconds"))]
        row += [_number(pairs.median(name, "inner_seconds"))] if inner else []
        row += [
            _number(pairs.median(name, "cpu_seconds")),
            _number(pairs.median(name)),
            f"{pairs.median(name, 'peak_bytes') / 1e6:,.0f}",
        ]
        spread = f"{_number(ratio.median)} ({_number(ratio.low)} to {_number(ratio.high)})"
        rows.append([*row, *([] if not several else ["1"] if name == peer else [spread])])
    head = ["", "wall, s", *(["without start-up, s"] if inner else [])]
    head += ["processor, s", f"{unit} per s", "peak memory, MB", *([f"speed against {peer}"] if several else [])]
    return _markdown(head, rows) + f"\n{_rounds(len(next(iter(cases.values()))), several)}\n"


def _rounds(count: int, several: bool) -> str:
    """What the numbers of a table stand for."""
    if count == 1:
        return "One run each, one after the other." if several else "One run."
    spread = "; in brackets the least and the greatest ratio of a pair" if several else ""
    return f"Medians of {count} {'alternate ' if several else ''}runs{spread}."


def _growth_table(measured: Mapping[str, Any]) -> str:
    growth = _growth(measured)
    inner = _has_inner(growth)
    head = [measured["unit"], "wall, s", *(["without start-up, s"] if inner else []), "peak memory, MB"]
    rows = [
        [
            f"{size:,}",
            _number(growth.median(size)),
            *([_number(growth.median(size, "inner_seconds"))] if inner else []),
            f"{growth.median(size, 'peak_bytes') / 1e6:,.0f}",
        ]
        for size in sorted(growth.sizes)
    ]
    table = _markdown(head, rows)
    if len(growth.sizes) < 2:
        return table
    exponent = growth.exponent("inner_seconds" if inner else "seconds")
    what = "time without start-up" if inner else "wall clock"
    return f"{table}\nExponent of {what} against {measured['unit']}: {exponent:.2f}.\n"


def _parts_table(measured: Mapping[str, Any]) -> str:
    seconds = {name: measured["seconds"][name] for name in measured["order"]}
    whole = sum(seconds.values())
    rows = [[name, _number(value), f"{value / whole:.1%}"] for name, value in seconds.items()]
    return _markdown(["", "wall, s", "of the whole"], [*rows, ["together", _number(whole), ""]])


_TABLES = {"growth": _growth_table, "paired": _paired_table, "parts": _parts_table}


def _growth(measured: Mapping[str, Any]) -> Growth:
    sizes = {int(size): [Result(**result) for result in rounds] for size, rounds in measured["sizes"].items()}
    return Growth(sizes, unit=measured["unit"])


def _has_inner(growth: Growth) -> bool:
    return all(result.inner_seconds is not None for results in growth.sizes.values() for result in results)


def _machine_line(results: Mapping[str, Any]) -> str:
    at = results["machine"]
    cards = f", {', '.join(at['gpu'])}" if at["gpu"] else ", no GPU"
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    return (
        f"Measured on {results['when'][:10]}: {at['processor']}, {at['cores']} processors, {at['memory_gb']} GB{cards},"
        f" {short_system(at['system'])}, Python {at['python']}; {versions}.\n"
    )


def _number(value: float) -> str:
    """Three figures that count, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(digits, 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _draw(results: Mapping[str, Any], folder: Path, name: str) -> None:
    """The stage's figure: each goal as a multiple of what was wished, and time against rows where it was measured."""
    import altair as alt

    from polybatch.tables.figures import style

    panels = [panel for panel in (_goal_panel(results["goals"]), _growth_panel(results["measurements"])) if panel]
    if not panels:
        return
    chart = alt.hconcat(*panels, spacing=40).resolve_scale(color="independent")
    chart = chart.properties(
        title=alt.TitleParams(f"{results['stage']}: goals and growth", anchor="start", fontSize=16, offset=14)
    )
    style.save(style.look(chart), folder, name)


def _times(value: float, goal: Mapping[str, Any]) -> float:
    times = value / goal["bound"] if goal["at_least"] else goal["bound"] / max(value, goal["bound"] / _MOST)
    return min(_MOST, max(_LEAST, times))


def _goal_panel(goals: Sequence[Mapping[str, Any]]) -> Any:
    """A dot a round, a tick for the median, on an axis where 1 is the goal and more is better."""
    import altair as alt

    from polybatch.tables.figures.style import INK

    rows = [
        {
            "goal": f"{goal['name']}: {_value(goal)}; {_bound(goal)}",
            "times": _times(value, goal),
            "median": value == goal["value"],
            "met": "met" if goal["met"] else "missed",
        }
        for goal in goals
        if goal["value"] is not None
        for value in dict.fromkeys([*goal["each"], goal["value"]])
    ]
    if not rows:
        return None
    across = alt.X(
        "times:Q",
        scale=alt.Scale(type="log", nice=False, padding=20),
        title="times the goal (1: just met; more than 10 at 10)",
        axis=alt.Axis(labelOverlap="greedy", labelSeparation=8),
    )
    colour = alt.Color(
        "met:N",
        scale=alt.Scale(domain=["met", "missed"], range=["#009e73", "#d55e00"]),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=across, y=alt.Y("goal:N", sort=None, title=None, axis=alt.Axis(labelLimit=1000)), color=colour
    )
    dots = base.transform_filter("!datum.median").mark_circle(size=50, opacity=0.5)
    ticks = base.transform_filter("datum.median").mark_tick(thickness=4, size=18)
    wished = alt.Chart(alt.Data(values=[{"times": 1}])).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="times:Q")
    return alt.layer(wished, dots, ticks).properties(width=360, height=alt.Step(34))


def _growth_panel(measurements: Mapping[str, Mapping[str, Any]]) -> Any:
    """Seconds against rows, both logarithmic."""
    import altair as alt

    rows = []
    for title, measured in measurements.items():
        if measured["kind"] != "growth":
            continue
        growth = _growth(measured)
        of: Of = "inner_seconds" if _has_inner(growth) else "seconds"
        rows += [{"what": title, "rows": size, "seconds": growth.median(size, of)} for size in sorted(growth.sizes)]
    if not rows:
        return None
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("rows:Q", scale=alt.Scale(type="log"), title="rows", axis=alt.Axis(format="~s", tickCount=6)),
        y=alt.Y("seconds:Q", scale=alt.Scale(type="log"), title="seconds"),
        color=alt.Color("what:N", legend=alt.Legend(title=None, orient="bottom", columns=1, labelLimit=500)),
    )
    return (base.mark_line() + base.mark_circle(size=60)).properties(width=320, height=240)


def page(results: Mapping[str, Mapping[str, Any]], introduction: str, notes: Mapping[str, str]) -> str:
    """docs/performance.md: the introduction, what the page holds, all goals in one table, then a section a stage.

    Args:
        results: Stage -> the content of its JSON file.
        introduction: Text before the table, with the page's title.
        notes: Stage -> what people wrote about it. Their links are as seen from measurements/notes/.
    """
    names = [*STAGES, *sorted(set(results) - set(STAGES))]
    titles = {name: TITLES.get(name, name.replace("_", " ").capitalize()) for name in names}
    parts = [introduction.strip(), _contents(["All goals", *titles.values()])]
    parts += ["## All goals", _overview(results, names), _cards(results)]
    for name, title in titles.items():
        parts.append(f"## {title}")
        if name in results:
            parts += [f"![Goals and growth of {name}](performance/{name}.svg)", stage_table(results[name]).strip()]
        else:
            parts.append(f"Not measured yet: `python measurements/{name}.py` does.")
        if name in notes:
            parts.append(notes[name].strip().replace("](../../docs/", "]("))
    return "\n\n".join(parts) + "\n"


def _contents(titles: Iterable[str]) -> str:
    """A line of links to the sections of these titles, by the anchors that GitHub makes of them."""
    anchors = {title: re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return " · ".join(f"[{title}](#{anchor})" for title, anchor in anchors.items())


def _overview(results: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    rows = [
        [name, goal["name"], _bound(goal), _value(goal), MET[goal["met"]], results[name]["when"][:10]]
        for name in names
        if name in results
        for goal in results[name]["goals"]
    ]
    if not rows:
        return "No stage has been measured yet."
    return _markdown(["stage", "goal", "wished", "measured", "", "on"], rows).strip()


def _cards(results: Mapping[str, Mapping[str, Any]]) -> str:
    """On which cards something was measured, or how to."""
    found = sorted({card for one in results.values() for card in one["machine"]["gpu"]})
    if found:
        return f"On a GPU ({', '.join(found)}): the stages whose names end in -cuda."
    return (
        "On a GPU the default study, training and embedding were measured, in minutes and one run each: "
        "[gpu.md](gpu.md#what-was-run). "
        "`make bench DEVICE=cuda TORCH=torch` measures as here, on a machine with one."
    )


def main(argv: list[str] | None = None) -> None:
    """Reads every stage's results and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of performance.md")
    args = parser.parse_args(argv)
    files = sorted(args.results.glob("*.json"))
    files = [path for path in files if not path.name.endswith(".vl.json")]
    for path in files:
        write_stage(path)
        if path.with_suffix(".svg").exists():
            (args.docs / "performance").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.with_suffix(".svg"), args.docs / "performance" / f"{path.stem}.svg")
    notes = {path.stem: path.read_text("utf-8") for path in sorted((HERE / "notes").glob("*.md"))}
    introduction = (HERE / "introduction.md").read_text("utf-8")
    results = {path.stem: read_json(path) for path in files}
    text = page(results, introduction, notes)
    with atomic_path(args.docs / "performance.md") as partial:
        partial.write_text(text, "utf-8")
    print(_overview(results, list(results)), _cards(results), sep="\n\n")


if __name__ == "__main__":
    stage.run(main)
