"""What the adapters of data sets of the Hugging Face hub share: their options, and where their files are.

inputs: an entry of `sources`; the record of a fetched repository, or a folder laid out like one
outputs: `HubOptions`; a `core.hub.Snapshot`
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polybatch.collect.options import HubOptions
from polybatch.core.hub import Snapshot, read_record

# Keys of a config entry that others read.
_NOT_OPTIONS = {"name", "adapter", "passages", "path", "translate", "url", "sha256", "max_pairs", "weight"}


def hub_options(spec: dict[str, Any], kind: type[HubOptions] = HubOptions) -> Any:
    """The options in an entry of `sources`, as `kind` declares them.

    Raises:
        ConfigError: Unknown or unusable ones, all at once.
    """
    return kind.from_values({key: value for key, value in spec.items() if key not in _NOT_OPTIONS})


def snapshot_at(path: Path) -> Snapshot:
    """The snapshot of a record, or a folder as one: a copy of the repository that the user has."""
    return Snapshot(str(path), "dataset", "local", "local", path) if path.is_dir() else read_record(path)
