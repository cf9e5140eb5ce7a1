"""Translation there and back with its filter, against transformers' `generate` and against CTranslate2 alone.

inputs: resources/translators; synthetic sentences of its domain, or --collected, a study's collected/en.parquet
outputs: <folder>/translate.json, .md and a figure; work in build/benchmarks/translate

    python benchmarks/translate.py [--rounds N] [--quick] [--device cuda] [--collected FILE]

The three do the same work in processes of their own: every distinct sentence of the pairs from English into German and
what came out back into English.

| case | what it runs | what it is given for free |
|---|---|---|
| polybatch | polybatch.translate and polybatch.accept, Parquet to Parquet, every text in the pairs | nothing |
| ctranslate2 | `Translator.translate_batch`, the limit: tokens in, tokens out | sentences, tokens, sorting, no filter |
| transformers | `M2M100ForConditionalGeneration.generate`, batches of as many tokens, a part of them | the same |

The models are the shipped translator, dequantised, and the same one widened (Chen, Goodfellow and Shlens 2016,
"Net2Net: Accelerating Learning via Knowledge Transfer") to the size of an OPUS-MT model, on a GPU of NLLB-600M: it is
as slow as one of that size and still translates, which random weights do not. Both sides load the same weights.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import measure

from polybatch import contracts
from polybatch.errors import DataError
from polybatch.files import atomic_path, read_json, read_parquet, write_json, write_parquet, write_rows
from polybatch.streams import open_parquet
from polybatch.translator import CARD, SENTENCEPIECE, DecodingOptions, Translator

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SHIPPED = measure.ROOT / "resources" / "translators" / "homeassistant-de-es"
WORK = measure.ROOT / "build" / "benchmarks" / "translate"
LANG = "de"
DIRECTIONS = (f"en-{LANG}", f"{LANG}-en")
BATCH_TOKENS = DecodingOptions().batch_tokens
MAX_LENGTH = 128
TOKENS = "tokens.json"  # what the peers are given
_WRITTEN_AT_ONCE = 50_000
CHARACTER = "<0x00>"  # a token that no translation holds: what the vocabulary is filled up with
# So many that two seconds of start-up are a tenth of the work, and so few that all takes minutes.
PAIRS = {"shipped": 1_500, "opus": 1_200, "nllb": 1_500, "quick": 30}
GROWTH = [1_000, 4_000, 16_000]
SAMPLED = {"shipped": 6, "opus": 24, "nllb": 6}  # transformers translates every n-th batch, or all would take an hour
AGREEMENT = 0.98  # share of sentences that two implementations of beam search may be asked to translate alike

_ROOMS = ["kitchen", "bathroom", "living room", "garage", "bedroom", "garden", "hallway", "cellar", "office", "attic"]
_THINGS = ["light", "door", "window", "sensor", "heater", "fan", "camera", "alarm", "switch", "lock", "pump", "cover"]
_CLAUSES = (
    "the {thing} in the {room} is turned on",
    "the {thing} could not connect to the server",
    "the temperature of the {room} is above {n} degrees",
    "the battery of the {thing} is low",
    "the {thing} opens after {n} minutes",
    "you have selected the {thing} of the {room}",
    "the integration for the {thing} is not configured",
    "the password for the {thing} is not valid",
)
_JOINS = (" and ", " if ", " when ", " because ")


@dataclass(frozen=True)
class Size:
    """A model's size: the shipped one's, times `factor` in width, with so many layers and tokens."""

    factor: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int


SIZES = {
    "shipped": Size(1, 3, 1, 4601),
    "opus": Size(2, 6, 6, 32_000),
    "nllb": Size(4, 12, 12, 256_204),
}


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["case"]:
        run_case(argv[1:])
        return
    parser = measure.arguments(__doc__, rounds=2)
    parser.add_argument("--pairs", type=int, help="how many pairs the models translate; by default what takes minutes")
    parser.add_argument("--models", nargs="+", choices=SIZES, help="default: shipped and opus; on a GPU nllb for opus")
    parser.add_argument("--beams", nargs="+", type=int, help="default: 4 for the shipped model, 1 for the large one")
    parser.add_argument("--growth", nargs="+", type=int, default=GROWTH, help="pairs, at least two numbers, ascending")
    parser.add_argument("--collected", type=Path, help="real pairs: a study's collected/en.parquet")
    args = measure.settle(parser.parse_args(argv))
    measured: dict[str, Any] = {}
    goals: list[measure.Goal] = []
    for model, beam in chosen(args):
        pairs = args.pairs or PAIRS["quick" if args.quick else model]
        rows = real_pairs(args.collected, pairs) if args.collected else made_pairs(pairs)
        work = prepare(model, beam, args, rows, f"{'real' if args.collected else 'made'}-{pairs}-{model}-{beam}")
        title = f"{model}, {'greedy' if beam == 1 else f'beam {beam}'}, {work.compute_type}, {pairs} pairs"
        measured[title] = compare(work, args.rounds, smaller=model == "shipped")
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


def chosen(args: argparse.Namespace) -> list[tuple[str, int]]:
    """(model, beam width) of every comparison."""
    large = "nllb" if args.device == "cuda" else "opus"
    models = args.models or (["shipped"] if args.quick else ["shipped", large])
    return [(model, beam) for model in models for beam in args.beams or [4 if model == "shipped" else 1]]


@dataclass(frozen=True)
class Work:
    """What one comparison needs, laid out in files.

    Attributes:
        folder: en.parquet, supplied.parquet, and what the cases write.
        model: Folder of a translator; `peer.pt` beside it is the same in transformers.
        beam: Beam width.
        device: "cpu" or "cuda".
        compute_type: Of CTranslate2; transformers computes in its counterpart.
    """

    folder: Path
    model: Path
    beam: int
    device: str
    compute_type: str

    def command(self, case: str, **others: Any) -> list[str]:
        told = {"folder": self.folder, "model": self.model, "beam": self.beam, "device": self.device}
        told |= {"compute-type": self.compute_type, **others}
        options = [part for name, value in told.items() for part in (f"--{name}", str(value))]
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
            write_json(work.folder / TOKENS, tokens_of(work))
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
    free = "Start-up, sentences, tokens, chrF and filter are counted on our side only."
    return [
        measure.Goal(f"{title}: against transformers", against("transformers"), 4.0, unit="x", note=alike),
        measure.Goal(f"{title}: against translate_batch alone", against("ctranslate2"), 0.9, unit="x", note=free),
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
    write_parquet(folder / "en.parquet", _tables(rows), contracts.COLLECTED)
    write_rows(folder / "supplied.parquet", [], contracts.PARALLEL)
    compute_type = "bfloat16" if args.device == "cuda" else "float32"
    return Work(folder, make_model(model), beam, args.device, compute_type)


def _tables(rows: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    import pyarrow as pa

    passing = iter(rows)
    while batch := list(islice(passing, _WRITTEN_AT_ONCE)):
        yield pa.Table.from_pylist(batch, schema=contracts.COLLECTED)


def made_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of texts in the words of the shipped translator: queries of a sentence, passages of one to four."""
    draw = random.Random(3)

    def sentence() -> str:
        parts = [
            draw.choice(_CLAUSES).format(thing=draw.choice(_THINGS), room=draw.choice(_ROOMS), n=draw.randrange(2, 99))
            for _ in range(draw.choice((1, 1, 1, 2, 2, 3)))
        ]
        return draw.choice(_JOINS).join(parts).capitalize() + "."

    return [
        _row(number, sentence(), " ".join(sentence() for _ in range(draw.choice((1, 1, 2, 4)))))
        for number in range(count)
    ]


