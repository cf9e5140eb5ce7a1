"""What each stage of a study costs: its work, the rate that it is done at, hours and disk.

inputs: the resolved config, `Amounts`, rates that earlier runs measured, and those of rates.yaml for the rest
outputs: `Line`s, one a stage (and encoder), in the order of the stages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polybatch.config.grid import NONE, Run, embedded, models, runs
from polybatch.config.paths import Paths
from polybatch.config.values import (
    Config,
    encoding_options,
    hub_model,
    training_options,
    translator_entry,
    used_directions,
)
from polybatch.core.files import read_json
from polybatch.embedding.options import EncodeOptions
from polybatch.study.amounts import Amount, Amounts
from polybatch.study.device_times import Shape, step_seconds, text_seconds
from polybatch.study.earlier import encoding_rate, training_rate, translation_rate
from polybatch.training.objectives.known import texts_of_a_row
from polybatch.training.options import TrainingOptions
from polybatch.translation.options import TranslatorOptions

# Where a text's bytes are on disk, the bytes of a sentence: a passage of fewer is one sentence.
_BYTES_OF_A_SENTENCE = 120


@dataclass(frozen=True)
class Line:
    """One line of the plan.

    Attributes:
        stage, work, rate: In words, as the plan prints them.
        hours: Of one device, or of one core; None if the stage takes next to none, or nothing is known.
        disk: In bytes; None likewise.
        device: Whether it computes on a device (a card), or on a core beside them.
        rate_name: Which rate of rates.yaml it is reckoned with, where that is not said in `rate`.
    """

    stage: str
    work: str
    rate: str
    hours: float | None
    disk: float | None
    device: bool = True
    rate_name: str = ""


@dataclass(frozen=True)
class Known:
    """All that the lines are reckoned from but the rates that are assumed.

    Attributes:
        config: Resolved.
        base: results/<collection>.
        amounts: How much there is to do.
        translation: Sentences a second that were measured; None where nothing was.
        training, encoding: Encoder -> pairs, or texts, a second, likewise.
    """

    config: Config
    base: Path
    amounts: Amounts
    translation: Amount | None
    training: Mapping[str, Amount | None]
    encoding: Mapping[str, Amount | None]

    @classmethod
    def of(cls, config: Config, base: Path, amounts: Amounts) -> Known:
        """With the rates that earlier runs measured."""
        encoders = config["study"]["encoders"]
        return cls(
            config,
            base,
            amounts,
            translation_rate(base),
            {encoder: training_rate(base, trainings(config, encoder)) for encoder in encoders},
            {encoder: encoding_rate(base, encodings(config, encoder)) for encoder in encoders},
        )

    def unmeasured(self) -> Known:
        """Without them: what rates.yaml alone predicts."""
        return replace(self, translation=None, training={}, encoding={})


def trainings(config: Config, encoder: str) -> list[Run]:
    """The runs of an encoder that a training is made for."""
    return [run for run in models(config) if is_training(run) and run.encoder == encoder]


def encodings(config: Config, encoder: str) -> list[Run]:
    """The runs of an encoder whose texts are embedded: those of projections are made of theirs."""
    return [run for run in embedded(config) if run.encoder == encoder and run.projection == NONE]


def is_training(run: Run) -> bool:
    """Whether a run is a training, and not made of one."""
    return run.trained and run.before is None


def lines(known: Known, rates: Mapping[str, float]) -> Iterator[Line]:
    """The plan's lines, in the order of the stages."""
    yield from _benchmark_lines(known, rates)
    if known.config["languages"]["train"]:
        yield from _collecting_lines(known, rates)
        yield from _translator_lines(known, rates)
        yield from _translation_lines(known, rates)
        for encoder in known.config["study"]["encoders"]:
            yield from _training_lines(known, encoder, rates)
        for encoder in known.config["study"]["encoders"]:
            yield from _posthoc_lines(known, encoder, rates)
    for encoder in known.config["study"]["encoders"]:
        yield from _encoding_lines(known, encoder, rates)
    yield from _scoring_lines(known, rates)


def _benchmark_lines(known: Known, rates: Mapping[str, float]) -> Iterator[Line]:
    texts = known.amounts.texts
    yield _on_a_core(rates, "benchmarks", f"{texts:,.0f} queries and passages", texts, "benchmark_texts")


