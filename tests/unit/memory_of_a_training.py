"""Run by itself: trains a model whose memory shows, and prints what was estimated and what it took, in bytes."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from parallel_files import parallel_row, write_parallel

ROWS, WORDS, LENGTH = 200, 30_000, 60


def model():
    """A BERT of two layers with 30,000 word embeddings of width 256."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = ["input_ids", "attention_mask"]
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 1024}
    config = BertConfig(vocab_size=WORDS, hidden_size=256, max_position_embeddings=LENGTH, **shape)
    folder = Path(sys.argv[1]) / "parts"
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="w1", unk_token="w0", model_input_names=names, model_max_length=LENGTH
    ).save_pretrained(folder)
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(256, pooling_mode="mean")], device="cpu")


def resident(name):
    """Bytes of memory now (VmRSS) or at most (VmHWM). `getrusage` would count what the parent had before the fork."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main():
    import torch

    from polybatch.encoders.kernels import keep_few_shapes
    from polybatch.pairs.table import read_pairs
    from polybatch.training.arguments import on_this_machine
    from polybatch.training.inputs import read_validation, set_up
    from polybatch.training.memory import check
    from polybatch.training.options import TrainingOptions
    from polybatch.training.processes import Ranks
    from polybatch.training.sampling import Sampling
    from polybatch.training.train import train

    torch.set_num_threads(1)
    keep_few_shapes()
    folder, draw = Path(sys.argv[1]), random.Random(0)

    def text(length):
        return " ".join(f"w{draw.randrange(2, WORDS)}" for _ in range(length))

    rows = [parallel_row(i, text(LENGTH // 2), text(LENGTH)) for i in range(ROWS)]
    write_parallel(folder / "en.parquet", rows)
    encoder, table = model(), read_pairs({"en": folder / "en.parquet"})
    options = on_this_machine(
        TrainingOptions(batch_size=64, max_steps=2, eval_steps=2, patience=0, **json.loads(sys.argv[2]))
    )
    set_up(encoder, options)
    if options.freeze_embeddings:
        encoder.transformers_model.get_input_embeddings().weight.requires_grad_(False)
    needed = check(encoder, table, options, Ranks())
    before = resident("VmRSS")
    validation = read_validation(folder / "en.parquet").select(range(8))
    train(encoder, table, validation, Sampling("en-en", None), options, seed=0, folder=folder / "c", fingerprint={})
    taken = resident("VmHWM") - before
    print(json.dumps({"estimated": needed.total, "taken": taken, "parts": str(needed)}))


if __name__ == "__main__":
    main()