def numbered_pairs(count: int) -> Iterator[dict[str, Any]]:
    """Short pairs, of which no two share a sentence: each holds its pair's number."""
    draw = random.Random(5)

    def clause(number: int) -> str:
        named = {"thing": f"{draw.choice(_THINGS)} {number}", "room": draw.choice(_ROOMS), "n": number}
        return draw.choice(_CLAUSES).format(**named).capitalize()

    return (_row(number, f"{clause(number)}?", f"{clause(number)}.") for number in range(count))


def real_pairs(path: Path, count: int) -> list[dict[str, Any]]:
    rows = read_parquet(path, contracts.COLLECTED).to_pylist()
    chosen = [row for row in rows if row["kind"] == "english_only" and row["split"] == "train"][:count]
    return [_row(number, row["query"], row["passage"]) for number, row in enumerate(chosen)]


def _row(number: int, query: str, passage: str) -> dict[str, Any]:
    fixed = {"source": "made", "hard_negatives": [], "license": "CC0-1.0", "split": "train", "kind": "english_only"}
    return {"pair_id": f"p{number:07d}", "query": query, "passage": passage, **fixed}


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


# The model in two formats


def make_model(name: str) -> Path:
    """The folder of the translator, made if it is not there: for CTranslate2, and peer.pt for transformers."""
    output = WORK / "models" / name
    if (output / CARD).is_file() and (output / "peer.pt").is_file():
        return output
    import ctranslate2
    import torch

    model = widened(SIZES[name])
    tokens = json.loads((SHIPPED / "shared_vocabulary.json").read_text("utf-8"))
    with torch.no_grad():
        spec = ctranslate2.converters.transformers.M2M100Loader()(model, _Vocabulary(tokens))
    spec.validate()
    spec.optimize(quantization="float32")
    with atomic_path(output) as partial:
        partial.mkdir()
        spec.save(str(partial))
        (partial / SENTENCEPIECE).write_bytes((SHIPPED / SENTENCEPIECE).read_bytes())
        torch.save(model.state_dict(), partial / "peer.pt")
        write_json(partial / "size.json", {"parameters": sum(weight.numel() for weight in model.parameters())})
        write_json(partial / CARD, read_json(SHIPPED / CARD) | {"quantization": "float32"})
    return output


