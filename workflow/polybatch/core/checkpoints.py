"""Which checkpoints a training may continue from, and the weights in them.

A folder of checkpoints carries the fingerprint of what made them (data, encoder, options, seed, code, versions).
Checkpoints with another fingerprint are removed, and so is one that a killed process left half written: its checksums,
which are written last, are missing. One that differs from its checksums is set aside, and the one before it serves.

inputs: the folder of a training's checkpoints; the fingerprint of what the training depends on
outputs: the checkpoint to continue from, if any; weights as safetensors

A checkpoint holds the weights that are trained, as safetensors, and no model folder: what is not trained (a frozen
transformer below adapters, a tokenizer, a model's own code) comes from the encoder, which the fingerprint names.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core.errors import DataError, TrainingError
from polybatch.core.files import read_json, sha256_file, write_json
from polybatch.core.stage import log
from polybatch.core.sums import SUMS, check_sums, set_aside, write_sums

if TYPE_CHECKING:
    from torch import Tensor, nn

_FINGERPRINT = "fingerprint.json"
_WEIGHTS = "weights.safetensors"
_STATE = "trainer_state.json"


def prepare(folder: Path, fingerprint: Mapping[str, Any]) -> Path | None:
    """Readies `folder` for a training and finds where to resume.

    Returns:
        The last whole checkpoint that the same inputs made; None to start at step 0.
    """
    if folder.exists() and (differing := _differing(folder, fingerprint)):
        log.info("checkpoints in %s are discarded, they were made with other: %s", folder, ", ".join(differing))
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _FINGERPRINT, fingerprint)
    whole: dict[int, Path] = {}
    for path in sorted(folder.glob("checkpoint-*"), key=step_of):
        if not (path / SUMS).exists():
            log.info("%s is discarded, it was not written to its end", path)
            shutil.rmtree(path)
        elif _is_whole(path):
            whole[step_of(path)] = path
    # The one with the best loss so far is needed at the end.
    usable = [path for path in whole.values() if state_of(path)["best_global_step"] in (None, 0, *whole)]
    return usable[-1] if usable else None


def of_step(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"checkpoint-{step}"


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint was saved after."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def state_of(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state as saved with a checkpoint."""
    return read_json(checkpoint / _STATE)


def is_finished(state: Mapping[str, Any]) -> bool:
    """Whether the training that saved this state had come to its end, by its last step or by early stopping."""
    return bool(state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"])


def num_ranks(checkpoint: Path) -> int:
    """How many processes saved a checkpoint; each of them left the state of its random number generators."""
    return len(list(checkpoint.glob("rng_state_*.pth"))) or 1


def seal(checkpoint: Path) -> None:
    """Writes the checksums of a checkpoint, last of all."""
    write_sums(checkpoint)


def save_weights(model: nn.Module, checkpoint: Path) -> None:
    """Writes what is trained of a model."""
    from safetensors.torch import save_file

    checkpoint.mkdir(parents=True, exist_ok=True)
    save_file(_trained(model), checkpoint / _WEIGHTS)


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Brings a model, in place, to the weights that `save_weights` wrote.

    Raises:
        TrainingError: They are not there, cannot be read, are of another model, or are not all numbers.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(checkpoint / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            "A checkpoint's weights cannot be read.",
            where=checkpoint / _WEIGHTS,
            found=str(error),
            remedy="run the same `snakemake` command again: a damaged checkpoint is then set aside",
        ) from error
    expected = _trained(model).keys()
    if weights.keys() != expected:
        raise TrainingError(
            "A checkpoint holds other weights than the encoder has.",
            where=checkpoint / _WEIGHTS,
            expected=f"{len(expected)} tensors",
            found="not in both: " + ", ".join(sorted(weights.keys() ^ expected)[:5]),
            remedy="delete the folder of checkpoints and train again",
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise TrainingError("The trained weights are not all numbers.", where=checkpoint, remedy="lower learning_rate")
    model.load_state_dict(weights, strict=False)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that are trained, each under its first name, and whatever else a model keeps that is no parameter."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {
        name: tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
        if name in trained or name not in parameters
    }


def fingerprint_of(path: Path) -> str | dict[str, str]:
    """The SHA-256 of a file, or of every file of a folder by its name."""
    if path.is_file():
        return sha256_file(path)
    return {str(p.relative_to(path)): sha256_file(p) for p in sorted(path.rglob("*")) if p.is_file()}


def _differing(folder: Path, fingerprint: Mapping[str, Any]) -> list[str]:
    try:
        found = read_json(folder / _FINGERPRINT)
    except DataError:
        return ["an unknown origin"]
    return sorted(name for name in {*found, *fingerprint} if found.get(name) != fingerprint.get(name))


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is as it was written; one that is not is set aside, beside the folder of checkpoints."""
    try:
        check_sums(checkpoint)
        state_of(checkpoint)
    except DataError as error:
        folder = checkpoint.parent
        set_aside(checkpoint, error, folder.with_name(f"{folder.name}.{checkpoint.name}"))
        return False
    return True
