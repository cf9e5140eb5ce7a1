"""Faults of what a configuration translates, and with what.

inputs: a configuration with its defaults filled in and what it names looked up (polybatch.study.resolve)
outputs: `Fault`s
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Any

from polybatch.config.user_files import path_fault
from polybatch.config.values import Config, translator_entry, used_directions
from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.core.option_faults import Fault, Way
from polybatch.translation.families import family_fault


def translation_faults(config: Config) -> Iterator[Fault]:
    """Languages without a translator, and translators that are not there."""
    translation = config["translation"]
    for i, code in enumerate(translation["languages"]):
        where: Way = ("translation", "languages", i)
        if code not in config["languages"]["train"]:
            text = f"{code!r} is not among languages.train; add it there, or give translation.languages without it"
            yield Fault(where, text)
        if code == "en":
            yield Fault(where, "the pairs to be translated are English already; take 'en' out")
            continue
        for direction in (f"en-{code}", f"{code}-en"):
            if translator_entry(config, direction) is None:
                yield Fault(
                    where,
                    f"no translator for {direction}; add translation.translators.{direction} or translation.default, "
                    f"or take {code!r} out of translation.languages",
                )
    if (code := translation.get("paraphrases")) and code not in translation["languages"]:
        yield Fault(("translation", "paraphrases"), f"{code!r} is not among translation.languages")
    used = used_directions(config)
    for direction, entry in translation["translators"].items():
        path = ("translation", "translators", direction)
        yield from (fault.under(*path) for fault in _translator_faults(config, entry, [direction], used))
    if "default" in translation:
        others = [direction for direction in used if direction not in translation["translators"]]
        found = _translator_faults(config, translation["default"], others, others)
        yield from (fault.under("translation", "default") for fault in found)
    if (folder := translation["accept"].get("comet_model")) and (text := path_fault(folder, "folder")):
        yield Fault(("translation", "accept", "comet_model"), text)


def _translator_faults(
    config: Config, entry: dict[str, Any], directions: list[str], used: list[str]
) -> Iterator[Fault]:
    """A translator that is not there, or was not made for a direction that it stands for."""
    trained = config["translator_training"]
    if "trained" in entry and entry["trained"] not in trained:
        yield Fault(("trained",), f"{entry['trained']!r} is not among translator_training ({', '.join(trained)})")
    elif "trained" in entry:
        for direction in directions:
            if direction not in trained[entry["trained"]]["directions"]:
                text = f"translator_training.{entry['trained']} does not train {direction}"
                yield Fault(("trained",), text)
    elif "path" in entry and set(directions) & set(used):
        if text := path_fault(entry["path"], "folder"):
            yield Fault(("path",), f"{entry['path']} is no translator folder: {text}")
        elif path_fault(os.path.join(entry["path"], "translator.json"), "file"):
            yield Fault(("path",), f"{entry['path']} is no translator folder (it has no translator.json)")
        elif text := _card_fault(os.path.join(entry["path"], "translator.json")):
            yield Fault(("path",), text)


def _card_fault(path: str) -> str:
    """What is wrong with a translator's card; "" if nothing is."""
    try:
        fault = family_fault(read_json(path))
    except DataError as error:
        return f"{path}: {error.problem} {error.found}"
    return f"{path}: {fault}" if fault else ""
