"""What changed between two versions of a study's tables: scores, with significance, and what they were made from.

inputs: two version folders
outputs: markdown or JSON on standard output

The test is that of the tables (see `significance`): paired over query groups, Holm's correction over all
comparisons printed. Rows that stand in one version only are listed, not compared.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.config.paths import TABLES
from polybatch.core import stage
from polybatch.core.contracts import SCORES as SCORES_SCHEMA
from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import DataError
from polybatch.tables.cures import read_with_grid
from polybatch.tables.forms.table import Cell, Table, text_column, to_markdown
from polybatch.tables.summary import SETTING_LABELS, better, digits, metric_label
from polybatch.tables.versions.versions import GROUPS, SCORES, Version, read_version

if TYPE_CHECKING:
    import pandas as pd

_COMPARED = ("config", "code", "data", "packages", "revisions", "encoders", "translators", "benchmarks")
_NUMBER = re.compile(r"v?([1-9]\d*)")


def compare(old: Version, new: Version, *, every: bool = False) -> dict[str, Any]:
    """The differences as plain JSON values.

    Args:
        old, new: The versions.
        every: All metrics; else those of the main tables of either version.

    Returns:
        `old`, `new` (names), `same_fingerprint`, `scores` (a list of comparisons), `only_old`, `only_new` (rows in
        one version only), `changes` (part of the manifest -> key -> [old value, new value]).
    """
    from polybatch.tables.significance import holm

    before, after = _means(old), _means(new)
    wanted = None if every else _main_metrics(old) | _main_metrics(new)
    common = [key for key in after if key in before and (wanted is None or key[2:] in wanted)]
    tests = _tests(old, new, common)
    adjusted = holm([tests[key].p if key in tests else None for key in common])
    scores = []
    for key, p in zip(common, adjusted, strict=True):
        arm, benchmark, setting, metric = key
        test = tests.get(key)
        scores.append(
            {
                "run": _name(arm),
                "benchmark": benchmark,
                "setting": setting,
                "metric": metric,
                "old": before[key],
                "new": after[key],
                "difference": _difference(before[key], after[key]),
                "p": p,
                "groups": test.groups if test else 0,
                "groups_left_out": test.dropped if test else None,
                "verdict": _verdict(metric, test.difference if test else None, p),
            }
        )
    return {
        "old": old.name,
        "new": new.name,
        "same_fingerprint": old.manifest["fingerprint"] == new.manifest["fingerprint"],
        "scores": scores,
        "only_old": _rows_only_in(before, after),
        "only_new": _rows_only_in(after, before),
        "changes": manifest_changes(old.manifest, new.manifest),
    }


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _means(version: Version) -> dict[tuple, float | None]:
    """(arm, benchmark, setting, metric) -> macro average over seeds; None where it is missing."""
    from polybatch.tables.summary import macro_averages, mean_and_spread, with_arm

    scores = with_arm(read_with_grid(version.path / SCORES, SCORES_SCHEMA).to_pandas())
    macro, _ = macro_averages(scores, (version.manifest["config"].get("tables") or {}).get("leave_out"))
    keys = ["arm", "benchmark", "setting", "metric"]
    means = {key: mean_and_spread(list(values))[0] for key, values in macro.groupby(keys, sort=False)["value"]}
    return dict(sorted(means.items(), key=lambda item: _order(item[0])))


def _order(key: tuple) -> tuple:
    arm, benchmark, setting, metric = key
    return (benchmark, SETTINGS.index(setting), metric, _name(arm))


def _name(arm: Any) -> str:
    """The arm in full: two versions may vary different parts of it."""
    parts = [arm.encoder, arm.sampling_label]
    parts += [f"n{arm.num_pairs}"] if arm.num_pairs else []
    parts += [f"mt{arm.num_translated}"] if arm.num_translated not in ("", "all") else []
    parts += [arm.languages] if arm.languages else []
    return "/".join(parts)


def _main_metrics(version: Version) -> set[tuple[str, str]]:
    keys = {column.key for table in version.tables if table.name.startswith("main-") for column in table.columns}
    return {(setting, metric) for key in keys for setting, _, metric in [key.partition(".")] if setting in SETTINGS}


def _tests(old: Version, new: Version, keys: list[tuple]) -> dict[tuple, Any]:
    from polybatch.tables.significance import paired_test

    before, after = _group_values(old), _group_values(new)
    return {key: paired_test(before[key], after[key]) for key in keys if key in before and key in after}


def _group_values(version: Version) -> dict[tuple, pd.DataFrame]:
    from polybatch.tables.significance import GROUPS as GROUPS_SCHEMA
    from polybatch.tables.summary import with_arm

    frame = with_arm(read_with_grid(version.path / GROUPS, GROUPS_SCHEMA).to_pandas())
    keys = ["arm", "benchmark", "setting", "metric"]
    return {key: part.set_index("group")[["value", "cells"]] for key, part in frame.groupby(keys, sort=False)}


def _verdict(metric: str, difference: float | None, p: float | None) -> str:
    from polybatch.tables.significance import LEVEL

    if p is None or difference is None:
        return "not tested"
    if p >= LEVEL:
        return "same" if difference == 0 else "not significant"
    if not better(metric):
        return "other"
    return "better" if (difference > 0) == (better(metric) == "higher") else "worse"


def _rows_only_in(one: Mapping[tuple, Any], other: Mapping[tuple, Any]) -> list[str]:
    here, there = ({(_name(key[0]), key[1]) for key in keys} for keys in (one, other))
    return [f"{name} on {benchmark}" for name, benchmark in sorted(here - there)]


def manifest_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Part of the manifest -> dotted key -> [old value, new value]; None stands for a key that is not there."""
    changes = {}
    for part in _COMPARED:
        before, after = flatten(old.get(part, {})), flatten(new.get(part, {}))
        differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        if differing:
            changes[part] = {key: [before.get(key), after.get(key)] for key in differing}
    for part in ("git", "seeds"):
        if old.get(part) != new.get(part):
            changes[part] = {part: [old.get(part), new.get(part)]}
    return changes


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested JSON objects as dotted keys; lists stay whole."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    if not value and prefix:
        return {prefix: {}}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def to_text(found: Mapping[str, Any]) -> str:
    """The differences as markdown."""
    lines = [f"# {found['old']} → {found['new']}", ""]
    if found["same_fingerprint"]:
        lines += ["Both versions were made from the same config, code, data and packages.", ""]
    for benchmark in dict.fromkeys(row["benchmark"] for row in found["scores"]):
        lines.append(to_markdown(_score_table(found, benchmark), level=2))
    for key, name in (("only_old", found["old"]), ("only_new", found["new"])):
        if found[key]:
            lines += [f"## Only in {name}", "", *(f"- {row}" for row in found[key]), ""]
    lines += ["## What changed", ""]
    if not found["changes"]:
        lines += [f"Nothing in {', '.join(_COMPARED)}, seeds or git commit.", ""]
    for part, changes in found["changes"].items():
        lines.append(to_markdown(_change_table(part, changes, found), level=3))
    return "\n".join(lines).rstrip() + "\n"


