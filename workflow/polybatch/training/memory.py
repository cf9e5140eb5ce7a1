"""How much memory a training will take, told before it starts.

inputs: the encoder, the options of the training, the lengths of some of its texts
outputs: a line in the log; an error, if it cannot fit into what is free

Counted are the gradients and AdamW's two moments of the weights that are trained, and the activations that the forward
pass keeps for the backward one. How many bytes these are is not reckoned from the architecture but measured: texts of
three lengths go through the encoder, and what autograd keeps of them is counted. It has a constant part (weights in
bf16), one that grows with a text's length and, where attention keeps its weights, one that grows with its square. The
arithmetic is that of `training.footprint`, by which the rule has asked for the job's memory before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polybatch.core import stage
from polybatch.core.errors import TrainingError
from polybatch.encoders.packed import is_packed
from polybatch.training import footprint
from polybatch.training.footprint import Kept, Memory, Shape, Trained
from polybatch.training.processes import Ranks

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from polybatch.pairs.table import PairTable
    from polybatch.training.objectives.objective import Objective
    from polybatch.training.objectives.teacher import Teacher
    from polybatch.training.options import TrainingOptions

_TEXTS_A_LANGUAGE = 64
_LONGEST_PROBED = 32
_PROBED_TEXTS = 2
# An estimate is one: only a training that would lack a third of its memory is refused.
_MOST_OVER = 1.5


def check(
    model: SentenceTransformer,
    table: PairTable,
    options: TrainingOptions,
    ranks: Ranks,
    *,
    objective: Objective | None = None,
    teacher: Teacher | None = None,
) -> Memory | None:
    """Logs how much memory a training will take, and refuses one that cannot fit.

    Args:
        model: As it is trained: what is frozen is frozen, adapters and a projection are in.
        table, options, ranks: What is trained on, how, and among how many processes.
        objective: What it embeds besides queries, passages and hard negatives; None stands for nothing.
        teacher: That it has.

    Returns:
        The estimate; None for an encoder without a transformer.

    Raises:
        TrainingError: It takes far more than is free.
    """
    if model.transformers_model is None:
        return None
    further = objective.student_columns if objective else ()
    lengths = sampled_lengths(model, table)
    needed = estimate(model, lengths, options, ranks.world_size, further=further, teacher=teacher)
    free = free_memory(model.device.type)
    told = (
        f"about {_gigabytes(needed.total)} beyond the encoder's {_gigabytes(_weights(model))}: gradients "
        f"{_gigabytes(needed.gradients)}, AdamW {_gigabytes(needed.optimizer)}, activations "
        f"{_gigabytes(needed.activations)}" + (f", teacher {_gigabytes(needed.teacher)}" if teacher else "")
    )
    told += f"; {_gigabytes(needed.total + _of_job(model, teacher))} for the whole job"
    if free is None:
        stage.log.info("memory: %s", told)
        return needed
    if needed.total > _MOST_OVER * free:
        raise TrainingError(
            "The training will not fit into memory.",
            expected=f"at most {_gigabytes(free)}, what is free",
            found=told,
            remedy=_remedy(needed, options),
        )
    stage.log.info("memory: %s; %s is free", told, _gigabytes(free))
    if needed.total > free:
        stage.log.warning("the training may not fit into memory: if it is killed, %s", _remedy(needed, options))
    return needed


def estimate(
    model: SentenceTransformer,
    lengths: Mapping[str, Sequence[np.ndarray]],
    options: TrainingOptions,
    world_size: int,
    *,
    further: Sequence[str] = (),
    teacher: Teacher | None = None,
) -> Memory:
    """Estimates the memory that a training takes beyond the loaded encoder.

    Args:
        model: As it is trained.
        lengths: Side ("query", "passage") -> for each language lengths of texts, in tokens.
        options: `precision` and `bucket_width` as they are on this machine.
        world_size: Processes among which a batch is divided.
        further: Columns that the student embeds besides (`Objective.student_columns`).
        teacher: That embeds queries and passages without gradients.
    """
    backbone: Any = model.transformers_model
    embedding = backbone.get_input_embeddings().weight
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    sides = [lengths["query"], *[lengths["passage"]] * (1 + options.hard_negatives)]
    sides += [lengths["query" if column.endswith("query") else "passage"] for column in further]
    kept = measure_kept(model, options.precision == "bf16")
    rows = options.batch_size // world_size
    batches = [[side[lang] for side in sides] for lang in range(len(sides[0]))]
    padded = options.bucket_width is None and not is_packed(model)
    return footprint.of_training(
        Trained(sum(trained), max(trained, default=0), embedding.numel() if embedding.requires_grad else 0),
        batch=max(_of_batch(batch, rows, options, kept, padded=padded) for batch in batches),
        tokens=rows * max(sum(float(side.mean()) for side in batch) for batch in batches),
        shape=_shape(backbone.config),
        options=options,
        teacher=_of_teacher(teacher, lengths, options, rows) if teacher else 0,
    )


def _shape(config: Any) -> Shape:
    hidden = config.hidden_size
    return Shape(
        layers=config.num_hidden_layers,
        hidden=hidden,
        intermediate=getattr(config, "intermediate_size", 4 * hidden),
        heads=config.num_attention_heads,
    )


def _of_teacher(
    teacher: Teacher, lengths: Mapping[str, Sequence[np.ndarray]], options: TrainingOptions, rows: int
) -> int:
    backbone: Any = teacher.model.transformers_model
    if backbone is None:
        return 0
    longest = max(float(one.max()) for langs in lengths.values() for one in langs)
    return footprint.of_inference(min(rows, options.mini_batch_size or rows), longest, _shape(backbone.config))


def _of_batch(sides: Sequence[np.ndarray], rows: int, options: TrainingOptions, kept: Kept, *, padded: bool) -> int:
    """Bytes that the forward passes of one batch keep, of texts of these lengths."""
    counted = [np.full_like(lengths, lengths.max()) if padded else lengths for lengths in sides]
    costs = [float(np.mean(kept.of_text(lengths.astype(np.float64)))) for lengths in counted]
    return footprint.of_batch(costs, rows, kept, options.mini_batch_size)


def measure_kept(model: SentenceTransformer, bf16: bool) -> Kept:
    """Measures what autograd keeps of texts, by three passes of short ones."""
    shortest = max(1, min(_LONGEST_PROBED, model.max_seq_length or _LONGEST_PROBED) // 4)
    lengths = np.array([shortest, 2 * shortest, 4 * shortest])
    kept = [_kept(model, int(length), bf16) for length in lengths]
    powers = np.stack([np.ones(3), _PROBED_TEXTS * lengths, _PROBED_TEXTS * lengths**2], axis=1)
    return Kept(*np.maximum(np.linalg.solve(powers, kept), 0).tolist())


def _kept(model: SentenceTransformer, length: int, bf16: bool) -> int:
    """Bytes that autograd keeps of texts of so many tokens: each storage once, weights not counted."""
    import torch

    weights = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = model.device
    ids = torch.full((_PROBED_TEXTS, length), model.tokenizer.pad_token_id or 0, device=device)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    training = model.training
    model.train()  # dropout keeps what it dropped
    cards = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(cards),  # the training draws what it would without this
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(device.type, torch.bfloat16, enabled=bf16),
    ):
        output = model(features)["sentence_embedding"]  # alive while it is counted
        found = sum(seen.values())
    del output
    model.train(training)
    return found


def sampled_lengths(model: SentenceTransformer, table: PairTable) -> dict[str, list[np.ndarray]]:
    """Side -> for each language the lengths, in tokens, of evenly spaced texts."""
    found: dict[str, list[np.ndarray]] = {"query": [], "passage": []}
    for lang in range(len(table.languages)):
        rows = np.flatnonzero(table.present[:, lang])
        if not len(rows):
            continue
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _TEXTS_A_LANGUAGE)).astype(int)]
        for side, read in (("query", table.query), ("passage", table.passage)):
            texts = [f"{model.prompts.get(side) or ''}{read(int(row), lang)}" for row in rows]
            ids = model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]
            found[side].append(np.array([len(one) for one in ids]))
    return found


def free_memory(device: str) -> int | None:
    """Bytes that can still be taken, of the card, or of the machine and its control groups; None if unknown."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return min([*_of_machine(), *_of_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))], default=None)


