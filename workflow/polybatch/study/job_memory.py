"""How much memory the jobs that compute with an encoder ask for: from the configuration alone.

inputs: a resolved configuration; runs and encoders of it
outputs: megabytes (10^6 bytes)

Known before anything is fetched are an encoder's shape (`encoders.known`, or config.json of a user's folder), what of
it is trained, in which precision, how many texts a step embeds, and a bound on their length. What hangs on the files of
an earlier run is left out: the threads of a training follow from its memory, and its weights from them.
The arithmetic is that of `training.footprint`. It was held against the measured peaks of multilingual-e5-small, whose
trainings took 3.2 to 6.4 GB (tests/unit/study/test_job_memory.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from polybatch.collect.options import TYPICAL_TOKENS, CleaningOptions
from polybatch.config.grid import Run
from polybatch.config.values import hub_model, teacher_of, training_options
from polybatch.core.contracts import TAUGHT_OBJECTIVES
from polybatch.encoders.known import known
from polybatch.training import footprint
from polybatch.training.footprint import Kept, Shape, Trained
from polybatch.training.options import TrainingOptions

Config = dict[str, Any]

# Of an encoder whose size is not known before it is fetched.
UNKNOWN_MB = 16_000
# What embedding may take for a large benchmark's texts and ids, whatever the encoder.
_EMBEDDING_MB = 3_000
_MOST_TOKENS_AT_ONCE = 8 * 1024  # 1,024 for each of 8 threads (embedding.options)
# Both models, the mixture of their weights, and each of them once more while it is read or written: measured with
# multilingual-e5-small, 4.2 GB in all.
_TIMES_MIXED = 8
_PROMPT = 8  # tokens of a prompt and of a text's ends
_WORDPIECES = 3  # of a passage that is as long as may be, in the language that takes the most tokens for a word
_QUERY = 0.25  # of a passage's length


def training_mb(config: Config, run: Run) -> int:
    """What the training of a run asks for on a CPU.

    On a card activations, gradients and the optimizer are not in main memory.
    """
    options = TrainingOptions.from_values(training_options(config, run.encoder, run.objective))
    if (size := _size(config, run.encoder)) is None:
        return UNKNOWN_MB
    shape, weights, words = size
    precision = options.precision if options.precision != "auto" else "bf16" if computes_bf16() else "fp32"
    kept = Kept.of_shape(shape, weights - words, precision)
    lengths = _lengths(config, run, options)
    teacher, teacher_weights = 0, 0
    if run.objective in TAUGHT_OBJECTIVES:
        taught = _size(config, teacher_of(config, run) or run.encoder)
        if taught is None:
            return UNKNOWN_MB
        rows = min(options.batch_size, options.mini_batch_size or options.batch_size)
        teacher, teacher_weights = footprint.of_inference(rows, max(lengths), taught[0]), taught[1]
    needed = footprint.of_training(
        _trained(options, shape, weights, words),
        batch=footprint.of_batch(
            [kept.of_text(tokens) for tokens in lengths], options.batch_size, kept, options.mini_batch_size
        ),
        tokens=options.batch_size * sum(lengths),
        shape=shape,
        options=options,
        teacher=teacher,
    )
    return _mb(footprint.of_process(weights, teacher_weights) + needed.total)


def embedding_mb(config: Config, encoder: str) -> int:
    """What a job asks for that embeds texts with an encoder, trained or not."""
    if (size := _size(config, encoder)) is None:
        return UNKNOWN_MB
    shape, weights, _ = size
    inference = footprint.of_inference(1, _MOST_TOKENS_AT_ONCE, shape)
    return max(_EMBEDDING_MB, _mb(footprint.of_process(weights) + inference))


def mixing_mb(config: Config, encoder: str) -> int:
    """What a job asks for that mixes the weights of an encoder before and after a training."""
    if (size := _size(config, encoder)) is None:
        return UNKNOWN_MB
    return _mb(footprint.of_process(0) + _TIMES_MIXED * footprint.FLOAT32 * size[1])


def most_mb(jobs: Iterable[int]) -> int:
    """The most that one of some jobs asks for, by which their threads are reckoned; `UNKNOWN_MB` if there is none."""
    return max(jobs, default=UNKNOWN_MB)


def computes_bf16() -> bool:
    """Whether the processors that will train multiply in bf16 (`encoders.kernels.computes_bf16`).

    Linux says it, without torch. Those of a cluster are not known where Snakemake runs: float32 is reckoned with there.
    """
    path = Path("/proc/cpuinfo")
    if "POLYBATCH_JOB_CPUS" in os.environ or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as lines:
        flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_tile"}.isdisjoint(flags)


def _size(config: Config, encoder: str) -> tuple[Shape, int, int] | None:
    """The shape of an encoder, its weights, and those of its word embeddings; None where that is not known."""
    entry = config["encoders"][encoder]
    if "scratch" in entry:
        return None  # small; its rules say what it takes
    found: tuple[Shape, int, int] | None = None
    if "path" in entry:
        found = _of_folder(Path(entry["path"]))
    else:
        of = known(hub_model(config, encoder) or "")
        if of is not None:
            # Heads are 64 wide in these models, and at least 12.
            shape = Shape(of.layers, of.hidden, 4 * of.hidden, max(12, of.hidden // 64))
            found = (shape, of.parameters, of.embedding_parameters)
    if not found or (layers := (entry.get("options") or {}).get("layers")) is None:
        return found or None
    shape, weights, words = found
    left = min(layers, shape.layers)
    kept = words + (weights - words) * left // shape.layers
    return Shape(left, shape.hidden, shape.intermediate, shape.heads), kept, words


def _of_folder(folder: Path) -> tuple[Shape, int, int] | None:
    """Of a transformer's config.json: what is not said there, or in other words, is not guessed."""
    for file in (folder / "config.json", folder / "0_Transformer" / "config.json"):
        try:
            values = json.loads(file.read_text("utf-8"))
            layers, hidden = int(values["num_hidden_layers"]), int(values["hidden_size"])
            shape = Shape(layers, hidden, int(values["intermediate_size"]), int(values["num_attention_heads"]))
            words = int(values["vocab_size"]) * hidden
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # whether the folder is sound, its own stage tells
        # Four matrices of attention and two of the feed-forward layers; three, where these have a gate.
        layer = 4 * hidden * hidden + 3 * hidden * shape.intermediate
        return shape, words + layers * layer, words
    return None


