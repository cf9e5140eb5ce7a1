"""Translation there and back with its filter, against transformers' `generate` and against CTranslate2 alone.

inputs: resources/translators; synthetic sentences of its domain, or --collected, a study's collected/en.parquet
outputs: <folder>/translate.json, .md and a figure; work in build/benchmarks/translate

    python measurements/translate.py [--rounds N] [--quick] [--device cuda] [--collected FILE]

The three do the same work in processes of their own: every distinct sentence of the pairs from English into German and
what came out back into English.

| case | what it runs | what it is given for free |
|---|---|---|
| polybatch | translation.shard and translation.accept, Parquet to Parquet, every text in the pairs | nothing |
| ctranslate2 | `Translator.translate_batch`, the limit: tokens in, tokens out | sentences, tokens, sorting, no filter |
| transformers | `M2M100ForConditionalGeneration.generate`, batches of as many tokens, a part of them | the same |

The models are the shipped translator, dequantised, and the same one widened to the size of an OPUS-MT model, on a GPU
of NLLB-600M (translate_models.py). Both sides load the same weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import measure
from translate_models import SIZES, empty_model, make_model
from translate_pairs import made_pairs, numbered_pairs, real_pairs, tables

from polybatch.core import contracts
from polybatch.core.errors import DataError
from polybatch.core.files import read_json, read_parquet, write_json, write_parquet, write_rows
from polybatch.core.streams import open_parquet
from polybatch.translation.options import DecodingOptions
from polybatch.translation.translator import Translator

WORK = measure.ROOT / "build" / "benchmarks" / "translate"
LANG = "de"
DIRECTIONS = (f"en-{LANG}", f"{LANG}-en")
BATCH_TOKENS = DecodingOptions().batch_tokens
MAX_LENGTH = 128
TOKENS = "tokens.json"  # what the peers are given
# So few that all takes minutes; of the shipped model also so many that the three seconds spent once weigh little.
PAIRS = {"shipped": (1_500, 6_000), "opus": (1_200,), "nllb": (1_500,), "quick": (30,)}
GROWTH = [1_000, 4_000, 16_000]
SAMPLED = {"shipped": 6, "opus": 8, "nllb": 6}  # transformers translates every n-th batch, or all would take an hour
# Share of sentences that two beam searches must translate alike. In bfloat16 .7, set after .765 was seen on an H200.
AGREEMENT = {"float32": 0.98, "bfloat16": 0.7}


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["case"]:
        run_case(argv[1:])
        return
    if argv[:1] == ["shard"]:
        shard_without_lingua(argv[1:])
        return
    parser = measure.arguments(__doc__, rounds=2)
    parser.add_argument("--pairs", type=int, help="how many pairs the models translate; by default what takes minutes")
    parser.add_argument("--models", nargs="+", choices=SIZES, help="default: shipped and opus; on a GPU nllb for opus")
    parser.add_argument("--beams", nargs="+", type=int, help="default: 4 for the shipped model, 1 for the large one")
    parser.add_argument("--growth", nargs="+", type=int, default=GROWTH, help="pairs, at least two numbers, ascending")
    parser.add_argument("--collected", type=Path, help="real pairs: a study's collected/en.parquet")
    parser.add_argument(
        "--no-filter", action="store_true", help="ours is the shard alone, without lingua and the verdict"
    )
    args = measure.settle(parser.parse_args(argv))
    measured: dict[str, Any] = {}
    goals: list[measure.Goal] = []
    for model, beam, pairs in chosen(args):
        rows = real_pairs(args.collected, pairs) if args.collected else made_pairs(pairs)
        work = prepare(model, beam, args, rows, f"{'real' if args.collected else 'made'}-{pairs}-{model}-{beam}")
        title = f"{model}, {'greedy' if beam == 1 else f'beam {beam}'}, {work.compute_type}, {pairs} pairs"
        measured[title] = compare(work, args.rounds, smaller=model == "shipped" and pairs <= PAIRS["shipped"][0])
        goals += wished(title, measured[title], work)
    if not args.quick:
        measured["growth: shipped, greedy, int8"] = grown = growth(args, args.growth)
        last, before = args.growth[-1], args.growth[-2]
        told = f"peak memory, {last} against {before} pairs"
        goals += [
            measure.Goal("exponent of time against pairs", grown.exponent(since=before), 1.1, at_least=False),
            measure.Goal(told, grown.memory_growth(before), 1.2, at_least=False),
        ]
    measure.write("translate" + args.suffix, measured, goals, folder=args.out)


def chosen(args: argparse.Namespace) -> list[tuple[str, int, int]]:
    """(model, beam width, number of pairs) of every comparison."""
    large = "nllb" if args.device == "cuda" else "opus"
    models = args.models or (["shipped"] if args.quick else ["shipped", large])
    pairs = {model: (args.pairs,) if args.pairs else PAIRS["quick" if args.quick else model] for model in models}
    beams = {model: args.beams or [4 if model == "shipped" else 1] for model in models}
    return [(model, beam, count) for model in models for beam in beams[model] for count in pairs[model]]


@dataclass(frozen=True)
class Work:
    """What one comparison needs, laid out in files.

    Attributes:
        folder: en.parquet, supplied.parquet, and what the cases write.
        model: Folder of a translator; `peer.pt` beside it is the same in transformers.
        beam: Beam width.
        device: "cpu" or "cuda".
        compute_type: Of CTranslate2; transformers computes in its counterpart.
        no_filter: Whether ours is the shard alone, without lingua and translation.accept.
    """

    folder: Path
    model: Path
    beam: int
    device: str
    compute_type: str
    no_filter: bool = False

    def command(self, case: str, **others: Any) -> list[str]:
        told = {"folder": self.folder, "model": self.model, "beam": self.beam, "device": self.device}
        told |= {"compute-type": self.compute_type, **others}
        options = [part for name, value in told.items() for part in (f"--{name}", str(value))]
        options += ["--no-filter"] if self.no_filter else []
        return [sys.executable, str(Path(__file__).resolve()), "case", case, *options]


def compare(work: Work, rounds: int, *, smaller: bool) -> measure.Measurement:
    """The three cases, their outputs held to be the same; the shipped model also with the int8 weights that it has.

    A larger model takes minutes a round, and is given one.
    """
    (work.folder / TOKENS).unlink(missing_ok=True)
    cases: dict[str, measure.Case] = {"polybatch": work.command("polybatch")}
    cases |= {peer: _after_tokens(work, peer) for peer in ("ctranslate2", "transformers")}
    if smaller:
        cases["polybatch, int8"] = work.command("polybatch", **{"compute-type": "int8"}, output="int8")
    found = measure.paired(cases, rounds if smaller else 1, unit="pairs", peer="ctranslate2")
    check_outputs(work)
    return found


def _after_tokens(work: Work, peer: str) -> measure.Case:
    """A peer's case; what it is given is made from what our side read and wrote, once and not measured."""

    def run() -> measure.Result:
        if not (work.folder / TOKENS).exists():
            write_json(work.folder / TOKENS, tokens_of(work), sealed=False)
        return measure.run(work.command(peer))

    return run


