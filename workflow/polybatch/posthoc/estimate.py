"""Makes a model that tells less of a text's language, without a training: a projection of its embeddings.

inputs: a model (encoders/<name>/, models/<run>/), language_means/<run>/<side>.parquet of the sides that are needed
outputs: models/<run>-<projection>/: the same model, projection.json (what was estimated, from how many texts) and

- for `lir` a Dense module without bias behind its modules, and a Normalize: an ordinary sentence-transformers model,
  which does all by itself;
- for `centring` and `shift` language_vectors.safetensors: what is taken off a vector hangs on its text's language,
  which whoever embeds must know (`polybatch.posthoc.project` does it here).

No text is embedded here, and the means are of training text alone. Languages that have none get, with `centring`, the
mean of all languages' means taken off; with `shift` their passages stay as they are, as in its source.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.config.grid import rank_of
from polybatch.core import made_from, stage
from polybatch.core.errors import ConfigError
from polybatch.core.files import atomic_path, read_json, write_json
from polybatch.core.sums import write_sums
from polybatch.encoders.load import PROJECTION, load_model
from polybatch.posthoc import card
from polybatch.posthoc.options import ProjectionOptions
from polybatch.posthoc.projections import OTHER, SIDES, language_directions, mean_of_means
from polybatch.posthoc.saved import VECTORS
from polybatch.posthoc.saved_means import LanguageMeans

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

CENTRING, LIR, SHIFT = "centring", "lir", "shift"
_OTHERS = {
    CENTRING: "the mean of the languages' means is taken off",
    LIR: "projected as all others are",
    SHIFT: "left as they are",
}


@dataclass
class Estimate:
    """A projection of one model.

    Attributes:
        kind: "centring", "lir" or "shift".
        record: What projection.json says of it.
        basis: (directions, dim) float64, of `lir`.
        vectors: "<side>.<lang>" -> (dim,) float32, of the others.
    """

    kind: str
    record: dict[str, Any]
    basis: np.ndarray | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)


def estimate(means: LanguageMeans, projection: str, options: ProjectionOptions) -> Estimate:
    """Estimates a projection from the means of languages.

    Args:
        means: Those of the model's vectors.
        projection: As run names spell it: "centring", "lir", "lir-r8", "shift".
        options: How strong `shift` is.

    Raises:
        ConfigError: Fewer than two languages; `shift` without English.
        DataError: Too few texts in a language, or directions; means that are not there.
    """
    import numpy as np

    kind = projection.partition("-")[0]
    _require(means.languages, kind)
    made = Estimate(kind, {"projection": projection, "kind": kind})
    if kind == LIR:
        made.basis, values = language_directions(means.of_languages("corpus"), rank_of(projection))
        shares = np.square(values) / np.square(values).sum()
        made.record["rank"] = len(made.basis)
        made.record["explained"] = float(shares[: len(made.basis)].sum())
        made.record["singular_values"] = [float(value) for value in values]
    elif kind == CENTRING:
        for side in SIDES:
            found = means.of_languages(side)
            taken = {**found, OTHER: mean_of_means(found)}
            made.vectors |= {f"{side}.{lang}": vector.astype(np.float32) for lang, vector in taken.items()}
    else:
        made.record["strength"] = options.strength
        for lang, vector in means.differences().items():
            made.vectors[f"corpus.{lang}"] = (options.strength * vector).astype(np.float32)
    made.record["texts"] = means.counts
    made.record["other_languages"] = _OTHERS[kind]
    return made


def _require(languages: Sequence[str], kind: str) -> None:
    found = " ".join(languages)
    if len(languages) < 2:
        raise ConfigError("A projection needs text of two languages or more.", expected="two", found=found)
    if kind == SHIFT and "en" not in languages:
        raise ConfigError("shift moves passages to English.", expected="en among the languages", found=found)


def add_directions(model: SentenceTransformer, basis: np.ndarray) -> int:
    """Puts a Dense module that projects out directions, and a Normalize, behind a model's modules, in place.

    Returns:
        The number of the Dense module.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    from polybatch.posthoc.projections import Directions

    dim, place = basis.shape[1], len(model)
    weight = torch.from_numpy(Directions.from_basis(basis).matrix)
    dense = Dense(dim, dim, bias=False, activation_function=torch.nn.Identity(), init_weight=weight)
    model.append(dense.to(model.device))
    model.append(Normalize())
    return place


def save(folder: Path, made: Estimate, given: dict[str, Any], output: Path) -> None:
    """Writes the model with its projection.

    Args:
        folder: The model that was projected.
        made: The projection.
        given: What goes into projection.json besides.
        output: models/<run>.
    """
    from safetensors.numpy import save_file

    record = {**made.record, **given, "before": _before(folder)}
    with atomic_path(output) as partial:
        if made.basis is None:
            shutil.copytree(folder, partial)
            save_file(made.vectors, partial / VECTORS)
        else:
            model = load_model(folder, device="cpu")
            record["module"] = add_directions(model, made.basis)
            model.save_pretrained(str(partial), create_model_card=False)
            _carry(folder, partial)
        write_json(partial / PROJECTION, record)
        (partial / card.README).write_text(card.projected(record, folder), "utf-8")
        write_sums(partial)


def _before(folder: Path) -> dict[str, Any] | None:
    """The projection that the model had already, if any."""
    path = folder / PROJECTION
    return read_json(path) if path.is_file() else None


def _carry(folder: Path, output: Path) -> None:
    """What lies beside a model and is not saved with it: where it came from, and how it was trained."""
    for name in ("encoder.json", "training.json", "composition.json", "batches.parquet", "mixture.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.posthoc.estimate", description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=Path, help="the model whose embeddings are projected")
    parser.add_argument("--means", required=True, nargs="+", type=Path, help="of its vectors, a file a side")
    parser.add_argument("--projection", required=True, help="centring, lir, lir-r8 and the like, or shift")
    parser.add_argument("--options", default="{}", help="ProjectionOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    options = ProjectionOptions.from_json(args.options)
    given = {"projection": args.projection, "estimation": options.given()}
    record = made_from.record(given, model=args.model, means=args.means)
    means = LanguageMeans.read(args.means, record["inputs"]["model"], options.min_texts)
    made = estimate(means, args.projection, options)
    save(args.model, made, {"model": str(args.model), made_from.MADE_FROM: record}, args.output)
    stage.log.info("%s: %s", args.output, card.words(made.record))


if __name__ == "__main__":
    stage.run(main)
