"""Makes a small encoder from scratch, for studies that run without a model hub.

inputs: parallel/<lang>.parquet (the train split) of the languages that the tokenizer shall know
outputs: encoders/<name>/, a sentence-transformers folder with encoder.json: a subword tokenizer and a transformer of
the BERT architecture with random weights and mean pooling. Every later stage loads it as it loads a hub model.

The tokenizer falls back to bytes, so that a script it has never seen (Greek, in the default study) still
reaches the model as text rather than as unknown tokens.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from polybatch.core import contracts, stage
from polybatch.core.arguments import parse_paths
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import atomic_path, write_json
from polybatch.core.languages import language
from polybatch.core.streams import batches
from polybatch.core.sums import write_sums
from polybatch.encoders.load import RECORD, record_of
from polybatch.encoders.options import EncoderOptions

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def build_encoder(texts: Iterable[str], options: EncoderOptions, output: Path) -> None:
    """Trains the tokenizer on `texts` and saves it with random weights in `output`, atomically."""
    with ThreadPoolExecutor(1) as beside:  # in compiled code, while Python imports
        trained = beside.submit(train_tokenizer, texts, options.vocab_size)
        with stage.importing():
            import torch
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
            from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
            from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained.result(),
        model_max_length=options.max_length,
        model_input_names=["input_ids", "attention_mask"],
        **_SPECIAL,
    )
    torch.manual_seed(options.seed)
    backbone = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            num_hidden_layers=options.num_layers,
            hidden_size=options.hidden_size,
            num_attention_heads=options.num_heads,
            intermediate_size=options.intermediate_size,
            max_position_embeddings=options.max_length,
            type_vocab_size=1,
            hidden_dropout_prob=options.dropout,
            attention_probs_dropout_prob=options.dropout,
            initializer_range=options.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    with atomic_path(output) as partial:
        parts = partial / "transformer"
        backbone.save_pretrained(parts)
        tokenizer.save_pretrained(parts)
        transformer = Transformer(str(parts), max_seq_length=options.max_length)
        pooling = Pooling(options.hidden_size, pooling_mode="mean")
        model = SentenceTransformer(modules=[transformer, pooling], prompts={"query": "", "passage": ""}, device="cpu")
        model.save_pretrained(str(partial), create_model_card=False)
        write_json(partial / RECORD, record_of(model))
        for file in parts.iterdir():
            file.unlink()
        parts.rmdir()
        write_sums(partial)
    stage.log.info("encoder: %d pieces, %d parameters", len(tokenizer), sum(p.numel() for p in backbone.parameters()))


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019) over NFKC, lower-cased text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(_SPECIAL.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    cls, sep = _SPECIAL["cls_token"], _SPECIAL["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B {sep}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    return tokenizer


def train_texts(paths: Mapping[str, Path], limit: int) -> list[str]:
    """Distinct queries and passages of the files, sorted; of more than `limit`, those with the lowest hashes."""
    kept: dict[bytes, str] = {}
    for lang, path in paths.items():
        language(lang)
        rows = 0
        for text in _texts(path):
            kept[blake2b(text.encode("utf-8"), digest_size=16).digest()] = text
            rows += 1
            if len(kept) >= 2 * limit:
                kept = _lowest(kept, limit)
        if not rows:
            raise DataError(f"There is no text in {lang}.", where=path, expected="at least one pair", found="none")
    if not kept:
        raise ConfigError("No language to train a tokenizer on.", expected="--parallel en=BASE/parallel/en.parquet")
    return sorted(_lowest(kept, limit).values())


def _lowest(texts: dict[bytes, str], limit: int) -> dict[bytes, str]:
    return {key: texts[key] for key in heapq.nsmallest(limit, texts)} if len(texts) > limit else texts


def _texts(path: Path) -> Iterator[str]:
    for table in batches(path, contracts.PARALLEL, ["query", "passage"]):
        for column in table.columns:
            yield from column.to_pylist()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="polybatch.encoders.scratch", description=__doc__.split("\n")[0])
    parser.add_argument("--parallel", required=True, nargs="+", metavar="LANG=PATH", help="train-split text")
    parser.add_argument("--options", default="{}", help="EncoderOptions, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    options = EncoderOptions.from_json(args.options)
    build_encoder(train_texts(parse_paths(args.parallel), options.max_texts), options, args.output)


if __name__ == "__main__":
    stage.run(main)