def _trained(options: TrainingOptions, shape: Shape, weights: int, words: int) -> Trained:
    """Which weights get gradients, by what the options freeze."""
    body, matrix = weights - words, shape.hidden * shape.intermediate
    if options.lora_r is not None:  # two thin matrices beside each of six
        width = 10 * shape.hidden + 2 * shape.intermediate
        return Trained(shape.layers * options.lora_r * width, options.lora_r * shape.intermediate, 0)
    if options.freeze_layers:
        left = max(0, shape.layers - options.freeze_layers)
        return Trained(body * left // shape.layers, matrix if left else 0, 0)
    if options.freeze_embeddings:
        return Trained(body, matrix, 0)
    return Trained(weights, max(matrix, words), words)


def _lengths(config: Config, run: Run, options: TrainingOptions) -> list[float]:
    """Tokens of an average text of each column of a batch, of the longest one where all are padded to it.

    A passage has as many words as `cleaning.max_words` at most. On average it is so much shorter that it has no more
    tokens than that, in any language; of interface text still less.
    """
    from polybatch.training.objectives.known import student_columns

    most = config["cleaning"].get("max_words", CleaningOptions.default_of("max_words"))
    words = max((min(most, TYPICAL_TOKENS.get(source["adapter"], most)) for source in config["source"]), default=most)
    tokens = _PROMPT + (words if options.bucket_width is not None else _WORDPIECES * most)
    longest = min([tokens, *[limit for limit in (options.max_length, _reads(config, run.encoder)) if limit]])
    passage, query = float(longest), max(float(min(_PROMPT, longest)), _QUERY * longest)
    further = student_columns(run.objective, options)
    return [
        query,
        *[passage] * (1 + options.hard_negatives),
        *[query if column.endswith("query") else passage for column in further],
    ]


def _reads(config: Config, encoder: str) -> int | None:
    """How long a text an encoder reads, if that is known."""
    entry = config["encoders"][encoder]
    of = known(hub_model(config, encoder) or "")
    limits = [limit for limit in ((entry.get("options") or {}).get("max_length"), of and of.max_length) if limit]
    return min(limits, default=None)


def _mb(size: int) -> int:
    return -(-size // 1_000_000)