def _of_machine() -> list[int]:
    path = Path("/proc/meminfo")
    lines = path.read_text("ascii").splitlines() if path.is_file() else []
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]


def _of_groups(membership: Path, root: Path) -> list[int]:
    """What each control group (version 2) above this process has left: what Slurm or a container bounds."""
    lines = membership.read_text("utf-8").splitlines() if membership.is_file() else []
    place = next((line[3:].strip("/") for line in lines if line.startswith("0::")), None)
    if place is None:
        return []
    left = []
    for group in [root / place, *(root / place).parents]:
        try:
            limit = (group / "memory.max").read_text("ascii").strip()
            used = int((group / "memory.current").read_text("ascii"))
            pages = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
        except OSError:
            continue
        if limit != "max":
            # Pages of files that were read can be given up.
            left.append(max(0, int(limit) - used + int(pages.get("inactive_file", 0))))
    return left


def _remedy(needed: Memory, options: TrainingOptions) -> str:
    """What to lower, the most effective first."""
    cures = []
    if options.mini_batch_size is None:
        cures.append((needed.activations, "set mini_batch_size, or lower batch_size or max_length"))
    if not options.gradient_checkpointing:
        cures.append((needed.activations * 3 // 4, "set gradient_checkpointing: true"))
    if needed.embeddings:
        cures.append((needed.embeddings, f"set freeze_embeddings: true, {_gigabytes(needed.embeddings)} less"))
    cures.append((needed.gradients + needed.optimizer - needed.embeddings, "train adapters (lora_r)"))
    return "; ".join(cure for _, cure in sorted(cures, key=lambda cure: -cure[0])[:3])


def _of_job(model: SentenceTransformer, teacher: Teacher | None) -> int:
    """What a training's process takes before any training, which is there when the memory that is free is looked at."""
    own, others = (
        sum(p.numel() for p in one.parameters()) if one is not None else 0
        for one in (model, teacher.model if teacher else None)
    )
    return footprint.of_process(own, others)


def _weights(model: SentenceTransformer) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
