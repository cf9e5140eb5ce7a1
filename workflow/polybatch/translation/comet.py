"""COMET, a learned measure of translation quality, where its package and a model are there: neither is needed.

inputs: sources, translations and, for models that want them, references; a model's folder
outputs: a score for each translation; most models give 0 to 1, higher is better

The package is unbabel-comet, the models are those of hf.co/Unbabel (Rei et al., 2022, WMT22-COMET-DA). A COMET
checkpoint is a pickled file, which can run code when it is read: use one that you trust. Unverified here: the calls
below follow the package's README, and no environment of ours has had it installed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from polybatch.core.errors import ConfigError

PACKAGE = "unbabel-comet"
_BATCH = 16


def available() -> str:
    """Why COMET cannot be used; empty if it can."""
    try:
        importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return f"the package {PACKAGE} is not installed"
    return ""


def require(model_folder: Path) -> None:
    """Raises a ConfigError unless the package and the model are there."""
    reason = available() or ("" if _checkpoint(model_folder) else f"{model_folder} holds no checkpoints/*.ckpt")
    if reason:
        raise ConfigError(
            f"COMET was asked for and cannot be used: {reason}.",
            where="translation.accept.comet_model",
            found=str(model_folder),
            remedy=f"pip install {PACKAGE} and fetch a model, such as Unbabel/wmt22-comet-da, or leave the key out",
        )


def scores(
    sources: Sequence[str], translations: Sequence[str], references: Sequence[str] | None, model_folder: Path
) -> list[float]:
    """The score of each translation.

    Args:
        sources, translations: Of equal length.
        references: As many, or None for a model that judges without.
        model_folder: A COMET model as its repository is laid out.

    Raises:
        ConfigError: The package or the model is missing, or the model wants references and there are none.
    """
    require(model_folder)
    from comet import load_from_checkpoint

    model = load_from_checkpoint(str(_checkpoint(model_folder)))
    if references is None and model.requires_references():
        raise ConfigError(
            "This COMET model compares with reference translations, and there are none for this language.",
            where="translation.accept.comet_model",
            found=str(model_folder),
            remedy="name a model that judges without references, such as Unbabel/wmt22-cometkiwi-da",
        )
    rows = [{"src": source, "mt": text} for source, text in zip(sources, translations, strict=True)]
    if references is not None:
        rows = [row | {"ref": reference} for row, reference in zip(rows, references, strict=True)]
    return [float(score) for score in model.predict(rows, batch_size=_BATCH, gpus=0).scores]


def _checkpoint(model_folder: Path) -> Path | None:
    return next(iter(sorted(model_folder.glob("checkpoints/*.ckpt"))), None)
