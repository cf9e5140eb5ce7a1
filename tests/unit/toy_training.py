"""A study so small that a training takes a second: its files, an encoder, and how the tests train it."""

import json
import multiprocessing
import os
import signal

from parallel_files import parallel_row, write_parallel

from polybatch.core import contracts
from polybatch.encoders.options import EncoderOptions
from polybatch.encoders.scratch import build_encoder
from polybatch.pairs.table import read_pairs
from polybatch.training.inputs import load_encoder, read_validation, set_up
from polybatch.training.options import TrainingOptions
from polybatch.training.sampling import Sampling
from polybatch.training.train import train

LANGS = ("en", "de", "tr")
OPTIONS = TrainingOptions(
    # Layouts are compared to more digits than bf16 has.
    precision="fp32",
    max_steps=24,
    batch_size=8,
    learning_rate=5e-3,
    eval_steps=6,
    save_steps=4,
    warmup=2,
    patience=0,
)
HYBRID = Sampling("hybrid", 0.5)


def text(lang, word):
    return f"{lang}{word} " + " ".join(f"{lang}{(word * k) % 97}" for k in (3, 5))


def make_study(base):
    """parallel/<lang>.parquet (80 pairs, Turkish 40; two sources, of which "hard" has negatives), paraphrases of ten
    pairs, validation.parquet, and an encoder with dropout."""
    for lang in LANGS:
        rows = [
            parallel_row(
                i,
                f"{lang}{i}",
                text(lang, i),
                source="hard" if i % 4 < 2 else "plain",
                origin="english" if lang == "en" else "machine" if i < 20 else "supplied",
                hard_negatives=[text(lang, i + 7), text(lang, i + 11)][: 2 - i % 4] if i % 4 < 2 else [],
            )
            for i in range(80)
            if lang != "tr" or i % 2
        ]
        write_parallel(base / f"{lang}.parquet", rows)
    second = [parallel_row(i, f"en{i} en{i}", text("en", i)) for i in range(10)]
    write_parallel(base / "paraphrase.parquet", second)
    write_parallel(base / "validation.parquet", [parallel_row(i, f"en{i}", text("en", i)) for i in range(80, 97)])
    words = [text(lang, i) for lang in LANGS for i in range(97)]
    shape = {"vocab_size": 600, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "max_length": 24}
    build_encoder(words, EncoderOptions.from_values({**shape, "dropout": 0.1}), base / "encoder")
    # Dropout's noise depends on how rows are laid out, so comparisons of two layouts do without.
    build_encoder(words, EncoderOptions.from_values(shape), base / "without_dropout")
    return base


def make_wide_encoder(folder):
    """An encoder of another width, another vocabulary and shorter texts than that of `make_study`, for a teacher."""
    shape = {"vocab_size": 512, "hidden_size": 48, "num_heads": 2, "intermediate_size": 32, "max_length": 16}
    build_encoder([text("en", i) for i in range(97)], EncoderOptions.from_values(shape), folder)


def run(
    study,
    folder,
    options=OPTIONS,
    sampling=HYBRID,
    seed=0,
    fingerprint=None,
    encoder="encoder",
    ranks=None,
    objective="infonce",
    teacher=None,
):
    """Trains; returns the model, the result without its speed, and the weights as bytes.

    In other processes than the first the result is empty. Without a teacher's name the encoder is its own.
    """
    model = load_encoder(str(study / encoder))
    set_up(model, options)
    if objective in contracts.TAUGHT_OBJECTIVES:
        from polybatch.training.objectives.teacher import load_teacher

        teacher = load_teacher(str(study / (teacher or encoder)), options, own=teacher is None)
    result = train(
        model,
        read_pairs(
            {lang: study / f"{lang}.parquet" for lang in LANGS},
            hard_negatives=options.hard_negatives,
            paraphrases=study / "paraphrase.parquet" if options.hard_negatives else None,
        ),
        read_validation(study / "validation.parquet"),
        sampling,
        options,
        seed=seed,
        folder=folder,
        fingerprint=fingerprint or {"data": "same"},
        objective=objective,
        teacher=teacher,
        ranks=ranks,
    )
    if result:
        assert result.pop("speed")["seconds"] > 0
        result["batches"] = result["batches"].to_pylist()
        assert len(result["batches"]) == result["steps"]
    return model, result, weights(model)


def killed_at(step, study, folder, options, **how):
    """Trains in a forked child that kills itself at that step."""

    def killed():
        from transformers import TrainerCallback

        from polybatch.training import trainer

        class Kill(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                if state.global_step == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        watch = trainer.callbacks
        trainer.callbacks = lambda *args: [*watch(*args), Kill()]
        run(study, folder, options, **how)

    child = multiprocessing.get_context("fork").Process(target=killed)
    child.start()
    try:
        child.join(600)
        assert child.exitcode == -signal.SIGKILL
    finally:
        child.kill()  # one that hangs would be waited for at the end of pytest, for ever


def weights(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def options(**changes):
    return TrainingOptions(**{**OPTIONS.as_dict(), **changes})


def command(study, output, **changes):
    flags = {
        "encoder": str(study / "encoder"),
        "validation": str(study / "validation.parquet"),
        "sampling": "hybrid",
        "alpha": "0.5",
        "options": json.dumps(OPTIONS.as_dict()),
        "checkpoints": str(output / "checkpoints"),
        "output": str(output / "model"),
        **changes,
    }
    parallel = [f"{lang}={study / lang}.parquet" for lang in LANGS]
    return ["--parallel", *parallel, *(part for name, value in flags.items() for part in (f"--{name}", value))]


# What changes the batches, the weights that are trained, and the loss, all at once.
ELABORATE = {
    "max_steps": 12,
    "hard_negatives": 2,
    "lora_r": 4,
    "lora_dropout": 0.1,
    "matryoshka_dims": [8, 16],
    "source_temperature": 2.0,
    "language_weights": "size",
}
