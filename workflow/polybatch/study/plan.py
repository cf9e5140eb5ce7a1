"""What a study will cost before it starts: jobs, sentences, steps, passages, hours and disk.

inputs: the resolved config, the output of a dry run, whatever earlier runs measured below results/<collection>/, and
    the stated defaults of polybatch/study/rates.yaml for the rest
outputs: a plan in Markdown, printed and written

A number taken from a file that exists is called measured, one from a data set's or benchmark's description is called
stated, one from rates.yaml is called assumed. Hours are those of one device of the kind that was measured; where
nothing was, of one GPU as rates.yaml describes it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from polybatch.config.grid import NONE, Run, embedded, models, runs
from polybatch.config.paths import Paths
from polybatch.config.values import Config, benchmark_languages, hub_model, training_options
from polybatch.core import stage
from polybatch.core.errors import DataError
from polybatch.core.files import atomic_path, open_parquet, read_json, read_parquet
from polybatch.training.objectives.known import texts_of_a_row
from polybatch.training.options import TrainingOptions

_COUNT = re.compile(r"^\s*([a-z_]+)\s+(\d+)\s*$", re.MULTILINE)


class Amount(NamedTuple):
    """A number and where it comes from: "measured", "stated", "assumed" or "unknown"."""

    value: float
    origin: str


@dataclass(frozen=True)
class Line:
    """One line of the plan.

    Attributes:
        stage, work, rate: In words, as the plan prints them.
        hours: Of one device; None if the stage takes next to none, or nothing is known.
        disk: In bytes; None likewise.
    """

    stage: str
    work: str
    rate: str
    hours: float | None
    disk: float | None


def stated_rates() -> dict[str, float]:
    """The rates that are assumed where nothing was measured."""
    import yaml

    text = resources.files("polybatch.study").joinpath("rates.yaml").read_text("utf-8")
    rates: dict[str, float] = yaml.safe_load(text)
    return rates


def parse_jobs(text: str) -> dict[str, int]:
    """rule -> jobs, from what `snakemake --dry-run --quiet rules` prints."""
    return {name: int(count) for name, count in _COUNT.findall(text) if name != "total"}


def training_pairs(config: Config, base: Path) -> tuple[Amount, Amount]:
    """All English training pairs, and those of them that are machine-translated into each language."""
    collected = Path(Paths.below(base).collected())
    if collected.exists():
        import pyarrow as pa
        import pyarrow.compute as pc

        table = read_parquet(collected, pa.schema([("split", pa.string()), ("kind", pa.string())]))
        train = table.filter(pc.equal(table["split"], "train"))
        translated = pc.sum(pc.equal(train["kind"], "english_only")).as_py() or 0
        return Amount(train.num_rows, "measured"), Amount(translated, "measured")
    from polybatch.collect.adapters.registry import expected_pairs

    total = translated = 0.0
    for source in config["source"]:
        pairs = expected_pairs(source)
        if pairs is None:
            return Amount(0, "unknown"), Amount(0, "unknown")
        pairs = min(pairs, source.get("max_pairs", pairs))
        total += pairs
        if source.get("translate", True) and source["adapter"] != "mmarco":
            translated += pairs
    limit = config["mixture"].get("max_pairs") or total
    share = min(1.0, limit / total) if total else 1.0
    return Amount(total * share, "stated"), Amount(translated * share, "stated")


def benchmark_size(config: Config, base: Path, name: str) -> Amount:
    """Queries and passages that one run embeds for a benchmark."""
    paths = Paths.below(base)
    if Path(paths.qrels(name)).exists():
        sides = zip(("queries", "corpus"), benchmark_languages(config, name), strict=True)
        texts = [Path(paths.benchmark_text(name, side, lang)) for side, languages in sides for lang in languages]
        return Amount(sum(open_parquet(path).metadata.num_rows for path in texts if path.exists()), "measured")
    entry = config["benchmarks"][name]
    if "queries_of" in entry:
        original = _stated_size(config["benchmarks"][entry["queries_of"]])
        if original is None:
            return Amount(0, "unknown")
        queries = original["queries"] * (1 + len(entry["translate"]))
        return Amount(queries + original["passages"], "stated")
    size = _stated_size(entry)
    return Amount(size["queries"] + size["passages"], "stated") if size else Amount(0, "unknown")


def _stated_size(entry: Mapping[str, Any]) -> dict[str, float] | None:
    """Queries and passages as the benchmark's own description gives them."""
    expected = entry.get("expected")
    if isinstance(expected, str):
        from polybatch.benchmarks.squad import PUBLISHED

        expected = PUBLISHED[expected]
    if expected:
        return {
            "queries": sum(expected["queries"].values()),
            "passages": sum(expected["candidates"].values()),
        }
    if entry.get("adapter") == "mteb":
        from polybatch.benchmarks.mteb import expected_size

        return expected_size(entry["task"], entry.get("languages"))
    return None


