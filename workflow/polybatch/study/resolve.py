"""Resolves a configuration: fills in defaults, looks up what it names, and finds every fault at once.

inputs: config.yaml with its overlays, as Snakemake merged them, and the files themselves; the catalogue
outputs: a plain dictionary that every rule reads
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polybatch.config.catalogue import Config, collection_of, listed, source_name, with_catalogue
from polybatch.config.lines import Lines
from polybatch.config.secrets import require_no_secrets
from polybatch.config.shape import plain, spell_out_defaults
from polybatch.core.errors import ConfigError
from polybatch.core.option_faults import Fault
from polybatch.core.options import faults_of
from polybatch.study.options import Configuration


def resolve(config: Config, files: Sequence[str | Path] = ()) -> Config:
    """The config with its defaults filled in, and what it names looked up in the catalogue.

    `source` becomes a list of {name, adapter, ...}; sources, encoders and benchmarks hold what the study uses.

    Args:
        config: As Snakemake merged it from its files; it is left as it is.
        files: These files, the last of which wins: faults are told with the line that they stand in, and keys that a
            file gives twice are faults.

    Raises:
        ConfigError: A secret stands in it, which is told alone and first. Else once, with all faults: unknown, missing
            or repeated keys, wrong types and values, names of what is not there, files and folders that are not there,
            and what does not go together.
    """
    from polybatch.collect.faults import entry_faults
    from polybatch.study.faults import semantic_faults
    from polybatch.study.training_text import missing_faults, without_training_text

    readable, found = plain(config)
    require_no_secrets(readable)
    lines = Lines(files)
    faults = _repeated(lines)
    resolved = with_catalogue(readable)
    shape = [*found, *faults_of(Configuration, resolved)]
    if isinstance(resolved.get("sources"), dict):
        shape += entry_faults(resolved)
    spell_out_defaults(resolved, Configuration)
    shape += missing_faults(resolved)
    without_training_text(resolved)
    left_out = {fault.path for fault in found}
    faults += [fault for i, fault in enumerate(shape) if i < len(found) or fault.path not in left_out]
    faults += semantic_faults(resolved, shape)
    if faults:
        raise ConfigError(_list(faults, lines), remedy=_REMEDY)
    resolved["source"] = [_resolve_source(resolved, entry) for entry in listed(resolved["source"])]
    resolved.setdefault("collection", collection_of(resolved))
    # What it lay over is in it now: the same study however its files were named.
    resolved.pop("over", None)
    return resolved


_REMEDY = "correct config.yaml or the overlay given with --configfile; docs/config.md explains every key"


def _list(faults: Sequence[Fault], lines: Lines) -> str:
    numbered = []
    for i, fault in enumerate(dict.fromkeys(faults), 1):
        place = lines.of(fault.at or fault.path)
        numbered.append(f"  {i}. {fault.where}{f' ({place})' if place else ''}: {fault.text}")
    return f"The configuration has {len(numbered)} fault(s):\n" + "\n".join(numbered)


def _repeated(lines: Lines) -> list[Fault]:
    text = "is given in line {} already; YAML keeps the last alone: join the two"
    return [Fault((*path, key), text.format(first)) for path, key, first in lines.repeated]


def _resolve_source(config: Config, source: Any) -> dict[str, Any]:
    """One source as the stages take it: {name, adapter, ...}."""
    if isinstance(source, str):
        return {"name": source, **config["sources"][source]}
    return {"name": source_name(source), **source, "adapter": "local"}
