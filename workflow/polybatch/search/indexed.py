"""Which runs of a study can be searched, and the two that a user means.

inputs: results/tables/<study>/v<N>/manifest.json, for the study's configuration; index/<run>/<bench>/index.json
outputs: an `Indexed` for each model that is asked for: its run, its benchmark, and where its files lie
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from polybatch.config.paths import Paths
from polybatch.config.study_paths import StudyPaths
from polybatch.core.errors import ConfigError, DataError
from polybatch.tables.versions.versions import MANIFEST, newest

_NAMED = 4
_AGAIN = "run `snakemake` for this study: it embeds, indexes and scores every run"


@dataclass(frozen=True)
class Indexed:
    """A run with its vectors of one benchmark.

    Attributes:
        run: Its name.
        model: The folder of its model.
        embeddings, index: embeddings/<run>/<bench> and index/<run>/<bench>.
        benchmark: benchmarks/<bench>.
    """

    run: str
    model: Path
    embeddings: Path
    index: Path
    benchmark: Path


@dataclass(frozen=True)
class Study:
    """What of a study can be searched.

    Attributes:
        name: The study.
        paths: Where its files lie.
        models: Run -> the folder of its model, in the study's order, the encoders as they come first.
        benchmarks: Run -> the benchmarks that it has embeddings and an index of.
    """

    name: str
    paths: Paths
    models: dict[str, Path]
    benchmarks: dict[str, list[str]]

    def choose(self, run: str | None, against: str | None, benchmark: str | None) -> list[Indexed]:
        """The models to search with: one, or two that have the benchmark in common.

        Args:
            run: A run's name, or parts of it that no other run has, such as `hybrid-a0.5`; None takes two: the first
                of the study, which is an encoder as it comes where the study has that, and the last.
            against: The second, by the same rules; None for none.
            benchmark: Its name; None for the study's first that all of them have.

        Raises:
            ConfigError: There is no such run or benchmark, or several runs are meant; the nearest names are told.
            DataError: The runs have no index of the benchmark, or of none in common.
        """
        searchable = [name for name, found in self.benchmarks.items() if found]
        if not searchable:
            raise DataError(
                f"No run of the study {self.name} has an index.", where=self.paths.base, found="none", remedy=_AGAIN
            )
        if run is None:
            names = [self._run(against)] if against else list(dict.fromkeys([searchable[0], searchable[-1]]))
        else:
            names = [self._run(name) for name in (run, against) if name]
        if len(set(names)) != len(names):
            raise ConfigError(
                "The two models are one and the same run.",
                expected="two runs, or --run alone",
                found=names[0],
                remedy="name another run with --against: " + ", ".join(name for name in searchable if name != names[0]),
            )
        chosen = self._benchmark(names, benchmark)
        return [self._indexed(name, chosen) for name in names]

    def _run(self, asked: str) -> str:
        """The run that a name, or a part of one, means."""
        parts = [part for part in asked.split("/") if part]
        found = [asked] if asked in self.models else self._with(parts, str.__eq__) or self._with(parts, str.startswith)
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(
                f"{asked!r} means {len(found)} runs of the study {self.name}.",
                expected="a run's name, or parts of it that no other has",
                found=_list(found),
                remedy="name one of these, in full or with the part in which they differ",
            )
        near = self._near(asked) or list(self.models)
        raise ConfigError(
            f"The study {self.name} has no run {asked!r}.",
            expected="a run of the study, or parts of its name, such as " + near[0],
            found=_list(near),
            remedy="name one of the runs found",
        )

    def _with(self, parts: Sequence[str], fits: Callable[[str, str], bool]) -> list[str]:
        """The runs whose names hold some parts, or their beginnings."""
        return [name for name in self.models if _holds(name.split("/"), parts, fits)]

    def _near(self, asked: str) -> list[str]:
        """Runs whose name, or the beginning of a part of it, looks like what was asked for."""
        last = asked.rstrip("/").rpartition("/")[2]
        starts = {part[: len(last)]: part for name in self.models for part in name.split("/")}
        close = {starts[start] for start in get_close_matches(last, starts, n=3, cutoff=0.6)}
        close |= set(get_close_matches(asked, self.models, cutoff=0.6))
        return [name for name in self.models if name in close or close & set(name.split("/"))]

    def _benchmark(self, names: Sequence[str], asked: str | None) -> str:
        """The benchmark that all of some runs have."""
        have = "; ".join(f"{name}: {' '.join(self.benchmarks[name]) or 'none'}" for name in names)
        common = [name for name in self.benchmarks[names[0]] if all(name in self.benchmarks[run] for run in names)]
        if asked is None and common:
            return common[0]
        if asked in common:
            return str(asked)
        every = list(dict.fromkeys(name for found in self.benchmarks.values() for name in found))
        if asked is not None and asked not in every:
            near = get_close_matches(asked, every, n=2, cutoff=0.5)
            raise ConfigError(
                f"The study {self.name} has no index of a benchmark {asked!r}.",
                expected="a benchmark of the study",
                found=", ".join(near or every),
                remedy="name one of those found",
            )
        raise DataError(
            "The models have no index of that benchmark." if asked else "The models have no benchmark in common.",
            where=self.paths.base,
            expected=f"embeddings and an index of {asked or 'one benchmark'}, of every model",
            found=have,
            remedy=f"name a benchmark that all have, or {_AGAIN}",
        )

    def _indexed(self, run: str, benchmark: str) -> Indexed:
        return Indexed(
            run,
            self.models[run],
            Path(self.paths.embeddings(run, benchmark)),
            Path(self.paths.index_record(run, benchmark)).parent,
            Path(self.paths.benchmark(benchmark)),
        )


def read_study(results: Path, name: str) -> Study:
    """Looks up what of a study can be searched.

    Args:
        results: The folder of all results.
        name: The study.

    Raises:
        DataError: The study has no tables: they say which collection and which runs are its own.
    """
    version = newest(results / "tables" / name)
    config = version.manifest["config"]
    try:
        paths = StudyPaths.of(config, results / config["collection"])
        models = {run: Path(folder) for run, folder in paths.model_folders().items()}
    except KeyError as error:
        raise DataError(
            "The tables of this study name its runs in another way than this version of Polybatch.",
            where=version.path / MANIFEST,
            expected=f"a configuration with the key {error}",
            remedy="run `snakemake` for this study: it makes the tables again",
        ) from error
    benchmarks = {
        run: [bench for bench in config["study"]["benchmarks"] if _is_indexed(paths, run, bench)] for run in models
    }
    return Study(name, paths, models, benchmarks)


def _is_indexed(paths: Paths, run: str, benchmark: str) -> bool:
    records = (paths.embeddings_record(run, benchmark), paths.index_record(run, benchmark))
    return all(Path(path).is_file() for path in records)


def _holds(parts: Sequence[str], wanted: Sequence[str], fits: Callable[[str, str], bool]) -> bool:
    """Whether `wanted` fit some of `parts`, in their order."""
    left = iter(parts)
    return bool(wanted) and all(any(fits(part, one) for part in left) for one in wanted)


def _list(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