def lines(config: Config, base: Path, rates: Mapping[str, float]) -> Iterator[Line]:
    """The plan's lines, in the order of the stages."""
    grid = models(config)
    if config["languages"]["train"]:
        pairs, translated = training_pairs(config, base)
        yield from _translation_lines(config, base, translated, rates)
        yield from _training_lines(config, base, grid, pairs, rates)
        yield from _posthoc_lines(config, base, grid, rates)
    yield from _encoding_lines(config, base, embedded(config), rates)


def _translation_lines(config: Config, base: Path, pairs: Amount, rates: Mapping[str, float]) -> Iterator[Line]:
    languages = config["translation"]["languages"]
    if not languages:
        yield Line("translate", "nothing: no language is machine-translated", "", None, None)
        return
    measured = _translation_rate(base)
    per_pair = 1 + rates["sentences_per_passage"]
    sentences = pairs.value * per_pair * len(languages) * 2
    rate = measured or Amount(rates["translated_sentences_per_second"], "assumed")
    text = pairs.value * 2 * rates["bytes_per_text"] * (1 + 3 * len(languages))
    yield Line(
        "translate",
        f"{_number(pairs)} pairs into {len(languages)} languages and back: {sentences:,.0f} sentences "
        f"({per_pair:g} a pair, assumed)",
        f"{rate.value:,.0f} sentences/s, {rate.origin}",
        sentences / rate.value / 3600,
        text,
    )


def _training_lines(
    config: Config, base: Path, grid: Sequence[Run], pairs: Amount, rates: Mapping[str, float]
) -> Iterator[Line]:
    for encoder in config["study"]["encoders"]:
        trained = [run for run in grid if _is_training(run) and run.encoder == encoder]
        if not trained:
            continue
        options = TrainingOptions.from_values(training_options(config, encoder))
        steps, batch = _steps(options, pairs), options.batch_size
        parameters, computing = _parameters(config, base, encoder, rates)
        rate = _training_rate(base, trained)
        if rate is None:
            # Kaplan et al. (2020, arXiv 2001.08361, section 2.1): two operations a weight and token forward, four back.
            costs = [texts_of_a_row(run.objective, options.hard_negatives) for run in trained]
            texts = sum(costs) / max(len(costs), 1)
            flops = 6 * texts * rates["tokens_per_text"] * computing
            flops *= 4 / 3 if options.gradient_checkpointing else 1
            rate = Amount(rates["effective_tflops"] * 1e12 / flops, "assumed")
        yield Line(
            f"train {encoder}",
            f"{len(trained)} trainings of at most {steps:,.0f} steps of {batch} pairs",
            f"{rate.value:,.0f} pairs/s, {rate.origin}",
            len(trained) * steps * batch / rate.value / 3600,
            # A model, and while it trains two checkpoints with the optimiser's two moments.
            len(trained) * 4 * parameters.value + 2 * 12 * parameters.value,
        )


def _is_training(run: Run) -> bool:
    return run.trained and run.before is None