def wished(title: str, found: measure.Measurement, work: Work) -> list[measure.Goal]:
    """The two goals. Ours is the time of whole processes, that of the peers the time of their translation alone."""
    ours = found.cases["polybatch"]

    def against(peer: str) -> measure.Ratio:
        pairs = zip(ours, found.cases[peer], strict=True)
        return measure.Ratio(tuple(a.get("rate") / b.get("inner_rate") for a, b in pairs))

    shared = read_json(work.folder / "agreement.json")["agreement"]
    alike = f"{shared:.2%} of the sentences translated alike; transformers' start-up is not counted, ours is."
    free = "Start-up, sentences, tokens, and the filter with what it measures are counted on our side only."
    alone = 0.85 if title.startswith("shipped") else 0.9
    return [
        measure.Goal(f"{title}: against transformers", against("transformers"), 4.0, unit="x", note=alike),
        measure.Goal(f"{title}: against translate_batch alone", against("ctranslate2"), alone, unit="x", note=free),
    ]


def growth(args: argparse.Namespace, sizes: Iterable[int]) -> measure.Growth:
    """The stage as it is used by default (int8), greedy, at several sizes, of pairs that share no sentence."""
    commands = {}
    for size in sizes:
        work = prepare("shipped", 1, args, numbered_pairs(size), f"numbered-{size}")
        commands[size] = work.command("polybatch", **{"compute-type": "int8"})
    return measure.grow(commands, unit="pairs")


# What is prepared


def prepare(model: str, beam: int, args: argparse.Namespace, rows: Iterable[dict[str, Any]], name: str) -> Work:
    """Lays out model and pairs."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "en.parquet", tables(rows), contracts.COLLECTED)
    write_rows(folder / "supplied.parquet", [], contracts.PARALLEL)
    compute_type = "bfloat16" if args.device == "cuda" else "float32"
    return Work(folder, make_model(model, WORK / "models"), beam, args.device, compute_type, args.no_filter)


def tokens_of(work: Work) -> dict[str, list[list[str]]]:
    """direction -> the distinct sentences' tokens, by length, as the stage splits them; back from what it made."""
    rows = read_parquet(work.folder / "polybatch" / "shard.parquet", contracts.ROUND_TRIP).to_pylist()
    found = {}
    for direction, sides in zip(DIRECTIONS, (("english_query", "english_passage"), ("query", "passage")), strict=True):
        listener = _Listening(work.model, direction, DecodingOptions(max_length=MAX_LENGTH))
        listener.translate_texts(list(dict.fromkeys(row[side] for row in rows for side in sides)))
        found[direction] = sorted(listener.heard, key=len)
    return found


