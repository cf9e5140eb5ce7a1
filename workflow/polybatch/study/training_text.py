"""What a study needs of training text: all of it where anything is trained, that of a benchmark, or none.

inputs: a configuration with its defaults filled in and what it names looked up, whatever faults it still has
outputs: the same configuration, without what it has no use for; `Fault`s of what it lacks

A study whose `runs` are empty measures encoders as they come. Nothing of training text is then made for it, and what
its configuration says of such text (it may lie over one that trains) has no meaning: the resolved configuration, which
the manifest keeps, says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polybatch.config.catalogue import Config
from polybatch.config.grid import UNTRAINED
from polybatch.core.option_faults import Fault
from polybatch.tables.scores import DEFAULT_REFERENCE


def trains(config: Config) -> bool:
    """Whether a study has trainings; one whose `runs` cannot be read has."""
    return bool(_part(config, "study").get("runs", True))


def reads_training_text(config: Config) -> bool:
    """Whether training text is made: for trainings, or for the tokenizer of an encoder from scratch."""
    entries = (_entry(config, "encoders", name) for name in _names(config, "encoders"))
    return trains(config) or any("scratch" in entry for entry in entries)


def reads_source(config: Config) -> bool:
    """Whether a source is read: for training text, held-out text of a benchmark, or translators that are trained."""
    if reads_training_text(config):
        return True
    scored = [_entry(config, "benchmarks", name) for name in _names(config, "benchmarks")]
    originals = [_entry(config, "benchmarks", entry.get("queries_of", "")) for entry in scored]
    held_out = any("split" in entry and "adapter" not in entry for entry in [*scored, *originals])
    return held_out or any(_trains_translators(config, entry) for entry in scored)


def missing_faults(config: Config) -> Iterator[Fault]:
    """`source` and `languages.train`, where the study needs them and they are not there."""
    why = "" if trains(config) else " in a study of encoders from scratch, or of held-out text"
    if reads_source(config) and config.get("source", []) == []:
        yield Fault(("source",), f"is missing: where the text comes from{why}")
    languages = config.get("languages")
    if reads_training_text(config) and isinstance(languages, dict) and languages.get("train", []) == []:
        yield Fault(("languages", "train"), "is missing: the languages of the training text")


def without_training_text(config: Config) -> None:
    """Takes out, in place, what a study has no use for, and fills in what its reference is."""
    study, languages = _part(config, "study"), _part(config, "languages")
    if not trains(config):
        encoders = _names(config, "encoders")
        if study.get("reference", UNTRAINED) == UNTRAINED and encoders:
            study["reference"] = encoders[0]
    study.setdefault("reference", DEFAULT_REFERENCE)
    if not reads_training_text(config):
        languages["train"] = []
        config.pop("validation", None)
        for key, values in (("translation", {"languages": []}), ("decontamination", {"enabled": False})):
            _part(config, key).update(values)
        _part(config, "decontamination")["benchmarks"] = []
        _part(config, "translation").pop("paraphrases", None)
    if not reads_source(config):
        config["source"] = []
    # Faults are looked for in what is there; that these are missing has been told.
    languages.setdefault("train", [])
    config.setdefault("source", [])


def _trains_translators(config: Config, benchmark: dict[str, Any]) -> bool:
    """Whether a translator of a benchmark's queries is trained here, on strings of the sources."""
    translation, languages = _part(config, "translation"), benchmark.get("translate")
    used = [
        _part(translation, "translators").get(f"en-{code}") or translation.get("default")
        for code in (languages if isinstance(languages, list) else [])
    ]
    return any(isinstance(entry, dict) and "trained" in entry for entry in used)


def _part(config: Config, key: str) -> dict[str, Any]:
    """A part of the configuration; an empty one of no consequence where it has another shape."""
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _entry(config: Config, kind: str, name: Any) -> dict[str, Any]:
    return _part(_part(config, kind), name) if isinstance(name, str) else {}


def _names(config: Config, kind: str) -> list[str]:
    names = _part(config, "study").get(kind)
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
