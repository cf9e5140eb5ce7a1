"""Configurations with one thing changed at random, and what must hold of each: it is sound, or refused in words.

Used by the unit tests, a few hundred at a time, and by tests/campaigns/fuzz_config.py.
"""

from __future__ import annotations

import copy
import datetime
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from polybatch.config.grid import Run, runs
from polybatch.config.values import encoding_shards, held_out_languages, scoring_options
from polybatch.core.errors import ConfigError
from polybatch.core.option_faults import shown
from polybatch.prefetch.requests import hub_requests
from polybatch.study.resolve import resolve
from polybatch.tables.names import expected_files, report_entries

ROOT = Path(__file__).parents[2]


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _holds_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


# What people write, or a broken template leaves, where something else is wanted.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 2.0, 0.5, -0.5, 10**9, 10**30, 1e308, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        " ",
        "no",
        "all",
        "auto",
        "0.5",
        "3e-5",
        "2",
        "en",
        "xx",
        "a/b",
        "../x",
        "x\n",
        "\n",
        "\0",
        "\ud800",
        "x" * 300,
    ),
    *("tables", "é", "Ü b", "en-de", "en-en", "~", "null", "{}", "/", ".", "..", "nowhere.jsonl", "Flatt", "IVF4,Flat"),
    *([], [None], [1], ["en"], ["en", "en"], [[]], [{}], [float("nan")], ["x\n"], ["no", False]),
    *({}, {"a": 1}, {1: 2}, {None: None}, {False: "x"}, {"from": 1}, {"path": 3}, {"path": "."}, {"": ""}, {"x\n": {}}),
    *(datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), b"x", {"x"}, (1, 2)),
)
ODD_KEYS: tuple[Any, ...] = (
    None,
    False,
    1,
    3.5,
    datetime.date(2020, 1, 1),
    "",
    "x\n",
    "no",
    "unknown",
    "é" * 200,
    "\0",
)


class Mutation(NamedTuple):
    """A configuration with one thing changed.

    Attributes:
        config: The configuration.
        paths: The ways to what was changed.
        told: What was done, for a report.
    """

    config: dict[str, Any]
    paths: list[tuple[Any, ...]]
    told: str


def shipped() -> dict[str, dict[str, Any]]:
    """Every configuration that comes with the project, whole."""

    def read(name: str) -> dict[str, Any]:
        return yaml.safe_load((ROOT / name).read_text("utf-8"))

    found = {"config.yaml": read("config.yaml")}
    for path in sorted((ROOT / "workflow/studies").glob("*.yaml")):
        study = read(str(path.relative_to(ROOT)))
        below = read(study["over"]) if "over" in study else found["config.yaml"]
        found[path.stem] = study if study.get("standalone") else _laid_over(below, study)
    return found


def _laid_over(config: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The config under an overlay, as Snakemake merges them: mappings in depth, all else replaced."""
    both = {key: (config.get(key), value) for key, value in overlay.items()}
    deep = {k: _laid_over(a, b) if isinstance(a, dict) and isinstance(b, dict) else b for k, (a, b) in both.items()}
    return {**config, **deep}


def mutations(config: dict[str, Any], number: int, seed: int, changes: int = 1) -> Iterator[Mutation]:
    """So many mutations of a configuration, of so many changes each, the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(number):
        changed = copy.deepcopy(config)
        made = [_change(chance, *chance.choice(list(_places(changed)))) for _ in range(changes)]
        told = "; ".join(f"{'.'.join(map(str, path))}: {change}" for path, change in made)
        yield Mutation(changed, [path for path, _ in made], told)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """(way, what holds it, its key there) of everything in a configuration, as deep as one goes."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield (*path, key), value, key
        if isinstance(item, (dict, list)) and len(path) < 8:
            yield from _places(item, (*path, key))


def _change(chance: random.Random, path: tuple[Any, ...], holder: Any, key: Any) -> tuple[tuple[Any, ...], str]:
    kind = chance.randrange(10)
    if kind == 0:
        del holder[key]
        return path, "deleted"
    if kind == 1 and isinstance(holder, dict):
        name = chance.choice(ODD_KEYS)
        holder[name] = chance.choice(ODD_VALUES)
        return (*path[:-1], name), f"new key {name!r}: {holder[name]!r}"
    if kind == 2 and isinstance(holder, dict):
        name = str(key)[:-1] + chance.choice("xyz_")
        holder[name] = holder.pop(key)
        return (*path, name), f"called {name!r}"
    if kind == 3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
        return path, "twice in its list"
    if kind == 4:
        holder[key] = chance.choice((_deep(60), _deep(900), _holds_itself()))
        return path, "nested deeply"
    if kind == 5:
        holder[key] = [holder[key]]
        return path, "in a list"
    if kind == 6 and isinstance(holder[key], str):
        holder[key] += chance.choice(("\n", "x", " ", "/", "é"))
        return path, f"now {holder[key]!r}"
    if kind == 7 and isinstance(holder[key], (int, float)) and abs(holder[key]) < 10**9:
        holder[key] = chance.choice((-holder[key], float(holder[key]), str(holder[key]), holder[key] * 10**12))
        return path, f"now {holder[key]!r}"
    holder[key] = chance.choice(ODD_VALUES)
    return path, f"now {holder[key]!r}"[:100]


def judge(mutation: Mutation) -> bool:
    """Whether a mutated configuration is sound; False if it is refused.

    Raises:
        AssertionError: It is refused in words that do not name the key, or what is made of it does not hold.
        Exception: Anything but a ConfigError is a defect.
    """
    try:
        resolved = resolve(mutation.config)
    except ConfigError as error:
        text = str(error)
        every = [part for path in mutation.paths for part in path]
        keys = [part for part in every if type(part) is not int or "new key" in mutation.told]
        spelled = [words for key in keys for words in (str(key), repr(key).strip("'"), shown(key))]
        assert any(words in text for words in spelled), f"{mutation.paths} are not in:\n{text}"
        assert "Traceback" not in text and "pydantic" not in text, text
        return False
    json.dumps(resolved, allow_nan=False).encode("utf-8")
    for run in runs(resolved):
        assert Run.parse(run.name) == run
        assert all(len(part.encode()) <= 255 and part.isprintable() for part in run.name.split("/"))
        assert encoding_shards(resolved, run.encoder) >= 1
    for name, entry in resolved["benchmarks"].items():
        if "split" in entry and "adapter" not in entry:
            held_out_languages(resolved, name)
        scoring_options(resolved, name)
    expected_files(resolved)
    report_entries(resolved)
    hub_requests(resolved)
    return True