class _Listening(Translator):
    """A translator that remembers the tokens that it was asked to translate, and translates nothing."""

    heard: list[list[str]]

    def _translate_tokens(self, sources: list[list[str]]) -> list[str]:
        self.heard = sources
        return [""] * len(sources)


# What is measured, each in a process of its own


def run_case(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="translate.py case")
    parser.add_argument("case", choices=("polybatch", "ctranslate2", "transformers"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--beam", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--compute-type", required=True)
    parser.add_argument("--output", default="polybatch")
    parser.add_argument("--no-filter", action="store_true")
    args = parser.parse_args(argv)
    case = {"polybatch": case_polybatch, "ctranslate2": case_ctranslate2, "transformers": case_transformers}[args.case]
    seconds, share = case(args)
    pairs = open_parquet(args.folder / "en.parquet").metadata.num_rows
    print(json.dumps({"units": pairs * share, "seconds": seconds, "share": share}))


def case_polybatch(args: argparse.Namespace) -> tuple[float, float]:
    """The stages' commands as the workflow runs them; the filter, if it is run, lets everything pass."""
    start = time.perf_counter()
    output = args.folder / args.output
    decoding = {
        "beam_size": args.beam, "compute_type": args.compute_type, "device": args.device, "max_length": MAX_LENGTH
    }  # fmt: skip
    common = ["--collected", str(args.folder / "en.parquet"), "--lang", LANG]
    common += ["--forward", str(args.model), "--backward", str(args.model)]
    translate = ["--decoding", json.dumps(decoding), "--threads", str(measure.cores()), "--min-distinct", "0"]
    shard = str(output / "shard.parquet")
    accept = ["--shards", shard, "--supplied", str(args.folder / "supplied.parquet")]
    options = {"min_query_chrf": 0.0, "min_passage_chrf": 0.0}
    translate += ["--output", shard]
    accept += ["--options", json.dumps(options), "--output", str(output / f"{LANG}.parquet")]
    stages = [
        ["-m", "polybatch.translation.shard", *common, *translate],
        ["-m", "polybatch.translation.accept", *common, *accept],
    ]
    for stage in [[str(Path(__file__).resolve()), "shard", *common, *translate]] if args.no_filter else stages:
        done = subprocess.run([sys.executable, *stage], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
    return time.perf_counter() - start, 1.0


def shard_without_lingua(argv: list[str]) -> None:
    """The shard's stage on a machine without lingua, whose language models no load of measurements/gpu has room for."""
    from polybatch.translation import measures, shard

    with mock.patch.object(measures, "is_known", return_value=False):
        shard.main(argv)


def case_ctranslate2(args: argparse.Namespace) -> tuple[float, float]:
    """The limit: nothing but `translate_batch` over sorted tokens, a batch a thread. Loading is not in its time."""
    import ctranslate2

    tokens = json.loads((args.folder / TOKENS).read_text("utf-8"))
    translator = ctranslate2.Translator(
        str(args.model), device=args.device, compute_type=args.compute_type,
        inter_threads=1 if args.device == "cuda" else measure.cores(), intra_threads=1,
    )  # fmt: skip
    start = time.perf_counter()
    found = {}
    for direction, sources in tokens.items():
        results = translator.translate_batch(
            sources, target_prefix=[[_prefix(direction)]] * len(sources), beam_size=args.beam,
            max_batch_size=BATCH_TOKENS, batch_type="tokens", max_input_length=0, max_decoding_length=MAX_LENGTH,
        )  # fmt: skip
        found[direction] = [result.hypotheses[0][1:] for result in results]
    seconds = time.perf_counter() - start
    _write_tokens(args.folder / "ctranslate2.parquet", found)
    return seconds, 1.0


def case_transformers(args: argparse.Namespace) -> tuple[float, float]:
    """`generate` over the same sentences, sorted by length, in batches of as many tokens, with all threads."""
    import torch

    model = empty_model(SIZES[args.model.name])
    model.load_state_dict(torch.load(args.model / "peer.pt", weights_only=True))
    model.tie_weights()
    model.to(args.device, torch.bfloat16 if args.compute_type == "bfloat16" else torch.float32)
    vocabulary = json.loads((args.model / "shared_vocabulary.json").read_text("utf-8"))
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokens = json.loads((args.folder / TOKENS).read_text("utf-8"))
    start = time.perf_counter()
    found: dict[str, list[list[str]]] = {}
    for batch in sampled(tokens, args.model.name):
        direction = batch[0][0]
        rows = [torch.tensor([ids.get(token, 3) for token in sentence]) for _, sentence in batch]
        inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1).to(args.device)
        beams: dict[str, Any] = {"early_stopping": True} if args.beam > 1 else {}
        with torch.inference_mode():
            output = model.generate(
                input_ids=inputs, attention_mask=(inputs != 1).long(), num_beams=args.beam, do_sample=False,
                forced_bos_token_id=ids[_prefix(direction)], max_new_tokens=MAX_LENGTH, **beams,
            )  # fmt: skip
        for row in output[:, 2:].tolist():
            found.setdefault(direction, []).append([vocabulary[i] for i in row if i not in (1, 2)])
    seconds = time.perf_counter() - start
    _write_tokens(args.folder / "transformers.parquet", found)
    share = sum(len(row) for batch in sampled(tokens, args.model.name) for _, row in batch) / sum(
        map(len, chain(*tokens.values()))
    )
    return seconds, share


def _prefix(direction: str) -> str:
    return f"__{direction.split('-')[1]}__"


def sampled(tokens: dict[str, list[list[str]]], model: str) -> list[list[tuple[str, list[str]]]]:
    """Every SAMPLED-th batch of all that there is to translate, from the middle of the first so many on."""
    step = SAMPLED[model]
    every = [
        [(direction, sentence) for sentence in batch]
        for direction, sources in tokens.items()
        for batch in _batches(sources)
    ]
    return every[min(step // 2, len(every) - 1) :: step]


def _batches(sources: list[list[str]]) -> list[list[list[str]]]:
    """Batches of neighbours, no more tokens in each than CTranslate2 is allowed, padding included."""
    batches: list[list[list[str]]] = [[]]
    for sentence in sources:
        if (len(batches[-1]) + 1) * len(sentence) > BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(sentence)
    return batches


def _write_tokens(path: Path, found: dict[str, list[list[str]]]) -> None:
    import pyarrow as pa

    columns = {"direction": pa.string(), "tokens": pa.list_(pa.string())}
    schema = pa.schema(list(columns.items()))
    rows = [{"direction": direction, "tokens": tokens} for direction in found for tokens in found[direction]]
    write_parquet(path, [pa.Table.from_pylist(rows, schema=schema)], schema)


def check_outputs(work: Work) -> None:
    """Holds the three outputs to be the same: ours and CTranslate2's all, transformers' nearly all sentences.

    Two implementations of beam search part where hypotheses tie, or where they end the search at different steps.

    Raises:
        DataError: They are not.
    """
    ours = read_parquet(work.folder / "polybatch" / "shard.parquet", contracts.ROUND_TRIP).to_pylist()
    limit, peer = (
        [(row["direction"], row["tokens"]) for row in read_parquet(work.folder / f"{case}.parquet").to_pylist()]
        for case in ("ctranslate2", "transformers")
    )
    tokens = json.loads((work.folder / TOKENS).read_text("utf-8"))
    sources = [(direction, tuple(sentence)) for direction in tokens for sentence in tokens[direction]]
    found_of = dict(zip(sources, limit, strict=True))
    asked = [(direction, tuple(words)) for direction, words in chain(*sampled(tokens, work.model.name))]
    agreement = sum(found_of[a] == b for a, b in zip(asked, peer, strict=True)) / len(peer)
    options = DecodingOptions(beam_size=work.beam, compute_type=work.compute_type, device=work.device)
    there = Translator(work.model, DIRECTIONS[0], options)._tokenizer
    known = {
        source: there.text(found_of[direction, source][1])
        for direction, source in sources
        if direction == DIRECTIONS[0]
    }
    queries = [(known.get(tuple(there.tokens(row["english_query"]))), row["query"]) for row in ours]
    compared = [(a, b) for a, b in queries if a is not None]  # a query of one sentence
    same = sum(a == b for a, b in compared) / max(1, len(compared))
    facts = {"agreement": agreement, "same_as_limit": same, "queries_compared": len(compared), "sentences": len(limit)}
    write_json(work.folder / "agreement.json", facts)
    print(f"  {facts}", file=sys.stderr)
    if same < 1.0 or agreement < AGREEMENT[work.compute_type] or not compared:
        raise DataError("The sides of the benchmark did not do the same work.", where=work.folder, found=str(facts))


if __name__ == "__main__":
    main()
