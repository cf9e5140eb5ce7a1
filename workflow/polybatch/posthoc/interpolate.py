"""Mixes the weights of a trained model with those that its training began with.

inputs: encoders/<name>/ or models/<encoder>/untrained-<projection>/, and models/<run>/ that was trained from it
outputs: models/<run>-w<share>/: the trained model, each weight (1 - share) before + share after; mixture.json

That is WiSE-FT (Wortsman et al., arXiv 2109.01903, equation 1): a dial between what an encoder could do and what it
learned, which costs no training. Weights are mixed in float64 and rounded once, to float32.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import made_from, stage
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, write_json
from polybatch.core.sums import write_sums
from polybatch.encoders.load import carry_record, load_model
from polybatch.posthoc import card

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MIXTURE = "mixture.json"
_TOLD = 4


def interpolate(before: SentenceTransformer, after: SentenceTransformer, share: float) -> int:
    """Mixes the weights of two models into the second, in place.

    Args:
        before: The model before its training.
        after: The same, trained.
        share: Of the trained weights, above 0 and at most 1.

    Returns:
        How many weights were mixed.

    Raises:
        ConfigError: A share that is none.
        DataError: The models are built in different ways, or read text in different ways.
    """
    import torch

    if not 0 < share <= 1:
        raise ConfigError("A share of trained weights lies between 0 and 1.", expected="0 < w <= 1", found=str(share))
    if faults := list(_differences(before, after)):
        more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        raise DataError(
            "Two models whose weights are to be mixed are not built alike.",
            expected="a model, and the same after its training",
            found="; ".join(faults[:_TOLD]) + more,
            remedy="mix a model with the encoder that it was trained from",
        )
    old, mixed, seen = before.state_dict(), 0, set[int]()
    for name, weights in after.state_dict().items():
        if not torch.is_floating_point(weights) or weights.data_ptr() in seen:
            continue  # two names may stand for one tensor
        value = (1 - share) * old[name].double() + share * weights.double()
        weights.copy_(value.float())  # the tensor of the model itself
        mixed += weights.numel()
        seen.add(weights.data_ptr())
    return mixed


def _differences(before: SentenceTransformer, after: SentenceTransformer) -> Iterator[str]:
    import torch

    kinds = [[type(module).__name__ for module in model] for model in (before, after)]
    if kinds[0] != kinds[1]:
        yield f"modules {', '.join(kinds[0])} before and {', '.join(kinds[1])} after"
        return
    old, new = before.state_dict(), after.state_dict()
    yield from (f"{name} is in one of them only" for name in sorted(old.keys() ^ new.keys()))
    for name in sorted(old.keys() & new.keys()):
        if old[name].shape != new[name].shape:
            yield f"{name} is {tuple(old[name].shape)} before and {tuple(new[name].shape)} after"
        elif not torch.is_floating_point(new[name]) and not torch.equal(old[name], new[name]):
            yield f"{name}, which is no weight, differs"
    if _vocabulary(before) != _vocabulary(after):
        yield "their tokenizers know different pieces"


def _vocabulary(model: SentenceTransformer) -> Any:
    vocabulary = getattr(model.tokenizer, "get_vocab", None)
    return vocabulary() if vocabulary else None


def save(before: Path, after: Path, share: float, given: dict[str, Any], output: Path) -> None:
    """Mixes two models' folders into a third; the second's set-up, records and prompts stay."""
    old, new = (load_model(folder, device="cpu") for folder in (before, after))
    number = interpolate(old, new, share)
    record = {"share": share, "before": str(before), "after": str(after), "weights": number, **given}
    with atomic_path(output) as partial:
        new.save_pretrained(str(partial), create_model_card=False)
        carry_record(after, partial)
        for name in ("training.json", "composition.json", "batches.parquet"):
            if (after / name).is_file():
                shutil.copyfile(after / name, partial / name)
        write_json(partial / MIXTURE, record)
        (partial / card.README).write_text(card.mixed(record, after), "utf-8")
        write_sums(partial)
    stage.log.info("%s: %d weights, %g of them trained and %g as before", output, number, share, 1 - share)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.posthoc.interpolate", description=__doc__.split("\n")[0])
    parser.add_argument("--before", required=True, type=Path, help="the model that the training began with")
    parser.add_argument("--after", required=True, type=Path, help="the trained model")
    parser.add_argument("--share", required=True, type=float, help="share of the trained weights")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    record = made_from.record({"share": args.share}, before=args.before, after=args.after)
    save(args.before, args.after, args.share, {made_from.MADE_FROM: record}, args.output)


if __name__ == "__main__":
    stage.run(main)