def _posthoc_lines(config: Config, base: Path, grid: Sequence[Run], rates: Mapping[str, float]) -> Iterator[Line]:
    """Mixtures and projections: models that take disk, and next to no time."""
    for encoder in config["study"]["encoders"]:
        mine = [run for run in grid if run.before is not None and run.encoder == encoder]
        projected = sum(run.projection != NONE for run in mine)
        counts = {"mixtures of weights": len(mine) - projected, "projections": projected}
        words = " and ".join(f"{number} {name}" for name, number in counts.items() if number)
        parameters, _ = _parameters(config, base, encoder, rates)
        if mine:
            yield Line(
                f"mix, project {encoder}", f"{words}, without a training", "", None, len(mine) * 4 * parameters.value
            )


def _steps(options: TrainingOptions, pairs: Amount) -> float:
    if options.epochs:
        return options.epochs * pairs.value / options.batch_size
    return options.max_steps


def _encoding_lines(config: Config, base: Path, grid: Sequence[Run], rates: Mapping[str, float]) -> Iterator[Line]:
    for encoder in config["study"]["encoders"]:
        mine = [run for run in grid if run.encoder == encoder and run.projection == NONE]
        projected = sum(run.encoder == encoder for run in grid) - len(mine)
        sizes = {name: benchmark_size(config, base, name) for name in config["study"]["benchmarks"]}
        passages = sum(size.value for size in sizes.values())
        parameters, computing = _parameters(config, base, encoder, rates)
        rate = _encoding_rate(base, mine)
        if rate is None:
            flops = 2 * rates["tokens_per_text"] * computing
            rate = Amount(rates["effective_tflops"] * 1e12 / flops, "assumed")
        unknown = [name for name, size in sizes.items() if size.origin == "unknown"]
        note = f" (without {', '.join(unknown)}, whose size is not known yet)" if unknown else ""
        width = 1024 if parameters.value > 4e8 else 768
        yield Line(
            f"encode {encoder}",
            f"{len(mine)} runs x {passages:,.0f} queries and passages{note}{_projected_note(projected)}",
            f"{rate.value:,.0f} texts/s, {rate.origin}",
            len(mine) * passages / rate.value / 3600,
            (len(mine) + projected) * passages * width * 4 * 2,  # embeddings and a Flat index, float32
        )


def _projected_note(number: int) -> str:
    return f"; the vectors of {number} more are projections of theirs" if number else ""


def _parameters(config: Config, base: Path, encoder: str, rates: Mapping[str, float]) -> tuple[Amount, float]:
    """An encoder's weights, and how many of them take part in the arithmetic (all but the word embeddings)."""
    from polybatch.encoders.known import known

    stated = known(hub_model(config, encoder) or "")
    embedded = stated.embedding_parameters if stated else rates["encoder_embedding_parameters"]
    card = Path(Paths.below(base).encoder(encoder), "encoder.json")
    if card.exists() and (parameters := read_json(card).get("parameters")):
        return Amount(parameters, "measured"), max(parameters - embedded, parameters / 4)
    if stated is not None:
        return Amount(stated.parameters, "stated"), stated.parameters - embedded
    return Amount(rates["encoder_parameters"], "assumed"), rates["encoder_parameters"] - embedded


def _translation_rate(base: Path) -> Amount | None:
    found = [read_json(path) for path in sorted(Path(Paths.below(base).translations()).glob("*/*.stats.json"))]
    seconds = sum(one["seconds"] for one in found)
    return _measured(sum(one["sentences"] for one in found), seconds, {one["device"] for one in found})


def _training_rate(base: Path, grid: Sequence[Run]) -> Amount | None:
    found = [Path(Paths.below(base).model(run.name), "training.json") for run in grid]
    records = [read_json(path) for path in found if path.exists()]
    records = [record for record in records if record.get("seconds")]
    pairs = sum(record["steps"] * record["options"]["batch_size"] for record in records)
    return _measured(
        pairs, sum(record["seconds"] for record in records), {record.get("device", "") for record in records}
    )


