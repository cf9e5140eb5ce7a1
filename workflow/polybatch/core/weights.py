"""Weights of models are read from safetensors alone: a pickled file can run code when it is read.

Libraries fall back to pickled weights without a word where a safetensors file of the exact name is missing, whatever
else the folder holds, and where an index of shards names one. Both are told in plain words before (`unsafe_weights`),
and while a model is loaded no pickled file can be read at all (`no_pickles`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError

# Pickled, or of a kind that can hold pickled objects.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.h5", "*.hdf5", "*.npy", "*.npz")
SAFETENSORS_REMEDY = (
    "name a revision that has model.safetensors (many repositories keep one on a pull request, refs/pr/<number>), "
    "or convert the weights yourself and name the folder"
)
_SAFE = ".safetensors"
# What loaders look for by name -> what they take instead where it is missing.
_INSTEAD = {"model": "pytorch_model", "adapter_model": "adapter_model"}


def unsafe_weights(folder: Path) -> Iterator[str]:
    """In words, what loaders of the folder would read that is not safetensors; nothing if the folder is safe."""
    for safe, pickled in _INSTEAD.items():
        for path in sorted(folder.glob(f"{pickled}*.bin*")):
            if not any((folder / f"{safe}{_SAFE}{end}").is_file() for end in ("", ".index.json")):
                yield path.name
    for index in sorted(folder.glob(f"*{_SAFE}.index.json")):
        yield from (f"{index.name}: {shard}" for shard in _shards(index) if not shard.endswith(_SAFE))


def has_weights(folder: Path) -> bool:
    """Whether loaders find safetensors weights in the folder."""
    return any((folder / f"{name}{_SAFE}{end}").is_file() for name in _INSTEAD for end in ("", ".index.json"))


def pickled_files(folder: Path) -> list[str]:
    """Names of the pickled files in a folder."""
    return sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(map(str, json.loads(index.read_text("utf-8"))["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DataError(
            "The list of a model's shards cannot be read.",
            where=index,
            expected='{"weight_map": {weight: file}}',
            found=f"{type(error).__name__}: {error}",
            remedy="fetch the model again",
        ) from error


def require_safe(folder: Path) -> None:
    """Raises a DataError if a loader would read pickled weights of the folder."""
    found = list(unsafe_weights(folder))
    if found:
        raise DataError(
            "The weights are pickled, and pickled files are not read: they can run code.",
            where=folder,
            expected="model.safetensors",
            found=", ".join(found[:5]),
            remedy=SAFETENSORS_REMEDY,
        )


@contextmanager
def no_pickles() -> Iterator[None]:
    """A context in which `torch.load` raises a DataError, whichever library calls it."""
    import torch

    def refuse(file: Any, *args: Any, **kwargs: Any) -> None:
        raise DataError(
            "The weights are pickled, and pickled files are not read: they can run code.",
            where=file if isinstance(file, (str, Path)) else getattr(file, "name", ""),
            expected="safetensors",
            remedy=SAFETENSORS_REMEDY,
        )

    kept = torch.load
    torch.load = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.load = kept