def _score_table(found: Mapping[str, Any], benchmark: str) -> Table:
    rows = [row for row in found["scores"] if row["benchmark"] == benchmark]
    groups = sorted({row["groups"] for row in rows if row["p"] is not None})
    tested = sum(row["p"] is not None for row in found["scores"])
    over = f"{groups[0]} to {groups[-1]}" if len(groups) > 1 else str(groups[0] if groups else 0)
    left_out = max((row["groups_left_out"] or 0 for row in rows), default=0)
    return Table(
        name=f"compare-{benchmark}",
        title=f"Scores on {benchmark}",
        caption=f"Means over seeds. p: two-sided paired t-test over {over} query groups, adjusted by Holm's method for "
        f"{tested} comparisons; {left_out} groups stand in one version only.",
        columns=[
            text_column("setting", "setting"),
            text_column("metric", "metric"),
            text_column("run", "run"),
            text_column("old", found["old"]),
            text_column("new", found["new"]),
            text_column("difference", "difference"),
            text_column("p", "p"),
            text_column("verdict", "verdict"),
        ],
        rows=[[Cell(text) for text in _score_row(row)] for row in rows],
    )


def _score_row(row: Mapping[str, Any]) -> list[str | None]:
    places = digits(row["metric"])
    numbers = [None if row[key] is None else f"{row[key]:.{places}f}" for key in ("old", "new")]
    difference = None if row["difference"] is None else f"{row['difference']:+.{places}f}"
    p = None if row["p"] is None else f"{row['p']:.3f}" if row["p"] >= 0.001 else "<0.001"
    names = [SETTING_LABELS[row["setting"]].lower(), metric_label(row["metric"]), row["run"]]
    return [*names, *numbers, difference, p, row["verdict"]]


def _change_table(part: str, changes: Mapping[str, list[Any]], found: Mapping[str, Any]) -> Table:
    return Table(
        name=f"changes-{part}",
        title=part,
        caption="",
        columns=[text_column("key", "key"), text_column("old", found["old"]), text_column("new", found["new"])],
        rows=[[Cell(key), *(Cell(_shorten(value)) for value in pair)] for key, pair in changes.items()],
    )


def _shorten(value: Any) -> str:
    if value is None:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] + "…" if re.fullmatch(r"[0-9a-f]{40,64}", text) else text


def find_version(name: str, tables: Path, study: str | None) -> Version:
    """A version by path, or by number or name (2, v2, latest) within a study."""
    number = _NUMBER.fullmatch(name)
    if study is None:
        if (number or name == "latest") and not Path(name).is_dir():
            raise DataError(
                "A version was named, but not its study.",
                where=name,
                remedy=f"add --study NAME, a folder of {tables}; or name the version's folder",
            )
        return read_version(Path(name))
    return read_version(tables / study / (f"v{number.group(1)}" if number else name))


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="polybatch compare", description="Compare two table versions.")
    parser.add_argument("old", help="a version: its folder, or with --study its number or name (1, v1, latest)")
    parser.add_argument("new", help="the version to compare with it")
    parser.add_argument("--study", help="the study that the versions belong to")
    parser.add_argument("--tables", type=Path, default=Path(TABLES), help="folder of all studies' tables")
    parser.add_argument("--all", action="store_true", help="every metric, not only those of the main tables")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    old, new = (find_version(name, args.tables, args.study) for name in (args.old, args.new))
    found = compare(old, new, every=args.all)
    if not found["scores"]:
        raise DataError(
            "The two versions have no row in common.",
            found=f"{len(found['only_old'])} rows only in {old.name}, {len(found['only_new'])} only in {new.name}",
        )
    print(
        json.dumps(found, indent=2, ensure_ascii=False) if args.json else to_text(found), end="\n" if args.json else ""
    )


if __name__ == "__main__":
    stage.run(main)