def _collecting_lines(known: Known, rates: Mapping[str, float]) -> Iterator[Line]:
    """What is done on cores before the trainings, translation apart."""
    amounts, config = known.amounts, known.config
    read, machine = sum(amounts.sources.values()), len(config["translation"]["languages"])
    others = [lang for lang in config["languages"]["train"] if lang != "en"]
    yield _on_a_core(rates, "collect", f"{read:,.0f} pairs read and cleaned", read, "collected_pairs")
    yield _on_a_core(rates, "join", f"{read:,.0f} pairs of all sources", read, "joined_pairs")
    supplied = amounts.supplied * len(others)
    words = f"at most {amounts.supplied:,.0f} pairs in each of {len(others)} languages"
    yield _on_a_core(rates, "supplied", words, supplied, "supplied_pairs")
    if config["decontamination"]["enabled"]:
        words = f"{amounts.texts:,.0f} texts that are evaluated on"
        yield _on_a_core(rates, "evaluation text", words, amounts.texts, "indexed_evaluation_texts")
        looked_up = amounts.pairs.value + supplied
        words = f"{looked_up:,.0f} pairs over all languages, looked up"
        yield _on_a_core(rates, "decontaminate", words, looked_up, "decontaminated_texts")
    judged = amounts.translated.value * machine
    if machine:
        words = f"{judged:,.0f} translated pairs, judged"
        yield _on_a_core(rates, "accept", words, judged, "judged_pairs")
    written = amounts.pairs.value + supplied + judged * rates["accepted_share"]
    words = f"{written:,.0f} pairs over all languages"
    yield _on_a_core(rates, "parallel", words, written, "parallel_pairs")
    yield _on_a_core(rates, "prepare texts", f"{words}, once", written, "prepared_pairs")


def _on_a_core(rates: Mapping[str, float], stage: str, work: str, amount: float, rate: str) -> Line:
    """The line of a stage on one core; the rate's name ends in what its amount counts."""
    unit = rate.rpartition("_")[2].replace("megabytes", "MB")
    name = f"{rate}_per_second"
    hours = amount / rates[name] / 3600
    return Line(stage, work, f"{rates[name]:,.0f} {unit}/s", hours, None, device=False, rate_name=name)


def sentences_of_a_pair(amounts: Amounts, rates: Mapping[str, float]) -> tuple[float, str]:
    """How many sentences a pair is translated in, and where that number is from."""
    if amounts.sides is None:
        return 1 + rates["sentences_per_passage"], "assumed"
    return sum(max(1.0, size / _BYTES_OF_A_SENTENCE) for size in amounts.sides), "from the text's length"


def tokens_of_a_text(bytes_of_a_text: float | None, rates: Mapping[str, float]) -> float:
    """Tokens of a text: from its bytes where they are known."""
    return rates["tokens_per_text"] if bytes_of_a_text is None else bytes_of_a_text / rates["bytes_per_token"]


def trained_translators(config: Config, rates: Mapping[str, float]) -> dict[str, float]:
    """Translator that the study translates with and trains itself -> operations of its training, as long as fp32's.

    Six a weight and token, as of any transformer; its word embeddings count once, where they give the next piece.
    """
    entries = [translator_entry(config, direction) or {} for direction in used_directions(config)]
    found = {}
    for name in dict.fromkeys(entry["trained"] for entry in entries if "trained" in entry):
        options = TranslatorOptions.from_values(config["translator_training"][name]["options"])
        attention, feed_forward = 4 * options.d_model**2, 2 * options.d_model * options.ffn
        weights = options.encoder_layers * (attention + feed_forward) + options.d_model * options.vocab_size
        weights += options.decoder_layers * (2 * attention + feed_forward)
        faster = rates["translator_bfloat16_speedup"] if options.precision == "bf16" else 1.0
        found[name] = 6.0 * weights * options.batch_tokens * options.max_steps / faster
    return found


def _translator_lines(known: Known, rates: Mapping[str, float]) -> Iterator[Line]:
    operations = trained_translators(known.config, rates)
    if not operations:
        return
    rate = rates["translator_training_gigaflops"]
    options = [known.config["translator_training"][name]["options"] for name in operations]
    steps = sum(TranslatorOptions.from_values(own).max_steps for own in options)
    yield Line(
        "train translators",
        f"{len(operations)}, of {steps:,.0f} steps together",
        f"{rate:,.0f} GFLOP/s",
        sum(operations.values()) / (rate * 1e9) / 3600,
        None,
        device=False,
        rate_name="translator_training_gigaflops",
    )


