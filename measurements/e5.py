"""The encoder that studies start from, multilingual-e5-small, trained and embedding natural text, beside the library.

Training: Polybatch's stage against sentence-transformers' own trainer, as train.py has them, in batches of 64 of
LibreOffice's help, with all weights in float32, with the word embeddings frozen, and so in bf16 autocast where the
processor computes in it. Embedding: the stage against SentenceTransformer.encode at the batch size that is best for it
here, which is looked for first, on sentences of XQuAD-R in eleven languages. All cores on both sides; start-up counts.

    python measurements/e5.py --xquad-r FOLDER
    taskset --cpu-list 0 python measurements/e5.py --xquad-r FOLDER     # one core; e5-1-of-2-cores.json

inputs: the network once, or --encoder, --data, --help-folder (e5_inputs.py); a folder of XQuAD-R's files
outputs: <out>/e5.json, and the table and figure that report.py makes of it
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import e5_inputs
import encode
import measure
import train

from polybatch.encoders.kernels import computes_bf16

STEPS, BATCH, TEXTS = 5, 64, 1_500
QUICK_STEPS, QUICK_BATCH, QUICK_TEXTS, QUICK_PAIRS = 2, 8, 60, 200
TEMPERATURE, LEARNING_RATE = 0.01, 2e-5  # e5's own; as many steps must be seen to learn
BATCHES = (4, 8, 16, 32, 64)  # that the library may be best with
TRIAL_TEXTS = 200
GOAL_ALL_WEIGHTS, GOAL_FROZEN, GOAL_FROZEN_MEMORY = 1.5, 2.0, 0.5
GOAL_BF16, GOAL_ENCODE, GOAL_BUSY = 2.0, 2.0, 0.85
ALL_WEIGHTS, FROZEN, FROZEN_BF16 = (
    "all weights, float32",
    "frozen word embeddings, float32",
    "frozen word embeddings, bf16",
)


def trainings(args: argparse.Namespace, encoder: Path, text: str) -> list[train.Training]:
    """All weights, frozen word embeddings, and these in bf16 where that is no imitation."""
    steps, batch = (QUICK_STEPS, QUICK_BATCH) if args.quick else (args.steps, BATCH)

    def variant(title: str, precision: str, frozen: bool) -> train.Training:
        return train.Training(
            f"{title}, {text}",
            encoder,
            steps,
            batch,
            eval_steps=steps,
            learning_rate=LEARNING_RATE,
            temperature=TEMPERATURE,
            precision=precision,
            freeze_embeddings=frozen,
        )

    found = [variant(ALL_WEIGHTS, "fp32", False)]
    found += [] if args.quick else [variant(FROZEN, "fp32", True)]
    return found + ([variant(FROZEN_BF16, "bf16", True)] if computes_bf16() else [])


def side_by_side(args: argparse.Namespace, data: Path, training: train.Training, scratch: Path) -> measure.Measurement:
    """Both sides alternately; both must have learned."""
    mine, peers = scratch / "ours", scratch / "theirs"
    options = train.options_of(training, "cpu")
    cases: dict[str, measure.Case] = {
        train.OURS: train.ours(args, data, training.encoder, mine, options),
        train.PEER: train.theirs(data, training, peers, "cpu"),
    }
    measured = measure.paired(cases, args.rounds, unit="pairs", peer=train.PEER)
    for name, results in measured.cases.items():
        said = results[-1].said
        padding = 1 - said["tokens"] / said["computed"]
        told = f"{said['tokens']} tokens in {said['passes']} passes, {padding:.0%} padding"
        print(f"  {name}: {told}, cores busy {busy(results[-1]):.0%}", file=sys.stderr)
    train.require_learned(training, data, mine / "model", peers / "model")
    return measured


def busy(result: measure.Result) -> float:
    """The share of all cores' time that was used: of the work alone where the command says so, else with start-up."""
    seconds = result.said["seconds"] if "cpu_seconds" in result.said else result.seconds
    return float(result.said.get("cpu_seconds", result.cpu_seconds)) / seconds / measure.cores()


def embedding(args: argparse.Namespace, encoder: Path, data: Path, scratch: Path) -> tuple[str, measure.Measurement]:
    """The stage against the library at its best batch size; the vectors must agree."""
    texts, what = e5_inputs.texts(args, data, QUICK_TEXTS if args.quick else TEXTS)
    benchmark = encode.make_benchmark(scratch / "texts", iter(texts))
    best = best_batch(args, encoder, texts, scratch)
    output, peers = scratch / "embeddings", scratch / "peer.npy"
    peer = f"{encode.PEER}, batch {best}"
    cases: dict[str, measure.Case] = {
        encode.OURS: encode.ours(encoder, benchmark, output, "cpu"),
        peer: with_prompt(encode.theirs(encoder, benchmark, peers, "cpu", best)),
    }
    measured = measure.paired(cases, args.rounds, unit="texts", peer=peer)
    encode.require_agreement(output / "corpus" / "en.npy", peers, "cpu")
    return f"embedding, float32, {what}", measured


