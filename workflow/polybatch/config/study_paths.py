"""Which files a study reads: its sources, translators, benchmarks and models, as its config names them.

inputs: the resolved config
outputs: paths as text, relative to the project's folder; nothing is looked up on disk

The rules take what depends on the config from here. A Snakefile imports this at every start: nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybatch.config.grid import NONE, Run, models, sides_of
from polybatch.config.paths import Paths, record_name, wheel
from polybatch.config.values import (
    Config,
    benchmark_languages,
    held_out_languages,
    teacher_of,
    translator_entry,
    translator_name,
)
from polybatch.core.languages import help_languages

_SIDES = ("queries", "corpus")


@dataclass(frozen=True)
class StudyPaths(Paths):
    """The layout, and which of its files a study reads.

    Attributes:
        config: The resolved config.
    """

    config: Config = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, config: Config, base: Path | str | None = None) -> StudyPaths:
        """The paths of a resolved config; `base` stands for `results/<collection>` if it is given."""
        study = config["study"]["name"]
        if base is None:
            return cls(config["collection"], study, config=config)
        return cls(Path(base).name, study, str(Path(base).parent), config)

    def sources(self) -> dict[str, dict[str, Any]]:
        """Name -> {name, adapter, ...} of the sources of the training text."""
        return {source["name"]: source for source in self.config["source"]}

    def validation_source(self) -> str | None:
        """The source of the validation pairs, if they are not held-out pairs of the training text."""
        name: str | None = (self.config.get("validation") or {}).get("source")
        return name

    def sources_read(self) -> dict[str, dict[str, Any]]:
        """The sources of the training text, and that of the validation pairs if it is another."""
        name = self.validation_source()
        return {**self.sources(), **({name: {"name": name, **self.config["sources"][name]}} if name else {})}

    def source_file(self, name: str) -> str:
        """The file of a source: the user's own, a wheel, or the record of what was fetched."""
        source = self.sources_read()[name]
        if "path" in source:
            return str(source["path"])
        if source["adapter"] == "homeassistant":
            return wheel(source["requirement"])
        if source["adapter"] == "libreoffice":
            return self.help_record(name, "en")
        return self.hub_record(record_name("source", name))

    def source_files(self) -> list[str]:
        """The files of the sources of the training text, in the config's order."""
        return [self.source_file(name) for name in self.sources()]

    def source_translations(self, languages: Sequence[str]) -> list[str]:
        """The files of the sources that hold these languages alone, so that another language touches no other."""
        return [
            self.help_record(name, lang)
            for name, source in self.sources().items()
            for lang in languages
            if source["adapter"] == "libreoffice" and lang in help_languages(source)
        ]

    def mined_passages(self, source: str) -> list[str]:
        """The collected sources whose passages the questions of this one are looked up in."""
        return [self.collected_source(name) for name in self.sources_read()[source].get("passages", [])]

    def collected_files(self) -> list[str]:
        """The English pairs of all sources; nothing where the study reads no source."""
        return [self.collected()] if self.config["source"] else []

    def supplied_files(self) -> dict[str, str]:
        """Language -> translations that came with the sources, for all languages that are trained on."""
        return {lang: self.supplied(lang) for lang in self.config["languages"]["train"] if lang != "en"}

    def translated_files(self) -> dict[str, str]:
        """Language -> judged machine translations."""
        return {lang: self.translated(lang) for lang in self.config["translation"]["languages"]}

    def parallel_files(self) -> dict[str, str]:
        """Language -> training text, in the config's order."""
        return {lang: self.parallel(lang) for lang in self.config["languages"]["train"]}

    def contaminated_files(self) -> list[str]:
        """The pairs that overlap with evaluation text; nothing where decontamination is switched off."""
        return [self.contaminated()] if self.config["decontamination"]["enabled"] else []

    def evaluation_texts(self) -> list[str]:
        """The folder of all evaluation text; nothing where decontamination is switched off."""
        return [self.evaluation_text()] if self.config["decontamination"]["enabled"] else []

    def validation_source_files(self) -> list[str]:
        """The collected source of the validation pairs; nothing where they are held-out pairs."""
        name = self.validation_source()
        return [self.collected_source(name)] if name else []

    def is_held_out(self, benchmark: str) -> bool:
        """Whether a benchmark is made from held-out text."""
        entry = self.config["benchmarks"][benchmark]
        return "adapter" not in entry and "split" in entry

    def held_out_benchmarks(self, *benchmarks: str) -> list[str]:
        """Those that are made from held-out text, with queries translated or not."""
        origins = {name: self.config["benchmarks"][name].get("queries_of", name) for name in benchmarks}
        return [name for name, origin in origins.items() if self.is_held_out(origin)]

    def benchmark_files(self, *benchmarks: str) -> list[str]:
        """What benchmarks are on disk: a folder, or files by language where one is made from held-out text."""
        found: list[str] = []
        for name in benchmarks:
            if self.is_held_out(name):
                languages = held_out_languages(self.config, name)
                found += [self.benchmark_text(name, side, lang) for side in _SIDES for lang in languages]
                found.append(self.qrels(name))
            else:
                found.append(self.benchmark(name))
        return found

    def benchmark_origin(self, benchmark: str) -> str:
        """What a published benchmark is made from: the user's folder, or the record of what was fetched."""
        own = self.config["benchmarks"][benchmark].get("path")
        return str(own or self.hub_record(record_name("benchmark", benchmark)))

    def encoder_origin(self, encoder: str) -> str:
        """What a pretrained encoder is made from: the user's folder, a wheel, or the record of what was fetched."""
        entry = self.config["encoders"][encoder]
        if "wheel" in entry:
            return wheel(entry["wheel"]["requirement"], entry["wheel"].get("platform", "any"))
        return str(entry.get("path") or self.hub_record(record_name("encoder", encoder)))

    def vocabulary_text(self, encoder: str) -> list[dict[str, Any]]:
        """The text that an encoder's vocabulary is cut to; nothing where it is left whole."""
        if self.config["encoders"][encoder].get("options", {}).get("vocabulary", "whole") == "whole":
            return []
        benchmarks = []
        for name in self.config["study"]["benchmarks"]:
            queries, passages = benchmark_languages(self.config, name)
            entry = {"benchmark": self.benchmark(name), "query_languages": queries, "corpus_languages": passages}
            benchmarks.append(entry)
        training = {"training": self.parallel_files(), "paraphrases": self.paraphrase_files()}
        return [{**training, "validation": self.validation(), "benchmarks": benchmarks}]

    def vocabulary_files(self, encoder: str) -> list[str]:
        """The files of that text."""
        if not self.vocabulary_text(encoder):
            return []
        training = [*self.parallel_files().values(), *self.paraphrase_files(), self.validation()]
        return training + self.benchmark_files(*self.config["study"]["benchmarks"])

    def paraphrase_files(self) -> list[str]:
        """The paraphrases of English pairs; nothing where there are none."""
        return [self.paraphrases()] if "paraphrases" in self.config["translation"] else []

    def model_folders(self) -> dict[str, str]:
        """Run -> the folder of its model, also of runs that others are made of."""
        return {run.name: self.model_folder(run) for run in models(self.config)}

    def model_folder(self, run: Run) -> str:
        """The folder of a run's model; an untrained run without a projection is its encoder."""
        return self.model(run.name) if run.trained or run.projection != NONE else self.encoder(run.encoder)

    def means_files(self, run: Run) -> list[str]:
        """The means that a run's projection is estimated from; nothing where it has none."""
        if run.projection == NONE or run.before is None:
            return []
        return [self.language_means(run.before.name, side) for side in sides_of(run.projection)]

    def teacher(self, run: Run) -> list[str]:
        """The folder of the encoder that teaches a run's training; nothing where its own encoder does, or none."""
        name = teacher_of(self.config, run)
        return [self.encoder(name)] if name else []

    def embedding_jobs(self, run: str) -> list[dict[str, Any]]:
        """What is to be embedded with a run's model, as `polybatch.embedding.encode` wants it."""
        jobs: list[dict[str, Any]] = []
        for name in self.config["study"]["benchmarks"]:
            queries, passages = benchmark_languages(self.config, name)
            jobs.append(
                {
                    "benchmark": self.benchmark(name),
                    "output": self.embeddings(run, name),
                    "query_languages": queries,
                    "corpus_languages": passages,
                }
            )
        return jobs

    def translator_folder(self, direction: str) -> str:
        """The translator that the config names for a direction, which it does: the config was checked."""
        entry: Mapping[str, Any] = translator_entry(self.config, direction) or {}
        if "path" in entry:
            return str(entry["path"])
        return self.translator(entry.get("trained") or translator_name(dict(entry)))

    def own_translators(self, lang: str) -> list[str]:
        """The folders of the user's own among a language's two translators."""
        return self._own_among(f"en-{lang}", f"{lang}-en")

    def own_query_translators(self, benchmark: str) -> list[str]:
        """The folders of the user's own among `query_translators`."""
        return self._own_among(*(f"en-{lang}" for lang in self.query_translators(benchmark)))

    def _own_among(self, *directions: str) -> list[str]:
        return [
            self.translator_folder(direction)
            for direction in directions
            if "path" in (translator_entry(self.config, direction) or {})
        ]

    def query_translators(self, benchmark: str) -> dict[str, str]:
        """Language -> translator, for a benchmark's queries that are translated from English."""
        languages = self.config["benchmarks"][benchmark]["translate"]
        return {lang: self.translator_folder(f"en-{lang}") for lang in languages if lang != "en"}

    def translator_strings(self, translator: str) -> dict[str, str]:
        """Language -> strings that a translator is trained on: the languages, but English, of its directions."""
        directions = self.config["translator_training"][translator]["directions"]
        languages = {code for direction in directions for code in direction.split("-")} - {"en"}
        return {lang: self.strings(lang) for lang in sorted(languages)}