def _translation_lines(known: Known, rates: Mapping[str, float]) -> Iterator[Line]:
    languages, pairs = known.config["translation"]["languages"], known.amounts.translated
    if not languages:
        yield Line("translate", "nothing: no language is machine-translated", "", None, None)
        return
    of_a_pair, origin = sentences_of_a_pair(known.amounts, rates)
    sentences = pairs.value * of_a_pair * len(languages) * 2
    rate = known.translation or Amount(rates["translated_sentences_per_second"], "assumed")
    text = pairs.value * 2 * rates["bytes_per_text"] * (1 + 3 * len(languages))
    yield Line(
        "translate",
        f"{_number(pairs)} pairs into {len(languages)} languages and back: {sentences:,.0f} sentences "
        f"({of_a_pair:.2g} a pair, {origin})",
        f"{rate.value:,.0f} sentences/s, {rate.origin}",
        sentences / rate.value / 3600,
        text,
    )


def texts_of(run: Run, options: TrainingOptions) -> float:
    """What a pair of a training costs, in texts that are computed forward and back."""
    return texts_of_a_row(run.objective, options.hard_negatives)


def _training_lines(known: Known, encoder: str, rates: Mapping[str, float]) -> Iterator[Line]:
    trained = trainings(known.config, encoder)
    if not trained:
        return
    options = TrainingOptions.from_values(training_options(known.config, encoder))
    steps, batch = _steps(options, known.amounts.pairs), options.batch_size
    parameters, _ = parameters_of(known, encoder, rates)
    rate = known.training.get(encoder)
    if rate is None:
        seconds = sum(training_seconds(known, run, rates) for run in trained)
        rate = Amount(len(trained) * steps * batch / seconds, "assumed")
    yield Line(
        f"train {encoder}",
        f"{len(trained)} trainings of at most {steps:,.0f} steps of {batch} pairs",
        f"{rate.value:,.3g} pairs/s, {rate.origin}" if rate.value < 10 else f"{rate.value:,.0f} pairs/s, {rate.origin}",
        len(trained) * steps * batch / rate.value / 3600,
        # A model, and while it trains two checkpoints with the optimiser's two moments.
        len(trained) * 4 * parameters.value + 2 * 12 * parameters.value,
    )


def training_seconds(known: Known, run: Run, rates: Mapping[str, float], cards: int = 1) -> float:
    """What rates.yaml predicts of a training on so many cards, without what they wait for one another."""
    options = TrainingOptions.from_values(training_options(known.config, run.encoder))
    sides = known.amounts.sides
    tokens = tokens_of_a_text(None if sides is None else sum(sides) / 2, rates)
    shape = shape_of(known, run.encoder, rates)
    each = step_seconds(shape, options, texts_of(run, options), tokens, rates, cards=cards)
    return _steps(options, known.amounts.pairs) * each


def steps_of(known: Known, encoder: str) -> float:
    """The most steps that a training of this encoder takes."""
    return _steps(TrainingOptions.from_values(training_options(known.config, encoder)), known.amounts.pairs)


def _steps(options: TrainingOptions, pairs: Amount) -> float:
    if options.epochs:
        return options.epochs * pairs.value / options.batch_size
    return options.max_steps


def _posthoc_lines(known: Known, encoder: str, rates: Mapping[str, float]) -> Iterator[Line]:
    """Mixtures and projections: models that take disk, and next to no time."""
    mine = [run for run in models(known.config) if run.before is not None and run.encoder == encoder]
    projected = sum(run.projection != NONE for run in mine)
    counts = {"mixtures of weights": len(mine) - projected, "projections": projected}
    words = " and ".join(f"{number} {name}" for name, number in counts.items() if number)
    parameters, _ = parameters_of(known, encoder, rates)
    if mine:
        disk = len(mine) * 4 * parameters.value
        yield Line(f"mix, project {encoder}", f"{words}, without a training", "", None, disk)


