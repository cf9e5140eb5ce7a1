"""What is wrong with the entries of `study.runs`: axes that do not go together, or with the study's languages.

inputs: a configuration with its defaults filled in and what it names looked up
outputs: `Fault`s, none for sound entries
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polybatch.config.catalogue import Config, listed
from polybatch.config.grid import NONE, UNTRAINED, alpha_label, rank_of, share_label
from polybatch.core.contracts import PLAIN_OBJECTIVE
from polybatch.core.errors import DataError
from polybatch.core.files import open_parquet
from polybatch.core.lines import numbered_lines
from polybatch.core.option_faults import Fault, Way
from polybatch.core.row_files import format_of
from polybatch.posthoc.options import ProjectionOptions

# The keys of an entry that only a training has.
_OF_TRAININGS = ("seeds", "alphas", "objectives", "begin", "shares")


def run_faults(config: Config) -> Iterator[Fault]:
    """The faults of all entries, in their order."""
    for i, entry in enumerate(config["study"]["runs"]):
        path: Way = ("study", "runs", i)
        yield from _axis_faults(entry, path)
        yield from _spelling_faults(entry, path)
        yield from _language_faults(entry, path, config)
        yield from _encoding_faults(entry, path, config)
        yield from _size_faults(entry, path, config)
    yield from _objective_faults(config)


def _axis_faults(entry: dict[str, Any], path: Way) -> Iterator[Fault]:
    """Keys that the sampling needs, or has no use for."""
    sampling = entry["sampling"]
    if sampling == UNTRAINED:
        for key in _OF_TRAININGS:
            if key in entry:
                yield Fault((*path, key), f"{key} belong to trainings, not to {UNTRAINED}; it takes projections alone")
        if "projections" not in entry:
            yield Fault(
                path, "untrained needs projections, for example [lir]; study.untrained: true scores it as it is"
            )
        return
    if "seeds" not in entry:
        yield Fault((*path, "seeds"), "is missing: one training for each, for example seeds: [13]")
    if sampling == "hybrid" and "alphas" not in entry:
        yield Fault(path, "hybrid needs alphas, for example alphas: [0.5]")
    if sampling != "hybrid" and "alphas" in entry:
        yield Fault((*path, "alphas"), f"alphas belong to hybrid, not to {sampling}")
    for objective in entry.get("objectives", []):
        if sampling == "en-en" and objective != PLAIN_OBJECTIVE:
            yield Fault((*path, "objectives"), f"{objective} compares translations, and en-en sees none of them")


def _spelling_faults(entry: dict[str, Any], path: Way) -> Iterator[Fault]:
    """Values that are two here and one in run names."""
    spelled: dict[str, list[str | None]] = {
        "alphas": [alpha_label(alpha) for alpha in entry.get("alphas", [])],
        "shares": [share_label(share) for share in entry.get("shares", [])],
    }
    for key, labels in spelled.items():
        for label in sorted({label for label in labels if label and labels.count(label) > 1}):
            yield Fault((*path, key), f"two {key} are spelled {label} in run names; leave one out")


def _language_faults(entry: dict[str, Any], path: Way, config: Config) -> Iterator[Fault]:
    """What needs more languages than are trained on."""
    languages = len(config["languages"]["train"])
    if languages < 2 and entry["sampling"] in ("x-y", "hybrid"):
        yield Fault(path, f"{entry['sampling']} needs two training languages or more")
    for objective in entry.get("objectives", []):
        if languages < 2 and objective != PLAIN_OBJECTIVE:
            yield Fault((*path, "objectives"), f"{objective} needs two training languages or more")
    for key in ("begin", "projections"):
        for projection in entry.get(key, []):
            if projection == NONE:
                continue
            rank = rank_of(projection)
            if languages < 2:
                yield Fault((*path, key), f"{projection} needs text of two training languages or more")
            elif rank is not None and rank > languages - 1:
                yield Fault(
                    (*path, key),
                    f"{projection} has more directions than the means of {languages} languages, around their mean, "
                    f"give: at most {languages - 1}",
                )


def _encoding_faults(entry: dict[str, Any], path: Way, config: Config) -> Iterator[Fault]:
    """Projections are of whole embeddings: what is cut off them would be projected as if it were zero."""
    study = [("encoding", config["encoding"])]
    own = [
        (f"encoders.{name}.encoding", config["encoders"][name]["encoding"])
        for name in config["study"]["encoders"]
        if name in config["encoders"]
    ]
    for where, values in [*study, *own]:
        for projection in entry.get("projections", []) if values.get("truncate_dim") is not None else []:
            if projection != NONE:
                text = f"{projection} is of whole embeddings, and {where}.truncate_dim cuts them"
                yield Fault((*path, "projections"), text)


def _size_faults(entry: dict[str, Any], path: Way, config: Config) -> Iterator[Fault]:
    """Projections whose means would be of too few texts, where that is known before any is read."""
    needed = config["projection"].get("min_texts", ProjectionOptions.default_of("min_texts"))
    most = config["mixture"].get("max_pairs") or needed  # 0 takes all
    for key in ("begin", "projections"):
        if all(projection == NONE for projection in entry.get(key, [])):
            continue
        told = f"are estimated from {needed} texts a language or more"
        if most < needed:
            text = f"{told}, and mixture.max_pairs takes {most} pairs: take more, or lower projection.min_texts"
            yield Fault((*path, key), text)
        elif (rows := _most_rows(config, needed)) is not None and rows < needed:
            text = f"{told}, and the study's own files hold {rows} rows: add text, or lower projection.min_texts"
            yield Fault((*path, key), text)


def _most_rows(config: Config, enough: int) -> int | None:
    """Rows of the study's sources, if all are files of the user's own that hold fewer than are enough; else None.

    A row of text stands in a line at least, so that lines are a bound, and more are not read than are enough.
    """
    rows = 0
    for source in listed(config["source"]):
        entry = config["sources"].get(source, {}) if isinstance(source, str) else source
        if "path" not in entry or entry.get("adapter", "local") != "local":
            return None
        path = Path(entry["path"])
        form = entry.get("format") or format_of(path)
        if not path.is_file() or form not in ("jsonl", "csv", "tsv", "parquet"):
            return None  # that it is not there, others tell; SQuAD's JSON is one document
        try:
            if form == "parquet":
                rows += open_parquet(path).metadata.num_rows
            else:
                lines = sum(1 for _ in itertools.islice(numbered_lines(path), enough + 2 - rows))
                rows += lines - (form != "jsonl" and lines > 0)  # the header
        except DataError:
            return None  # a damaged file, which the stage that reads it tells with its line
        if rows >= enough:
            return None
    return rows


def _objective_faults(config: Config) -> Iterator[Fault]:
    """Options that cannot be used with an objective; each where it is given, and once."""
    from polybatch.training.objectives.known import refused_options, validation_fault
    from polybatch.training.options import TrainingOptions

    wanted = dict.fromkeys(name for entry in config["study"]["runs"] for name in entry.get("objectives", []))
    for encoder in config["study"]["encoders"]:
        given = config["encoders"][encoder]["training"] if encoder in config["encoders"] else {}
        options = {**config["training"], **given}
        if TrainingOptions.conflicts_of(options):
            continue
        for objective in wanted:
            read = TrainingOptions.from_values(options)
            found = [*refused_options(objective, read), *validation_fault(objective, read)]
            for conflict in found:
                at = [name for name in conflict.names if name in given]
                path: Way = ("encoders", encoder, "training", at[0]) if at else ("training", conflict.names[0])
                yield Fault(path, conflict.text)