def _encoding_rate(base: Path, grid: Sequence[Run]) -> Amount | None:
    """Texts a second over whole jobs, the loading of the model included."""
    paths, texts, seconds = Paths.below(base), 0.0, 0.0
    for run in grid:
        timings = list(Path(paths.timings(), "encode", run.name).glob("*.tsv"))
        records = [read_json(path) for path in Path(paths.embeddings_of(run.name)).glob("*/embeddings.json")]
        if timings and records:
            texts += sum(one["rows"] for r in records for side in ("queries", "corpus") for one in r[side].values())
            seconds += sum(_seconds(path) for path in timings)
    return _measured(texts, seconds, set())


def _seconds(path: Path) -> float:
    names, values = (line.split("\t") for line in path.read_text("utf-8").splitlines()[:2])
    return float(dict(zip(names, values, strict=True))["s"])


def _measured(work: float, seconds: float, devices: set[str]) -> Amount | None:
    if work <= 0 or seconds <= 0:
        return None
    where = ", ".join(sorted(filter(None, devices)))
    return Amount(work / seconds, f"measured on {where}" if where else "measured here")


def _number(amount: Amount) -> str:
    return "an unknown number of" if amount.origin == "unknown" else f"{amount.value:,.0f} ({amount.origin})"


def render(config: Config, jobs: Mapping[str, int], plan: Sequence[Line]) -> str:
    """The plan in Markdown."""
    grid, trainings = runs(config), sum(map(_is_training, models(config)))
    hours = sum(line.hours for line in plan if line.hours is not None)
    disk = sum(line.disk for line in plan if line.disk is not None)
    study = config["study"]
    stopping = " Early stopping makes trainings shorter." if any(run.trained for run in grid) else ""
    data = ", ".join(source["name"] for source in config["source"]) or "none is trained on"
    parts = [
        f"# Plan of the study {study['name']}",
        "",
        f"{len(grid)} runs ({trainings} trainings) on {len(study['benchmarks'])} benchmark(s): "
        f"{', '.join(study['benchmarks'])}. Data: {data}.",
        "",
        *_markdown(
            ["stage", "work", "rate", "hours", "disk"],
            [
                [
                    line.stage,
                    line.work,
                    line.rate,
                    "" if line.hours is None else f"{line.hours:,.2f}",
                    "" if line.disk is None else _bytes(line.disk),
                ]
                for line in plan
            ],
        ),
        "",
        f"Together about {hours:,.1f} hours of one device and {_bytes(disk)}, without downloads.{stopping} Measured: "
        "from this machine's earlier runs. Stated: from the description of a data set, model or benchmark. Assumed: "
        "from polybatch/study/rates.yaml, which describes one GPU.",
        "",
        f"{sum(jobs.values())} jobs are left to do:" if jobs else "No job is left to do.",
        "",
        *(_markdown(["rule", "jobs"], [[name, str(count)] for name, count in jobs.items()]) if jobs else []),
    ]
    return "\n".join(parts) + "\n"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    padded = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in (header, ["-" * width for width in widths], *rows)
    ]
    return [f"| {' | '.join(row)} |" for row in padded]


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def main(argv: list[str] | None = None) -> None:
    import yaml

    parser = argparse.ArgumentParser(prog="polybatch.study.plan", description=__doc__.split("\n")[0])
    parser.add_argument("--config", required=True, type=json.loads, help="the resolved config, as JSON")
    parser.add_argument("--base", required=True, type=Path, help="results/<collection>")
    parser.add_argument("--jobs", required=True, type=Path, help="what `snakemake --dry-run --quiet rules` printed")
    parser.add_argument("--rates", type=Path, help="as rates.yaml beside this module, which is the default")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args(argv)
    text = args.jobs.read_text("utf-8")
    if "Error" in text:
        raise DataError("The dry run failed.", where=args.jobs, found=text[-2000:])
    rates = yaml.safe_load(args.rates.read_text("utf-8")) if args.rates else stated_rates()
    plan = render(args.config, parse_jobs(text), list(lines(args.config, args.base, rates)))
    with atomic_path(args.output) as partial:
        partial.write_text(plan, "utf-8")
    sys.stdout.write(plan)
    stage.log.info("written to %s", args.output)


if __name__ == "__main__":
    stage.run(main)
