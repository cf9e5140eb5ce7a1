"""Trains a small translator from parallel strings, for places where no pretrained one is in reach.

inputs: strings/<lang>.parquet (contracts.STRINGS) of every language of the directions
outputs: a transformers M2M100 folder with its SentencePiece model; checkpoints beside it while training

The architecture is M2M100's (encoder-decoder, pre-norm, one shared vocabulary, language tokens), some 3 + 2
layers wide 256, so that CTranslate2 converts it and every later stage treats it like the pretrained ones. One
model serves all directions given. The learning rate warms up, stays, and decays to zero over the last part.
Byte fallback keeps names that were never seen spellable.
"""

from __future__ import annotations

import argparse
import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybatch.core import stage
from polybatch.core.arguments import parse_paths
from polybatch.core.checkpoints import of_step, prepare, seal, state_of
from polybatch.core.device import tell_torch_device
from polybatch.core.digest import code_digest
from polybatch.core.errors import TrainingError
from polybatch.core.files import atomic_path, sha256_file, write_json
from polybatch.encoders.kernels import keep_few_shapes
from polybatch.translation.examples import Example, read_examples
from polybatch.translation.options import TranslatorOptions

if TYPE_CHECKING:
    import numpy as np
    import torch

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>"]  # CTranslate2 wants <pad> at id 1
PAD, EOS = 1, 2
_NUMBERED_PLACEHOLDERS = ["{1}", "{2}", "{3}", "{4}"]
_DIVERGED = 1e4  # a cross-entropy that no vocabulary explains: that of chance is its logarithm, some 9


def train_sentencepiece(examples: list[Example], options: TranslatorOptions, folder: Path) -> None:
    """Trains the shared SentencePiece model and lays the tokenizer out as M2M100's files."""
    import sentencepiece as spm

    sentences = sorted({text for e in examples for text in (e.source, e.target)})
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(folder / "sentencepiece"),
        vocab_size=options.vocab_size,
        model_type="unigram",
        character_coverage=0.9995,
        byte_fallback=True,
        split_digits=True,
        user_defined_symbols=_NUMBERED_PLACEHOLDERS,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        input_sentence_size=0,
        shuffle_input_sentence=False,
    )
    (folder / "sentencepiece.vocab").unlink()
    (folder / "sentencepiece.model").rename(folder / "sentencepiece.bpe.model")
    processor = spm.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    vocabulary = [*SPECIAL_TOKENS, *(p for p in pieces if p not in SPECIAL_TOKENS)]
    write_json(folder / "vocab.json", {piece: i for i, piece in enumerate(vocabulary)}, sealed=False)


def load_tokenizer(folder: Path) -> Any:
    """transformers' M2M100 tokenizer over the folder's files."""
    from transformers import M2M100Tokenizer
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    return M2M100Tokenizer(
        vocab_file=str(folder / "vocab.json"),
        spm_file=str(folder / "sentencepiece.bpe.model"),
        # Named here, or the language tokens have ids but are missing from the vocabulary that is converted.
        extra_special_tokens=[f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]],
        num_madeup_words=0,
    )


