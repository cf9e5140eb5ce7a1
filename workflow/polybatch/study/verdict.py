"""What a verification found, in words: tables for a terminal and a page, and plain values for programs.

inputs: graded scores, and the facts of the verification
outputs: text; JSON values
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from polybatch.study.kept import short
from polybatch.tables.forms.table import Cell, Column, Table, text_column, to_markdown
from polybatch.tables.forms.terminal import to_terminal
from polybatch.tables.summary import digits, metric_label
from polybatch.tables.versions.grades import AVERAGE, CLOSE, FAIL, OK, Graded

_WORST, _CHANGES = 12, 8
_WIDTH = 100


def summary(graded: Sequence[Graded], headline: str) -> list[dict[str, Any]]:
    """Counts by row, benchmark and setting, with the average of the headline metric, over seeds, then and now."""
    groups: dict[tuple[str, str, str], list[Graded]] = defaultdict(list)
    for one in graded:
        groups[one.row, one.place.benchmark, one.place.setting].append(one)
    rows = []
    for (row, benchmark, setting), mine in groups.items():
        grades = Counter(one.grade for one in mine)
        averages = [one for one in mine if one.place.metric == headline and one.place.query_lang == AVERAGE]
        rows.append(
            {
                "row": row,
                "benchmark": benchmark,
                "setting": setting,
                "scores": len(mine),
                "identical": sum(one.difference == 0 for one in mine),
                **{grade: grades[grade] for grade in (OK, CLOSE, FAIL)},
                "kept": _mean([one.kept for one in averages]),
                "found": _mean([one.found for one in averages]),
            }
        )
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def counts(graded: Sequence[Graded]) -> dict[str, int]:
    """How many scores have each grade, and how many are identical."""
    grades = Counter(one.grade for one in graded)
    return {grade: grades[grade] for grade in (OK, CLOSE, FAIL)} | {
        "identical": sum(one.difference == 0 for one in graded)
    }


def reasons(graded: Sequence[Graded]) -> list[dict[str, Any]]:
    """Why scores failed that could not be compared: how many, by run, benchmark and reason."""
    told = Counter((one.run, one.place.benchmark, one.reason) for one in graded if one.reason)
    return [
        {"run": run, "benchmark": benchmark, "reason": why, "scores": count}
        for (run, benchmark, why), count in told.items()
    ]


def apart(graded: Sequence[Graded]) -> list[dict[str, Any]]:
    """Scores that were compared and are not OK, the farthest first, in tolerances."""
    found = sorted((one for one in graded if not one.reason and one.grade != OK), key=lambda one: -one.excess)
    return [_plain(one) for one in found]


def _plain(one: Graded) -> dict[str, Any]:
    return {
        "run": one.run,
        **one.place._asdict(),
        "kept": one.kept,
        "found": one.found,
        "difference": one.difference,
        "tolerance": one.tolerance,
        "basis": one.basis,
        "grade": one.grade,
    }


def tolerance_rows(graded: Sequence[Graded]) -> list[dict[str, Any]]:
    """What the tolerances rest on: how many scores, and the least and the greatest tolerance of shares among them."""
    groups: dict[str, list[Graded]] = defaultdict(list)
    for one in graded:
        groups[one.basis].append(one)
    rows = []
    for basis, mine in groups.items():
        shares = [one.tolerance for one in mine if digits(one.place.metric) > 1] or [one.tolerance for one in mine]
        rows.append({"basis": basis, "scores": len(mine), "least": min(shares), "greatest": max(shares)})
    return rows


def to_text(report: Mapping[str, Any], *, markdown: bool, bold: bool = False) -> str:
    """The verification for a reader: markdown, or text of 100 columns."""
    tables = [_summary_table(report), *_further_tables(report)]
    parts = [*(["# " + _title(report), ""] if markdown else [_title(report), ""])]
    parts += [f"- {line}" for line in _facts(report)] + [""]
    for table in tables:
        if markdown:
            parts.append(to_markdown(table, level=2))
        else:
            parts += [table.title, "", to_terminal(table, bold=bold, width=_WIDTH), ""]
            parts += [table.caption, ""] if table.caption else []
    return "\n".join(parts).rstrip() + "\n\n" + verdict(report) + "\n"


def _title(report: Mapping[str, Any]) -> str:
    return f"Verification of {report['study']} {report['version']}"


def verdict(report: Mapping[str, Any]) -> str:
    """The last line: how many scores are what."""
    found = report["counts"]
    total = found[OK] + found[CLOSE] + found[FAIL]
    ended = report["snakemake_status"]
    crashed = f" Snakemake ended with {ended}: `polybatch failures` says why." if ended else ""
    word = "NOT VERIFIED" if found[FAIL] or ended else "VERIFIED"
    return (
        f"{word}: of {total} scores {found[OK]} OK ({found['identical']} identical), {found[CLOSE]} close, "
        f"{found[FAIL]} FAIL.{crashed}"
    )


def _facts(report: Mapping[str, Any]) -> list[str]:
    rows = report["rows"]
    lines = [
        f"kept: {report['kept']}, of {report['kept_created']}",
        f"found: {report['scores_from']}"
        + (", as it lay there" if report["scores_only"] else f", after {report['seconds']:.0f} s of this call"),
        f"rows: {', '.join(rows) if rows else 'all'}",
        f"machine: {_machines(report)}",
    ]
    runs = report["runs"]
    if runs["not_in_config"]:
        lines.append(f"the configuration no longer asks for {_some(runs['not_in_config'])}: their scores fail")
    if runs["not_in_version"]:
        lines.append(f"not in the kept version, so not graded: {_some(runs['not_in_version'])}")
    if report["new_scores"]:
        of = ", ".join(report["new_metrics"])
        lines.append(f"{report['new_scores']} scores that the kept version does not have, not graded: {of}")
    for part, changed in report["changes"].items():
        told = [f"{key} {_value(then)} → {_value(now)}" for key, (then, now) in changed.items()]
        named = told if part != "code" else list(changed)
        lines.append(f"other {part} than then: {_some(named)}")
    if report["chain"]:
        lines.append(f"what the scores were made from: {report['chain']}")
    return lines


def _machines(report: Mapping[str, Any]) -> str:
    if report["same_machine"]:
        return "of the kind that made the kept version, with the same packages"
    then, now = (_machine(report[key]) for key in ("kept_machine", "machine"))
    return f"another, or other packages: {then} then, {now} now"


def _machine(hardware: Mapping[str, Any]) -> str:
    gpus = ", ".join(hardware.get("gpus") or []) or "no GPU"
    return f"{hardware.get('processor', '?')} ({hardware.get('cores', '?')} cores, {gpus})"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _CHANGES} more" if len(names) > _CHANGES else ""
    return ", ".join(names[:_CHANGES]) + more


def _value(value: Any) -> str:
    text = "absent" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _summary_table(report: Mapping[str, Any]) -> Table:
    headline = report["headline"]
    label, places = metric_label(headline), digits(headline)
    numbers = [Column(key, key) for key in ("scores", "identical", OK, CLOSE, FAIL)]
    averages = [Column(key, key, label, digits=places) for key in ("kept", "found")]
    names = _short_rows([row["row"] for row in report["by_row"]])
    return Table(
        name="verify",
        title="Scores by row and setting",
        caption=f"Cells of the setting and their averages; {label} is averaged over languages and seeds.",
        columns=[*(text_column(key, key) for key in ("row", "benchmark", "setting")), *numbers, *averages],
        rows=[
            [
                Cell(names[row["row"]]),
                *(Cell(row[key]) for key in ("benchmark", "setting", "scores", "identical", OK, CLOSE, FAIL)),
                *(Cell(row[key]) for key in ("kept", "found")),
            ]
            for row in report["by_row"]
        ],
    )


def _short_rows(rows: Sequence[str]) -> dict[str, str]:
    """Rows by the part that tells the sampling, where that is enough to tell them apart."""
    names = {row: short(row) for row in rows}
    return names if len(set(names.values())) == len(names) else {row: row for row in rows}


def _further_tables(report: Mapping[str, Any]) -> list[Table]:
    tables = []
    if report["reasons"]:
        keys = ("run", "benchmark", "scores", "reason")
        tables.append(_plain_table("failed", "FAIL without a comparison", keys, report["reasons"][:_WORST]))
    if report["apart"]:
        rows = [_told(one) for one in report["apart"][:_WORST]]
        title = f"The {len(rows)} farthest of {len(report['apart'])} scores that are not OK"
        tables.append(_plain_table("apart", title, tuple(rows[0]), rows))
    rows = [row | {key: f"{row[key]:.2g}" for key in ("least", "greatest")} for row in report["tolerances"]]
    keys = ("basis", "scores", "least", "greatest")
    return [*tables, _plain_table("tolerances", "Tolerances", keys, rows)]


def _told(one: Mapping[str, Any]) -> dict[str, Any]:
    places = digits(one["metric"]) + 2
    pair = one["query_lang"] if one["query_lang"] == one["corpus_lang"] else f"{one['query_lang']}-{one['corpus_lang']}"
    numbers = {key: f"{one[key]:.{places}f}" for key in ("kept", "found")}
    numbers |= {"difference": f"{one['difference']:+.{places}f}", "tolerance": f"{one['tolerance']:.2g}"}
    where = f"{one['benchmark']} {one['setting']} {pair}"
    return {"run": one["run"], "where": where, "metric": metric_label(one["metric"]), **numbers, "grade": one["grade"]}


def _plain_table(name: str, title: str, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        name=name,
        title=title,
        caption="",
        columns=[text_column(key, key) for key in keys],
        rows=[[Cell(str(row[key])) for key in keys] for row in rows],
    )
