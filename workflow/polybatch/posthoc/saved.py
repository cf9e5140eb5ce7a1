"""A model's projection, as `polybatch.posthoc.estimate` saved it.

inputs: models/<run>-<projection>/
outputs: what is done to the embeddings of the model before it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polybatch.core.errors import DataError
from polybatch.core.files import read_json
from polybatch.core.sums import check_sums
from polybatch.encoders.load import PROJECTION, modules_of
from polybatch.posthoc.projections import Directions, LanguageVectors, Projection

VECTORS = "language_vectors.safetensors"
_DENSE = "linear.weight"


def read_projection(folder: Path) -> tuple[Projection, dict[str, Any]]:
    """The projection of a model's folder, and its record (projection.json).

    Raises:
        DataError: There is none, or it is not whole.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    check_sums(folder)
    record = read_json(folder / PROJECTION)
    try:
        if record["kind"] == "lir":
            _, part = modules_of(folder)[record["module"]]
            return Directions(load_file(part / "model.safetensors")[_DENSE]), record
        return LanguageVectors(load_file(folder / VECTORS)), record
    except (OSError, KeyError, IndexError, SafetensorError) as error:
        raise DataError(
            "A model's projection cannot be read.",
            where=folder,
            expected=f"{PROJECTION}, and the module or the vectors that it names",
            found=f"{type(error).__name__}: {error}",
            remedy="make the model again",
        ) from error