class TokenBatches:
    """Batches of at most `batch_tokens`, similar lengths together; batch k depends on (seed, k) alone.

    Every epoch is shuffled and cut anew: rows are sorted by length plus noise, so that batches hold rows of
    like length but not the same ones each time.
    """

    def __init__(self, sources: list[list[int]], targets: list[list[int]], options: TranslatorOptions) -> None:
        import numpy as np

        self.sources, self.targets, self.options = sources, targets, options
        self.lengths = np.array([max(len(s), len(t)) for s, t in zip(sources, targets, strict=True)])

    def epoch(self, number: int) -> list[np.ndarray]:
        """The row numbers of each batch of one epoch, in drawing order."""
        import numpy as np

        rng = np.random.default_rng([self.options.seed, number])
        order = np.argsort(self.lengths + rng.uniform(0, 0.15 * self.lengths + 1), kind="stable")
        batches, start = [], 0
        while start < len(order):
            stop = start + 1
            longest = self.lengths[order[start]]
            while stop < len(order):
                longest = max(longest, self.lengths[order[stop]])
                if longest * (stop + 1 - start) > self.options.batch_tokens:
                    break
                stop += 1
            batches.append(order[start:stop])
            start = stop
        return [batches[i] for i in rng.permutation(len(batches))]

    def collate(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Padded tensors (int64): input_ids, attention_mask, decoder_input_ids, labels (-100 where padded)."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        source = pad_sequence([torch.tensor(self.sources[i]) for i in rows], True, PAD)
        target = pad_sequence([torch.tensor(self.targets[i]) for i in rows], True, PAD)
        # M2M100's decoder starts from </s>, then reads the target language's token, then the text.
        start = torch.full((len(rows), 1), EOS)
        return {
            "input_ids": source,
            "attention_mask": (source != PAD).long(),
            "decoder_input_ids": torch.cat([start, target[:, :-1]], 1),
            "labels": target.masked_fill(target == PAD, -100),
        }


def encode(examples: list[Example], tokenizer: Any, max_tokens: int) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids, `[language, text..., </s>]` on both sides; examples longer than `max_tokens` are left out."""
    sources, targets = [], []
    for e in examples:
        source = [tokenizer.get_lang_id(e.source_lang), *_ids(tokenizer, e.source), EOS]
        target = [tokenizer.get_lang_id(e.target_lang), *_ids(tokenizer, e.target), EOS]
        if max(len(source), len(target)) <= max_tokens:
            sources.append(source)
            targets.append(target)
    return sources, targets


def _batches(examples: list[Example], tokenizer: Any, options: TranslatorOptions, split: str) -> TokenBatches:
    """The batches of a split; how many examples are too long is told.

    Raises:
        TrainingError: All of them are.
    """
    batches = TokenBatches(*encode(examples, tokenizer, options.max_tokens), options)
    left_out = len(examples) - len(batches.sources)
    if left_out:
        what = "%s: %d of %d examples left out, longer than max_tokens (%d)"
        stage.log.info(what, split, left_out, len(examples), options.max_tokens)
    if not batches.sources:
        raise TrainingError(
            f"No {split} example is short enough to train a translator.",
            expected=f"examples of at most {options.max_tokens} tokens on either side "
            "(translator_training.<name>.options.max_tokens)",
            found=f"{len(examples)} examples, all longer",
            remedy="raise max_tokens, or vocab_size, with which a text has fewer tokens",
        )
    return batches


def _ids(tokenizer: Any, text: str) -> list[int]:
    return [tokenizer.encoder[piece] for piece in tokenizer.sp_model.encode(text, out_type=str)]


def new_model(options: TranslatorOptions, vocabulary: int) -> Any:
    """An M2M100 model of the options' size with random weights."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, set_seed

    set_seed(options.seed)
    config = M2M100Config(
        vocab_size=vocabulary,
        d_model=options.d_model,
        encoder_layers=options.encoder_layers,
        decoder_layers=options.decoder_layers,
        encoder_attention_heads=options.heads,
        decoder_attention_heads=options.heads,
        encoder_ffn_dim=options.ffn,
        decoder_ffn_dim=options.ffn,
        dropout=options.dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        max_position_embeddings=512,
        decoder_start_token_id=EOS,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=EOS,
    )
    model = M2M100ForConditionalGeneration(config)
    if options.precision == "bf16" and not torch.accelerator.is_available():
        # torch's fused attention for CPUs is slow at short rows in bf16: without it a batch of 2,000 tokens takes
        # 0.36 s instead of 0.45 (one core of an AMD EPYC). In fp32 it is the faster one, 0.78 s against 0.85.
        model.set_attn_implementation("eager")
    return model


def train(strings: dict[str, Path], directions: list[str], options: TranslatorOptions, work: Path) -> Path:
    """Trains in `work` (resuming from its last checkpoint) and returns the folder of the finished model."""
    fingerprint = {
        "options": {k: v for k, v in options.as_dict().items() if k not in ("eval_steps", "save_steps")},
        "directions": directions,
        "strings": {lang: sha256_file(path) for lang, path in sorted(strings.items())},
        "code": code_digest("translation.train"),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
    checkpoints = work / "checkpoints"
    last = prepare(checkpoints, fingerprint)
    examples = read_examples(strings, directions, "train")
    tokenizer_folder = checkpoints / "tokenizer"  # of the same inputs as the checkpoints, and discarded with them
    if not tokenizer_folder.exists():
        with atomic_path(tokenizer_folder) as partial:
            partial.mkdir()
            train_sentencepiece(examples, options, partial)
    tokenizer = load_tokenizer(tokenizer_folder)
    dev = read_examples(strings, directions, "dev")
    trainer, batches = _trainer(examples, dev, tokenizer, options=options, checkpoints=checkpoints, last=last)
    stage.log.info(
        "%s: %d examples, %d batches an epoch, %d parameters",
        " ".join(directions),
        len(batches.sources),
        len(batches.epoch(0)),
        sum(p.numel() for p in trainer.model.parameters()),
    )
    if last:
        stage.log.info("goes on after step %d", state_of(last)["global_step"])
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    with atomic_path(work / "model") as partial:
        trainer.model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return work / "model"


def _trainer(
    train: list[Example],
    dev: list[Example],
    tokenizer: Any,
    *,
    options: TranslatorOptions,
    checkpoints: Path,
    last: Path | None,
) -> tuple[Any, TokenBatches]:
    """transformers' Trainer over token batches, with label smoothing in the loss, ready to go on after `last`."""
    batches, dev_batches = (
        _batches(examples, tokenizer, options, split) for examples, split in ((train, "train"), (dev, "dev"))
    )
    first_step = state_of(last)["global_step"] if last else 0

    stream, trainer_class = _stream_class(), _trainer_class(batches, dev_batches, first_step, options)
    trainer = trainer_class(
        model=new_model(options, len(tokenizer)),
        args=_arguments(options, checkpoints),
        eval_dataset=stream(dev_batches, 0, 1),
        callbacks=[_stop_when_diverged()],
    )
    return trainer, batches


def _stream_class() -> Any:
    import torch

    class Stream(torch.utils.data.IterableDataset):
        """Collated batches from `first` on; with it, a resumed training draws what an unbroken one would."""

        def __init__(self, source: TokenBatches, first: int, epochs: int) -> None:
            self.source, self.first, self.epochs = source, first, epochs

        def __iter__(self) -> Any:
            number = 0
            for epoch in range(self.epochs):
                for rows in self.source.epoch(epoch):
                    if number >= self.first:
                        yield self.source.collate(rows)
                    number += 1

    return Stream


def _trainer_class(
    batches: TokenBatches, dev_batches: TokenBatches, first_step: int, options: TranslatorOptions
) -> Any:
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import Trainer

    stream = _stream_class()

    class TranslatorTrainer(Trainer):
        """Trainer that takes ready batches, smooths labels in training only, and seals its checkpoints."""

        def get_train_dataloader(self) -> Any:
            # A generator of its own: the loader must not draw from the one that dropout uses, or a resumed
            # training would differ from an unbroken one.
            rows = stream(batches, first_step, options.max_steps)
            return torch.utils.data.DataLoader(rows, batch_size=None, generator=torch.Generator())

        def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            super()._save_checkpoint(*args, **kwargs)
            seal(of_step(Path(str(self.args.output_dir)), self.state.global_step))

        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            return torch.utils.data.DataLoader(stream(dev_batches, 0, 1), batch_size=None, generator=torch.Generator())

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labels = inputs["labels"]
            outputs = model(**{k: v for k, v in inputs.items() if k != "labels"}, use_cache=False)
            smoothing = options.label_smoothing if model.training else 0.0
            loss = cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing)
            return (loss, {"logits": outputs.logits[:, :0]}) if return_outputs else loss

    return TranslatorTrainer


def _arguments(options: TranslatorOptions, checkpoints: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=options.max_steps,
        learning_rate=options.learning_rate,
        adam_beta2=0.98,
        weight_decay=0.01,
        max_grad_norm=1.0,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": options.decay_steps, "decay_type": "linear"},
        warmup_steps=options.warmup_steps,
        eval_strategy="steps",
        eval_steps=options.eval_steps,
        save_steps=options.save_steps,
        save_total_limit=2,
        bf16=options.precision == "bf16",
        use_cpu=not torch.accelerator.is_available(),
        logging_steps=100,
        logging_nan_inf_filter=False,  # else the mean of the losses before stands in the place of one that is no number
        prediction_loss_only=True,
        ignore_data_skip=True,
        report_to="none",
        seed=options.seed,
        disable_tqdm=True,
        accelerator_config={"dispatch_batches": False, "split_batches": False},
    )


def _stop_when_diverged() -> Any:
    from transformers import TrainerCallback

    class StopWhenDiverged(TrainerCallback):
        """A loss that is no number ends the training with an error; nothing is saved from it."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # The trainer logs before it evaluates and saves: no such state reaches a checkpoint or the model.
            control.should_log |= control.should_save or control.should_evaluate

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            for name in ("loss", "grad_norm", "eval_loss"):
                value = float((logs or {}).get(name, 0.0))
                if not math.isfinite(value) or (name != "grad_norm" and value >= _DIVERGED):
                    raise TrainingError(
                        f"The training of the translator diverged: {name} is {value} at step {state.global_step}.",
                        expected="a finite loss",
                        found=str(value),
                        remedy="lower learning_rate or lengthen warmup_steps (translator_training.<name>.options)",
                    )

    return StopWhenDiverged()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.translation.train", description=__doc__.split("\n")[0])
    parser.add_argument("--strings", nargs="+", required=True, metavar="LANG=PATH")
    parser.add_argument("--directions", nargs="+", required=True, metavar="de-en")
    parser.add_argument("--options", default="{}", type=TranslatorOptions.from_json, help="TranslatorOptions, as JSON")
    parser.add_argument("--work", required=True, type=Path, help="folder for checkpoints and the model")
    args = parser.parse_args(argv)
    tell_torch_device()
    keep_few_shapes()
    train(parse_paths(args.strings), args.directions, args.options, args.work)


if __name__ == "__main__":
    stage.run(main)
