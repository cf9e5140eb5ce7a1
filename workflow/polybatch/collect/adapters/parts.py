"""Which files of a data set's repository make up a configuration and a split.

inputs: a fetched repository, or a copy of one
outputs: the paths of its Parquet files, in order

The repository's card may declare its configurations, splits and files, in the head of README.md; `datasets` understands
that, and else tells splits by the names of files and folders (`SelfRC/train-00000-of-00001.parquet`, and of the hub's
converter `nyt/test/0000.parquet`, `default/wiki_qa-train.parquet`). It is asked with the files of one part alone,
because only those are fetched: given the folder, it refuses a card that declares more splits than are there. Rows are
read by pyarrow, not by `datasets` (docs/dependencies.md has the numbers).
"""

from __future__ import annotations

import glob
import tempfile
from pathlib import Path
from typing import Any

from polybatch.core import stage
from polybatch.core.errors import DataError

CARD = "README.md"
_DEFAULT = "default"  # what a repository without configurations has


def fetch_patterns(config: str, split: str) -> list[str]:
    """Shell patterns of the files to fetch of a part whose files no card declares."""
    own = [f"data/{split}*.parquet", f"{split}*.parquet"] if config == _DEFAULT else []
    return [CARD, *own, f"{config}/*{split}*.parquet"]


def declared_patterns(folder: Path, config: str, split: str) -> list[str]:
    """Patterns of a part's files as the repository's card declares them; none if it does not.

    Raises:
        DataError: The card's head cannot be read, or it declares the configuration without the split.
    """
    splits = _declared(folder, config)
    if splits is None:
        return []
    if split not in splits:
        raise _no_part(folder, config, split, f"the splits {', '.join(splits)}, by {CARD}")
    return splits[split]


def part_files(folder: Path, config: str, split: str) -> list[Path]:
    """The Parquet files of a part, sorted by name.

    Raises:
        DataError: The repository has no such configuration or split, or its files are not Parquet.
    """
    declared = declared_patterns(folder, config, split)
    if declared:
        found = _resolved(folder, {split: declared})
    else:
        below = [folder / config, *([folder / "data"] if config == _DEFAULT else [])]
        place = next((path for path in below if path.is_dir()), None)
        if place:
            found = _resolved(place, None)
        else:  # files of other configurations lie in folders below
            found = _resolved(folder, {split: [f"{split}*.parquet"]}) if config == _DEFAULT else {}
    files = sorted(map(Path, found.get(split, [])))
    if not files:
        raise _no_part(folder, config, split, f"the splits {', '.join(found)}" if found else _listed(folder))
    if other := [path for path in files if path.suffix != ".parquet"]:
        raise DataError(
            "The files of a data set are not Parquet.",
            where=folder,
            expected=f"Parquet files of the configuration {config}, split {split}",
            found=", ".join(path.name for path in other[:5]),
            remedy="name the branch that the hub's converter makes (revision: refs/convert/parquet)",
        )
    return files


def _declared(folder: Path, config: str) -> dict[str, list[str]] | None:
    """split -> patterns, None if the card declares no such configuration."""
    if not (folder / CARD).is_file():
        return None
    with stage.importing():
        from datasets.data_files import sanitize_patterns
        from huggingface_hub import DatasetCard

    try:
        head = DatasetCard((folder / CARD).read_text("utf-8"), ignore_metadata_errors=False).data.to_dict()
        for entry in head.get("configs") or []:
            if entry.get("config_name", _DEFAULT) == config and "data_files" in entry:
                base = f"{entry['data_dir'].strip('/')}/" if entry.get("data_dir") else ""
                splits = sanitize_patterns(entry["data_files"])
                found = {str(split): [base + pattern for pattern in patterns] for split, patterns in splits.items()}
                _require_inside(found)
                return found
    except Exception as error:  # of YAML, of the hub's client, and of `datasets`, each its own kinds
        raise DataError(
            "The card of a data set cannot be read.",
            where=folder / CARD,
            expected="a head in YAML, its configs each with config_name and data_files",
            found=str(error).splitlines()[0],
            remedy="pin a revision with a sound card (sources.<name>.revision)",
        ) from error
    return None


def _require_inside(splits: dict[str, list[str]]) -> None:
    """Raises a ValueError if a card names files that are not the repository's own: they would be read unpinned."""
    patterns = [pattern for of_split in splits.values() for pattern in of_split]
    if outside := [p for p in patterns if "://" in p or p.startswith("/") or ".." in p.split("/")]:
        raise ValueError(f"files outside the repository: {', '.join(outside[:3])}")


def _resolved(base: Path, patterns: dict[str, list[str]] | None) -> dict[str, list[str]]:
    """split -> files, as `datasets` finds them below a folder by patterns, or by their names."""
    with stage.importing():
        import datasets

    # Below a folder of its own: it keeps a cache for what it converts, which is nothing here.
    with tempfile.TemporaryDirectory() as cache:
        chosen: Any = {} if patterns is None else {"data_files": patterns}
        try:
            builder = datasets.load_dataset_builder(
                "parquet", data_dir=glob.escape(str(base)), cache_dir=cache, **chosen
            )
        except (FileNotFoundError, datasets.exceptions.DatasetNotFoundError, ValueError):
            return {}
        return {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}


def _no_part(folder: Path, config: str, split: str, found: str) -> DataError:
    return DataError(
        "A data set does not hold what is read from it.",
        where=folder,
        expected=f"files of the configuration {config}, split {split}",
        found=found,
        remedy="name one that it has (sources.<name>.config, split), or pin the revision that had it",
    )


def _listed(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "no file"
