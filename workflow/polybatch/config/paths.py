"""Where every file of a study lies: the only place that spells `results/<collection>/...`.

inputs: the names of a collection and a study; for what a study reads, its resolved config
outputs: paths as text, relative to the project's folder; nothing is looked up on disk

They are text and not `Path`, because rules put wildcards into them: `paths.supplied("{lang}")`. A Snakefile imports
this at every start, so it imports nothing heavy. What lies within an encoder, a model, a translator or embeddings is
the matter of the stage that writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybatch.config.values import (
    Config,
    benchmark_languages,
    held_out_languages,
    runs,
    translator_entry,
    translator_name,
)
from polybatch.core.errors import ConfigError

RESULTS = "results"
# Versions of the tables of all studies, a folder each.
TABLES = f"{RESULTS}/tables"
_SIDES = ("queries", "corpus")
# What Snakemake takes for a wildcard, also where a function gives the path; it knows no way to write such a name.
_WILDCARD = re.compile(r"\{\s*\w+.*\}", re.DOTALL)


def record_name(kind: str, name: str) -> str:
    """The name of what is fetched for a "source", "encoder", "translator" or "benchmark" of the config."""
    return f"{kind}--{name}"


def wheel(requirement: str) -> str:
    """The file of a pinned wheel, such as `homeassistant==2026.11.0`; all collections share it."""
    return f"{RESULTS}/sources/{requirement.replace('==', '-')}-py3-none-any.whl"


def wheel_log(requirement: str) -> str:
    return f"{RESULTS}/sources/logs/{requirement.replace('==', '-')}.log"


@dataclass(frozen=True)
class Paths:
    """The layout: the path of each kind of file, from the names of what it holds.

    Attributes:
        collection: The folder below `results/` for data, models and scores. Studies on the same data may share it.
        study: Names what is one study's alone: tables, report, plan.
        results: The folder of all results.
    """

    collection: str
    study: str
    results: str = RESULTS

    @classmethod
    def below(cls, base: Path | str) -> Paths:
        """The layout below a folder that stands for `results/<collection>`, without what belongs to one study."""
        return Paths(Path(base).name, "", str(Path(base).parent))

    @property
    def base(self) -> str:
        """`results/<collection>`."""
        return f"{self.results}/{self.collection}"

    def hub_record(self, record: str) -> str:
        """What was fetched, and where its files lie; `record` is a `record_name`."""
        return f"{self.base}/hub/{record}.json"

    def hub_revisions(self) -> str:
        """The folder that keeps the commits of branches."""
        return f"{self.base}/hub/revisions"

    def collected_source(self, source: str, form: str = "parquet") -> str:
        """English pairs of one source; with the form "json" their counts."""
        return f"{self.base}/collected/sources/{source}.{form}"

    def collected(self, form: str = "parquet") -> str:
        """English pairs of all sources and splits; with the form "json" their counts."""
        return f"{self.base}/collected/en.{form}"

    def supplied(self, lang: str) -> str:
        """The translations that came with the sources."""
        return f"{self.base}/supplied/{lang}.parquet"

    def benchmark(self, name: str) -> str:
        """A benchmark's folder."""
        return f"{self.base}/benchmarks/{name}"

    def benchmark_text(self, name: str, side: str, lang: str) -> str:
        """One language of a benchmark; `side` is "queries" or "corpus"."""
        return f"{self.benchmark(name)}/{side}/{lang}.parquet"

    def qrels(self, name: str) -> str:
        return f"{self.benchmark(name)}/qrels.parquet"

    def evaluation_text(self) -> str:
        """The folder of all evaluation text, as n-grams that training text is looked up in."""
        return f"{self.base}/decontamination/text"

    def contaminated(self, form: str = "parquet") -> str:
        """Pairs that overlap with evaluation text; with the form "json" their counts."""
        return f"{self.base}/decontamination/pairs.{form}"

    def exposure(self) -> str:
        """Which evaluation sets the encoders were trained on."""
        return f"{self.base}/decontamination/exposure.json"

    def strings(self, lang: str) -> str:
        """Parallel strings that translators are trained on."""
        return f"{self.base}/strings/{lang}.parquet"

    def translator(self, name: str) -> str:
        """A translator's folder, as CTranslate2 reads it."""
        return f"{self.base}/translators/{name}"

    def translator_training(self, name: str) -> str:
        """The folder in which a translator is trained."""
        return f"{self.base}/translator_training/{name}"

    def translations(self) -> str:
        """The folder of all machine translations, a folder below it for each language's shards."""
        return f"{self.base}/translated"

    def translated_shard(self, lang: str, shard: int | str) -> str:
        return f"{self.translations()}/{lang}/{shard}.parquet"

    def translated(self, lang: str, form: str = "parquet") -> str:
        """The judged machine translations of one language; with the form "json" their statistics."""
        return f"{self.translations()}/{lang}.{form}"

    def parallel(self, lang: str) -> str:
        """The training text of one language."""
        return f"{self.base}/parallel/{lang}.parquet"

    def paraphrases(self) -> str:
        """English text that came back from another language."""
        return f"{self.base}/parallel/paraphrase.parquet"

    def validation(self) -> str:
        """English pairs whose loss decides when a training stops."""
        return f"{self.base}/validation.parquet"

    def encoder(self, name: str) -> str:
        """An untrained encoder's folder."""
        return f"{self.base}/encoders/{name}"

    def model(self, run: str) -> str:
        """The folder of a trained run's model."""
        return f"{self.base}/models/{run}"

    def checkpoints(self, run: str) -> str:
        return f"{self.base}/checkpoints/{run}"

    def texts(self) -> str:
        """The folder of the training texts on disk, which trainings share."""
        return f"{self.base}/texts"

    def embeddings_of(self, run: str) -> str:
        """The folder of all embeddings of a run, a folder below it for each benchmark."""
        return f"{self.base}/embeddings/{run}"

    def embeddings(self, run: str, benchmark: str) -> str:
        """The folder of a benchmark's embeddings."""
        return f"{self.embeddings_of(run)}/{benchmark}"

    def embeddings_record(self, run: str, benchmark: str) -> str:
        """What the embeddings were made from; written last."""
        return f"{self.embeddings(run, benchmark)}/embeddings.json"

    def embeddings_shard(self, run: str, shard: int | str, shards: int | str) -> str:
        """The mark of one job of several that embed the study's benchmarks."""
        return f"{self.embeddings_of(run)}/.shards/{self.study}/{shard}-of-{shards}.json"

    def index_record(self, run: str, benchmark: str) -> str:
        """What the indexes beside it were made from; written last."""
        return f"{self.base}/index/{run}/{benchmark}/index.json"

    def scores(self, run: str, benchmark: str) -> str:
        return f"{self.base}/scores/{run}/{benchmark}.parquet"

    def per_query(self, run: str, benchmark: str) -> str:
        return f"{self.base}/scores/{run}/{benchmark}.per_query.parquet"

    def ranked(self, run: str, benchmark: str) -> str:
        """The top of every ranked list."""
        return f"{self.base}/runs/{run}/{benchmark}.parquet"

    def log(self, stage: str, name: str) -> str:
        """What a job says; `stage` is the word that `timing` has for it too."""
        return f"{self.base}/logs/{stage}/{name}.log"

    def timing(self, stage: str, name: str) -> str:
        """Wall time and memory of a job; the table `timings` has a row for each `stage`."""
        return f"{self.timings()}/{stage}/{name}.tsv"

    def timings(self) -> str:
        return f"{self.base}/timings"

    def tables(self) -> str:
        """The folder of all versions of the study's tables."""
        return f"{self.results}/tables/{self.study}"

    def table(self, name: str) -> str:
        """A file of the newest version of the tables."""
        return f"{self.tables()}/latest/{name}"

    def report(self) -> str:
        return f"{self.results}/reports/{self.study}.html"

    def plan(self, form: str = "md") -> str:
        """What the study costs; with the form "log" what was said in finding it."""
        return f"{self.results}/plans/{self.study}.{form}"


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
        """The file of a source: the user's own, a wheel, or the record of a hub repository."""
        source = self.sources_read()[name]
        if "path" in source:
            return str(source["path"])
        if source["adapter"] == "homeassistant":
            return wheel(source["requirement"])
        return self.hub_record(record_name("source", name))

    def own_paths(self) -> Iterator[tuple[str, str]]:
        """(config key, path) of all files and folders of the user's own that jobs read."""
        for name, source in self.sources_read().items():
            if "path" in source:
                yield f"source {name}", str(source["path"])
        for kind in ("encoders", "benchmarks"):
            for name, entry in self.config[kind].items():
                if "path" in entry:
                    yield f"{kind}.{name}.path", str(entry["path"])
        translation = self.config["translation"]
        for where, entry in (*translation["translators"].items(), ("default", translation.get("default") or {})):
            if "path" in entry:
                yield f"translation, {where}", str(entry["path"])

    def require_plain_paths(self) -> None:
        """Checks that Snakemake can name the user's own files.

        Raises:
            ConfigError: Paths with a {word} in braces, all at once.
        """
        if found := [f"{where}: {path}" for where, path in self.own_paths() if _WILDCARD.search(path)]:
            raise ConfigError(
                "Snakemake takes a word in braces for a wildcard, so a path must not hold one.",
                found="; ".join(found),
                remedy="give the file or folder a name without braces, or a link with such a name",
            )

    def source_files(self) -> list[str]:
        """The files of the sources of the training text, in the config's order."""
        return [self.source_file(name) for name in self.sources()]

    def mined_passages(self, source: str) -> list[str]:
        """The collected sources whose passages the questions of this one are looked up in."""
        return [self.collected_source(name) for name in self.sources_read()[source].get("passages", [])]

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
        """What a pretrained encoder is made from: the user's folder, or the record of what was fetched."""
        own = self.config["encoders"][encoder].get("path")
        return str(own or self.hub_record(record_name("encoder", encoder)))

    def model_folders(self) -> dict[str, str]:
        """Run -> the folder of its model; an untrained run is its encoder."""
        return {
            run.name: self.model(run.name) if run.trained else self.encoder(run.encoder) for run in runs(self.config)
        }

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
        directions = (f"en-{lang}", f"{lang}-en")
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