def _encoding_lines(known: Known, encoder: str, rates: Mapping[str, float]) -> Iterator[Line]:
    mine = encodings(known.config, encoder)
    projected = sum(run.encoder == encoder for run in embedded(known.config)) - len(mine)
    sizes = known.amounts.benchmarks
    passages = known.amounts.texts
    parameters, _ = parameters_of(known, encoder, rates)
    rate = known.encoding.get(encoder)
    if rate is None:
        tokens = [(size.texts.value, tokens_of_a_text(size.text_bytes, rates)) for size in sizes.values()]
        of_a_text = sum(texts * each for texts, each in tokens) / passages if passages else rates["tokens_per_text"]
        options = EncodeOptions.from_values(encoding_options(known.config, encoder))
        rate = Amount(1 / text_seconds(shape_of(known, encoder, rates), options, of_a_text, rates), "assumed")
    unknown = [name for name, size in sizes.items() if size.texts.origin == "unknown"]
    note = f" (without {', '.join(unknown)}, whose size is not known yet)" if unknown else ""
    also = f"; the vectors of {projected} more are projections of theirs" if projected else ""
    yield Line(
        f"encode {encoder}",
        f"{len(mine)} runs x {passages:,.0f} queries and passages{note}{also}",
        f"{rate.value:,.0f} texts/s, {rate.origin}",
        len(mine) * passages / rate.value / 3600,
        (len(mine) + projected) * passages * _width(parameters) * 4 * 2,  # embeddings and a Flat index, float32
    )


def _width(parameters: Amount) -> int:
    return 1024 if parameters.value > 4e8 else 768


def _scoring_lines(known: Known, rates: Mapping[str, float]) -> Iterator[Line]:
    """Indexes and scores: a job a run each, on a core."""
    scored = runs(known.config)
    widths = [_width(parameters_of(known, run.encoder, rates)[0]) for run in scored]
    sizes = known.amounts.benchmarks.values()
    megabytes = sum(widths) * 4 * sum(size.passages for size in sizes) / 1e6
    words = f"{len(scored)} runs, {megabytes:,.0f} MB of vectors"
    yield _on_a_core(rates, "index", words, megabytes, "indexed_megabytes")
    products, ranked = sum(size.products for size in sizes), sum(size.products for size in sizes if size.deep)
    seconds = sum(2 * width * products / (rates["searched_gigaflops"] * 1e9) for width in widths)
    seconds += len(scored) * ranked / rates["ranked_pairs_per_second"]
    yield Line(
        "score",
        f"{len(scored)} runs x {products:,.0f} products of a query and a passage, {ranked:,.0f} ranked to the end",
        f"{rates['searched_gigaflops']:,.0f} GFLOP/s",
        seconds / 3600,
        None,
        device=False,
        rate_name="searched_gigaflops",
    )


def parameters_of(known: Known, encoder: str, rates: Mapping[str, float]) -> tuple[Amount, float]:
    """An encoder's weights, and how many of them take part in the arithmetic (all but the word embeddings)."""
    from polybatch.encoders.known import known as known_encoder

    stated = known_encoder(hub_model(known.config, encoder) or "")
    looked_up = stated.embedding_parameters if stated else rates["encoder_embedding_parameters"]
    card = Path(Paths.below(known.base).encoder(encoder), "encoder.json")
    if card.exists() and (parameters := read_json(card).get("parameters")):
        return Amount(parameters, "measured"), max(parameters - looked_up, parameters / 4)
    if stated is not None:
        return Amount(stated.parameters, "stated"), stated.parameters - looked_up
    return Amount(rates["encoder_parameters"], "assumed"), rates["encoder_parameters"] - looked_up


def shape_of(known: Known, encoder: str, rates: Mapping[str, float]) -> Shape:
    """How deep an encoder is, and how many of its weights take part in the arithmetic."""
    from polybatch.encoders.known import known as known_encoder

    stated = known_encoder(hub_model(known.config, encoder) or "")
    return Shape(stated.layers if stated else rates["encoder_layers"], parameters_of(known, encoder, rates)[1])


def total_hours(of: Sequence[Line], *, device: bool) -> float:
    """Hours of one device, or of one core, together."""
    return sum(line.hours for line in of if line.hours is not None and line.device == device)


def _number(amount: Amount) -> str:
    return "an unknown number of" if amount.origin == "unknown" else f"{amount.value:,.0f} ({amount.origin})"
