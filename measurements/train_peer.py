"""The peer of train.py: what a user of sentence-transformers would write, after its page on training.

One data set for each pair of languages, drawn in proportion to their sizes (the library's default), batches without
duplicates (what it recommends for this loss), the best checkpoint by validation loss at the end.

inputs: <data>/parallel/<lang>.parquet, <data>/validation.parquet, an encoder's folder
outputs: <output>/model; the last line of output says how many pairs were trained on and how many tokens that took
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def counted_tokens(steps: int) -> Iterator[dict[str, Any]]:
    """Counts what transformers compute in training: `tokens` without padding, `computed` with it, `passes`.

    Args:
        steps: Of the training; 0 where it is told in epochs, and nothing is `steady`.

    Yields:
        Filled at the end. `steady`, what came between the first step after a fifth of them and the last: `steps`,
        `seconds`, `tokens`, `computed`; without start-up, validation and checkpoints, where these are at the end. On a
        card also `card_bytes`, the most of its memory that was taken. Tokens are counted there without waiting for it.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Transformer
    from transformers import Trainer

    counts: dict[str, Any] = {"computed": 0, "passes": 0}
    tokens: Any = 0
    marks: list[dict[str, Any]] = []
    begun, forward, step = 0, Transformer.forward, Trainer.training_step

    def counting(module: Any, features: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal tokens
        if module.training:
            packed = features.get("cu_seq_lens_q")
            tokens = tokens + (features["attention_mask"].sum() if packed is None else packed[-1].long())
            counts["computed"] += features["input_ids"].numel()
            counts["passes"] += 1
        return forward(module, features, *args, **kwargs)

    def marking(*args: Any, **kwargs: Any) -> Any:
        nonlocal begun
        if begun in (steps // 5, steps - 1):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append({"steps": begun, "seconds": time.perf_counter(), "tokens": int(tokens)})
            marks[-1]["computed"] = counts["computed"]
        begun += 1
        return step(*args, **kwargs)

    Transformer.forward, Trainer.training_step = counting, marking
    try:
        yield counts
    finally:
        Transformer.forward, Trainer.training_step = forward, step
        counts["tokens"] = int(tokens)
        if len(marks) == 2:
            counts["steady"] = {name: marks[1][name] - marks[0][name] for name in marks[0]}
        if torch.cuda.is_available() and (taken := torch.cuda.max_memory_reserved()):
            counts["card_bytes"] = taken


def data_sets(folder: Path, langs: list[str]) -> Any:
    """Queries of each language with passages of each, of all pairs that exist in both."""
    import pyarrow.parquet as pq
    from datasets import Dataset, DatasetDict

    columns = ["pair_id", "query", "passage"]
    texts = {lang: pq.read_table(folder / "parallel" / f"{lang}.parquet", columns=columns) for lang in langs}
    of = {lang: {row.pop("pair_id"): row for row in table.to_pylist()} for lang, table in texts.items()}
    sets = {}
    for asked in langs:
        for found in langs:
            common = [pair for pair in of[asked] if pair in of[found]]
            sets[f"{asked}-{found}"] = Dataset.from_dict(
                {
                    "query": [of[asked][pair]["query"] for pair in common],
                    "passage": [of[found][pair]["passage"] for pair in common],
                }
            )
    return DatasetDict(sets)


def train(args: argparse.Namespace) -> dict[str, Any]:
    import pyarrow.parquet as pq
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from transformers import TrainerCallback

    kill_at = args.kill_at

    class Killed(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    model = SentenceTransformer(str(args.encoder), device=args.device)
    if args.freeze_embeddings:
        model.transformers_model.get_input_embeddings().requires_grad_(False)
    validation = pq.read_table(args.data / "validation.parquet", columns=["query", "passage"]).to_pydict()
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(args.output / "checkpoints"),
            max_steps=args.steps,
            per_device_train_batch_size=args.batch_size,
            per_device_eval_batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            warmup_steps=0.1,
            weight_decay=0.01,
            bf16=args.precision == "bf16",
            prompts={column: prompt for column in ("query", "passage") if (prompt := model.prompts.get(column))},
            use_cpu=args.device == "cpu",
            batch_sampler=BatchSamplers(args.batch_sampler),
            eval_strategy="steps",
            eval_steps=args.eval_steps,
            save_strategy="steps",
            save_steps=args.eval_steps,
            save_total_limit=2,
            load_best_model_at_end=True,
            logging_steps=args.steps,
            report_to="none",
            disable_tqdm=True,
            seed=args.seed,
        ),
        train_dataset=data_sets(args.data, args.langs),
        eval_dataset=Dataset.from_dict(validation),
        loss=CachedMultipleNegativesRankingLoss(model, scale=1 / args.temperature, mini_batch_size=args.mini_batch_size)
        if args.mini_batch_size
        else MultipleNegativesRankingLoss(model, scale=1 / args.temperature),
        callbacks=[Killed()] if args.kill_at else [],
    )
    start = time.perf_counter()
    with counted_tokens(args.steps) as counts:
        trainer.train(resume_from_checkpoint=args.resume or None)
    seconds = time.perf_counter() - start
    model.save_pretrained(str(args.output / "model"))
    return {"units": args.steps * args.batch_size, "seconds": seconds, **counts}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--encoder", "--data", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--langs", nargs="+", required=True)
    for name in ("--steps", "--batch-size", "--eval-steps"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="bf16 is autocast")
    parser.add_argument("--freeze-embeddings", action="store_true", help="the word embeddings stay as they are")
    parser.add_argument("--batch-sampler", default="no_duplicates", help="or no_duplicates_hashed")
    parser.add_argument("--mini-batch-size", type=int, default=0, help="embed so many texts at a time (GradCache)")
    parser.add_argument("--kill-at", type=int, default=0, help="a step after which the process is killed")
    parser.add_argument("--resume", action="store_true", help="from the last checkpoint")
    return parser


def main(argv: list[str] | None = None) -> None:
    print(json.dumps(train(arguments().parse_args(argv))))


if __name__ == "__main__":
    main()