def with_prompt(command: list[str]) -> list[str]:
    """The library's command with the prompt that e5 wants before passages, as ours puts it there by itself."""
    return [*command, "--prompt-name", "passage"]


def best_batch(args: argparse.Namespace, encoder: Path, texts: list[str], scratch: Path) -> int:
    """The batch size with which the library embeds a part of the texts fastest, start-up left out."""
    trial = encode.make_benchmark(scratch / "trial", iter(texts[: QUICK_TEXTS if args.quick else TRIAL_TEXTS]))
    sizes = BATCHES[1:3] if args.quick else BATCHES
    rates = {}
    for size in sizes:
        command = encode.theirs(encoder, trial, scratch / "trial.npy", "cpu", size)
        rates[size] = measure.run(with_prompt(command)).get("inner_rate")
    told = ", ".join(f"{size}: {rate:.1f}" for size, rate in rates.items())
    print(f"  {encode.PEER}, texts per second by batch size: {told}", file=sys.stderr)
    return max(rates, key=rates.__getitem__)


def goals(trained: dict[str, measure.Measurement], embedded: measure.Measurement) -> Iterator[measure.Goal]:
    """Rates and memory of trainings, bf16 against float32 of our own, embedding, and how busy the cores were."""
    for title, one in trained.items():
        wished = GOAL_ALL_WEIGHTS if title.startswith(ALL_WEIGHTS) else GOAL_FROZEN
        rate = one.ratio(train.OURS, train.PEER)
        yield measure.Goal(f"pairs per second, {title}", rate, wished, unit="x")
        most = 1.0 if title.startswith(ALL_WEIGHTS) else GOAL_FROZEN_MEMORY
        memory = one.ratio(train.OURS, train.PEER, "peak_bytes")
        yield measure.Goal(f"peak memory, {title}", memory, most, at_least=False, unit="x")
    yield from faster_by_bf16(trained)
    rate = embedded.ratio(encode.OURS, embedded.peer)
    yield measure.Goal(f"texts per second against {embedded.peer}", rate, GOAL_ENCODE, unit="x")
    memory = embedded.ratio(encode.OURS, embedded.peer, "peak_bytes")
    yield measure.Goal("peak memory of embedding", memory, 1.0, at_least=False, unit="x")
    shares = {name: tuple(map(busy, results)) for name, results in embedded.cases.items()}
    yield measure.Goal(
        "embedding: share of the cores' time that is used, start-up left out",
        measure.Ratio(shares[encode.OURS]),
        GOAL_BUSY,
        note=f"{embedded.peer} uses {statistics.median(shares[embedded.peer]):.2f}.",
    )


def faster_by_bf16(trained: dict[str, measure.Measurement]) -> Iterator[measure.Goal]:
    """Our own training in bf16 against that in float32, round by round; nothing where one of them was not run."""
    found = [one for name in (FROZEN_BF16, FROZEN) for title, one in trained.items() if title.startswith(name)]
    if len(found) < 2:
        return
    took = {
        "start-up, validation and checkpoint counted": lambda result: result.seconds,
        "start-up left out": lambda result: result.get("inner_seconds"),
        "steps alone": lambda result: result.said["steady"]["seconds"],
    }
    pairs = list(zip(*(one.cases[train.OURS] for one in found), strict=True))
    for told, of in took.items():
        ratio = measure.Ratio(tuple(of(fp32) / of(bf16) for bf16, fp32 in pairs))
        yield measure.Goal(f"training in bf16 against our own in float32, {told}", ratio, GOAL_BF16, unit="x")


def main(argv: list[str] | None = None) -> None:
    parser = measure.arguments(__doc__, rounds=2)
    e5_inputs.arguments(parser)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    args = measure.settle(parser.parse_args(argv))
    args.device = "cpu"  # a card's measurements: measurements/gpu
    with tempfile.TemporaryDirectory(prefix="polybatch-e5-") as name:
        scratch = Path(name)
        data, text = e5_inputs.pairs(scratch / "pairs", args, QUICK_PAIRS if args.quick else None)
        small_for = data if args.quick else None
        encoder = args.encoder or e5_inputs.encoder(scratch / "e5-small", small_for=small_for)
        variants = trainings(args, encoder, text)
        train.require_same_gradients(variants[0], data, "cpu")
        trained = {one.title: side_by_side(args, data, one, scratch) for one in variants}
        title, embedded = embedding(args, encoder, data, scratch)
    shown = {**trained, title: embedded}
    measure.write("e5" + args.suffix, shown, list(goals(trained, embedded)), folder=args.out)


if __name__ == "__main__":
    main()