class _Vocabulary:
    """What CTranslate2's converter asks of a tokenizer."""

    special_tokens_map: dict[str, list[str]] = {}  # noqa: RUF012
    bos_token, eos_token, unk_token, unk_token_id = "<s>", "</s>", "<unk>", 3

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self._tokens)}

    def convert_ids_to_tokens(self, i: int) -> str:
        return self._tokens[i]


def empty_model(size: Size) -> Any:
    """transformers' M2M100 of that size, without weights of its own, with the shipped model's positions."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    heads = int(shipped_weights()["encoder/num_heads"]) * size.factor
    width = shipped_weights()["decoder/embeddings/weight"].shape[1] * size.factor
    config = M2M100Config(
        vocab_size=size.vocabulary, d_model=width, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
        encoder_layers=size.encoder_layers, decoder_layers=size.decoder_layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, max_position_embeddings=512, dropout=0.0, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, decoder_start_token_id=2, scale_embedding=True,
    )  # fmt: skip
    model = M2M100ForConditionalGeneration(config).eval()
    for positions in (model.model.encoder.embed_positions, model.model.decoder.embed_positions):
        table = positions.get_embedding(len(positions.weights), width // size.factor, 1)
        positions.weights = torch.cat([table] * size.factor, dim=1)
    return model


def widened(size: Size) -> Any:
    """The shipped model at another size, computing the same.

    Every feature stands `factor` times: a matrix W becomes one of blocks W / factor, which maps (x, x) to (Wx, Wx), and
    a layer norm gives the same for (x, x). Added layers add nothing, their last matrices being zero. Tied embeddings
    are divided by the root of the factor, so that they are added as before; the logits grow by that root, which keeps
    their order. Added tokens are copies of one that is never chosen.
    """
    import torch

    model, weights, factor = empty_model(size), shipped_weights(), size.factor
    state = model.state_dict()

    def put(name: str, value: np.ndarray) -> None:
        tensor = torch.tensor(value)
        tiled = tensor.repeat(*[factor] * tensor.dim()) / (factor if tensor.dim() == 2 else 1)
        state[name].copy_(tiled)

    with torch.no_grad():
        for side, count in (("encoder", size.encoder_layers), ("decoder", size.decoder_layers)):
            for layer in range(count):
                for part, ours in _layer_names(side):
                    theirs, layers = f"{side}/layer_{layer}/{part}", f"model.{side}.layers.{layer}."
                    _put_layer(put, state, weights, theirs, [f"{layers}{name}" for name in ours])
            put(f"model.{side}.layer_norm.weight", weights[f"{side}/layer_norm/gamma"])
            put(f"model.{side}.layer_norm.bias", weights[f"{side}/layer_norm/beta"])
        rows = torch.tensor(weights["decoder/embeddings/weight"])
        tokens = json.loads((SHIPPED / "shared_vocabulary.json").read_text("utf-8"))
        filling = rows[tokens.index(CHARACTER)].repeat(size.vocabulary - len(rows), 1)
        state["model.shared.weight"].copy_(torch.cat([rows, filling]).repeat(1, factor) / factor**0.5)
    model.load_state_dict(state)
    model.tie_weights()
    return model


def _layer_names(side: str) -> list[tuple[str, list[str]]]:
    """CTranslate2's name of a part of a layer, and transformers': several where their rows stand under each other."""
    names = [
        ("self_attention/layer_norm", ["self_attn_layer_norm"]),
        ("self_attention/linear_0", [f"self_attn.{x}_proj" for x in "qkv"]),
        ("self_attention/linear_1", ["self_attn.out_proj"]),
        ("ffn/layer_norm", ["final_layer_norm"]),
        ("ffn/linear_0", ["fc1"]),
        ("ffn/linear_1", ["fc2"]),
    ]
    cross = [
        ("attention/layer_norm", ["encoder_attn_layer_norm"]),
        ("attention/linear_0", ["encoder_attn.q_proj"]),
        ("attention/linear_1", ["encoder_attn.k_proj", "encoder_attn.v_proj"]),
        ("attention/linear_2", ["encoder_attn.out_proj"]),
    ]
    return names + (cross if side == "decoder" else [])


def _put_layer(put: Any, state: Any, weights: dict[str, Any], theirs: str, ours: list[str]) -> None:
    import numpy as np

    if theirs.endswith("layer_norm"):
        if f"{theirs}/gamma" in weights:
            put(f"{ours[0]}.weight", weights[f"{theirs}/gamma"])
            put(f"{ours[0]}.bias", weights[f"{theirs}/beta"])
        return
    for kind in ("weight", "bias"):
        if f"{theirs}/{kind}" in weights:
            for name, part in zip(ours, np.split(weights[f"{theirs}/{kind}"], len(ours)), strict=True):
                put(f"{name}.{kind}", part)
        elif ours[0].endswith(("out_proj", "fc2")):  # an added layer: what it computes comes to nothing
            state[f"{ours[0]}.{kind}"].zero_()


def shipped_weights() -> dict[str, Any]:
    """Name -> array of the shipped model, int8 weights as the float32 that they stand for.

    The file: a version, the model's kind, and for each array a name, its shape, a type, bytes
    (`ctranslate2.specs.model_spec.ModelSpec._serialize`).
    """
    import numpy as np

    kinds = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32}
    found: dict[str, Any] = {}
    with (SHIPPED / "model.bin").open("rb") as file:

        def read(form: str) -> tuple[Any, ...]:
            return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))

        def text() -> str:
            return file.read(read("H")[0])[:-1].decode()

        read("I"), text(), read("I")
        for _ in range(read("I")[0]):
            name, rank = text(), read("B")[0]
            shape, kind, length = read(f"{rank}I"), read("B")[0], read("I")[0]
            found[name] = np.frombuffer(file.read(length), dtype=kinds[kind]).reshape(shape)
    for name in [name for name in found if name.endswith("_scale")]:
        weight = name.removesuffix("_scale")
        if weight in found:
            found[weight] = found[weight].astype(np.float32) / found.pop(name)[:, None]
    return found


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
    args = parser.parse_args(argv)
    case = {"polybatch": case_polybatch, "ctranslate2": case_ctranslate2, "transformers": case_transformers}[args.case]
    seconds, share = case(args)
    pairs = open_parquet(args.folder / "en.parquet").metadata.num_rows
    print(json.dumps({"units": pairs * share, "seconds": seconds, "share": share}))


def case_polybatch(args: argparse.Namespace) -> tuple[float, float]:
    """The stage's two commands as the workflow runs them; the filter's thresholds let everything pass."""
    start = time.perf_counter()
    output = args.folder / args.output
    decoding = {
        "beam_size": args.beam, "compute_type": args.compute_type, "device": args.device, "max_length": MAX_LENGTH
    }  # fmt: skip
    common = ["--collected", str(args.folder / "en.parquet"), "--lang", LANG]
    common += ["--forward", str(args.model), "--backward", str(args.model)]
    translate = ["--decoding", json.dumps(decoding), "--threads", str(os.cpu_count()), "--min-distinct", "0"]
    shard = str(output / "shard.parquet")
    accept = ["--shards", shard, "--supplied", str(args.folder / "supplied.parquet")]
    options = {"min_query_chrf": 0.0, "min_passage_chrf": 0.0}
    for module, more in (
        ("translate", [*translate, "--output", shard]),
        ("accept", [*accept, "--options", json.dumps(options), "--output", str(output / f"{LANG}.parquet")]),
    ):
        command = [sys.executable, "-m", f"polybatch.{module}", *common, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
    return time.perf_counter() - start, 1.0


def case_ctranslate2(args: argparse.Namespace) -> tuple[float, float]:
    """The limit: nothing but `translate_batch` over sorted tokens, a batch a thread. Loading is not in its time."""
    import ctranslate2

    tokens = json.loads((args.folder / TOKENS).read_text("utf-8"))
    translator = ctranslate2.Translator(
        str(args.model), device=args.device, compute_type=args.compute_type,
        inter_threads=1 if args.device == "cuda" else os.cpu_count() or 1, intra_threads=1,
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
    translated = chain(*sampled(tokens, work.model.name))
    asked = [(direction, tuple(sentence)) for direction, sentence in translated]
    agreement = sum(found_of[a] == b for a, b in zip(asked, peer, strict=True)) / len(peer)
    options = DecodingOptions(work.beam, compute_type=work.compute_type, device=work.device)
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
    if same < 1.0 or agreement < AGREEMENT or not compared:
        raise DataError("The sides of the benchmark did not do the same work.", where=work.folder, found=str(facts))


if __name__ == "__main__":
    main()
