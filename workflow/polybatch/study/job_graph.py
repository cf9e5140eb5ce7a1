"""The jobs of a study with the hours of each, and which waits for which: the rules' graph, before anything is there.

inputs: the lines of a plan (`costs`), the resolved config
outputs: `Job`s for `wall_clock.schedule`. A job is called as its timing: `<stage>/<name>` below timings/

A stage's hours are divided among its jobs: translation evenly among languages and shards, trainings by the texts that
their objective computes, embedding evenly among runs and shards. Each job starts up. Not in the graph: downloads,
strings and conversion of translators that are trained here, queries of a benchmark that are translated, the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polybatch.config.grid import NONE, Run, embedded, models, runs, sides_of
from polybatch.config.study_paths import StudyPaths
from polybatch.config.values import (
    Config,
    encoders_read,
    encoding_shards,
    held_out_languages,
    training_options,
    translator_entry,
)
from polybatch.posthoc.options import ProjectionOptions
from polybatch.study.costs import (
    Known,
    Line,
    encodings,
    is_training,
    parameters_of,
    steps_of,
    texts_of,
    trained_translators,
    training_seconds,
    trainings,
)
from polybatch.study.wall_clock import Job
from polybatch.training.options import TrainingOptions

# The shape of the graph: the job that has all English pairs, and those between it and the trainings.
_ENGLISH, _EVALUATION_TEXT, _CONTAMINATED, _TEXTS = "collect/en", "decontaminate/text", "decontaminate/pairs", "texts"


class Graph:
    """Makes the jobs of one study; `jobs` is all that is wanted of it."""

    def __init__(self, known: Known, rates: Mapping[str, float], lines: Sequence[Line], cards: int) -> None:
        self.known, self.config, self.rates, self.cards = known, known.config, rates, cards
        self.hours = {line.stage: line.hours or 0.0 for line in lines}
        self.paths = StudyPaths.of(self.config, known.base)
        self.study = self.config["study"]["name"]
        self.on_core = rates["core_start_seconds"] / 3600
        self.on_device = rates["device_start_seconds"] / 3600

    def jobs(self) -> Iterator[Job]:
        """All jobs of the study; none waits for one that is not among them."""
        for encoder in encoders_read(self.config):
            yield self._device(self._encoder(encoder), "encoder", 0.0, devices=0)
        if self.config["source"]:
            yield from self._collecting()
        yield from self._benchmarks()
        if self.config["languages"]["train"]:
            yield from self._training_text()
            for encoder in self.config["study"]["encoders"]:
                yield from self._trainings(encoder)
            yield from self._posthoc()
        for encoder in self.config["study"]["encoders"]:
            yield from self._embedding(encoder)
        yield from self._scoring()

    def _core(self, name: str, stage: str, hours: float, after: Sequence[str] = ()) -> Job:
        return Job(name, stage, self.on_core + hours, after=tuple(after))

    def _device(self, name: str, stage: str, hours: float, after: Sequence[str] = (), devices: int = 1) -> Job:
        # The cores that feed a device are counted with it.
        return Job(name, stage, self.on_device + hours, devices, cores=0 if devices else 1, after=tuple(after))

    def _collecting(self) -> Iterator[Job]:
        read = self.known.amounts.sources
        whole = sum(read.values()) or 1.0
        sources = {name: read.get(name, 0.0) / whole for name in self.paths.sources_read()}
        for name, share in sources.items():
            yield self._core(f"collect/sources/{name}", "collect", self.hours.get("collect", 0.0) * share)
        yield self._core(
            _ENGLISH, "collect", self.hours.get("join", 0.0), [f"collect/sources/{name}" for name in sources]
        )
        languages = self._supplied_languages()
        for lang in languages:
            hours = self.hours.get("supplied", 0.0) / max(len(self._others()), 1)
            yield self._core(f"supplied/{lang}", "supplied", hours, [_ENGLISH])

    def _others(self) -> list[str]:
        return [lang for lang in self.config["languages"]["train"] if lang != "en"]

    def _supplied_languages(self) -> list[str]:
        """Also those that held-out text must have."""
        found = self._others()
        for name in self.config["study"]["benchmarks"]:
            if self.paths.is_held_out(name):
                found += [lang for lang in held_out_languages(self.config, name) if lang != "en"]
        return list(dict.fromkeys(found))

    def _benchmarks(self) -> Iterator[Job]:
        sizes = self.known.amounts.benchmarks
        for name, size in sizes.items():
            share = size.texts.value / (self.known.amounts.texts or 1.0)
            hours = self.hours.get("benchmarks", 0.0) * share
            if not self.paths.is_held_out(name):
                yield self._core(f"benchmark/{name}/whole", "benchmarks", hours)
                continue
            languages = held_out_languages(self.config, name)
            for lang in languages:
                after = [_ENGLISH, *([] if lang == "en" else [f"supplied/{lang}"])]
                yield self._core(f"benchmark/{name}/{lang}", "benchmarks", hours / len(languages), after)
            own = [f"benchmark/{name}/{lang}" for lang in languages]
            yield self._core(f"benchmark/{name}/qrels", "benchmarks", 0.0, own)

    def _benchmark_jobs(self) -> list[str]:
        names = self.config["study"]["benchmarks"]
        return [f"benchmark/{name}/{'qrels' if self.paths.is_held_out(name) else 'whole'}" for name in names]

    def _training_text(self) -> Iterator[Job]:
        supplied = {lang: f"supplied/{lang}" for lang in self._others()}
        checked = [_ENGLISH]
        if self.config["decontamination"]["enabled"]:
            hours = self.hours.get("evaluation text", 0.0)
            yield self._core(_EVALUATION_TEXT, "decontaminate", hours, self._benchmark_jobs())
            after = [_EVALUATION_TEXT, _ENGLISH, *supplied.values()]
            yield self._core(_CONTAMINATED, "decontaminate", self.hours.get("decontaminate", 0.0), after)
            checked = [_CONTAMINATED]
        machine, shards = self.config["translation"]["languages"], self.config["translation"]["shards"]
        for name, hours in self._translator_hours().items():
            yield self._core(f"train_translator/{name}", "train translators", hours, [_ENGLISH])
        each = (self.hours.get("translate") or 0.0) / max(len(machine) * shards, 1)
        for lang in machine:
            own = [f"translate/{lang}-{shard}" for shard in range(shards)]
            for name in own:
                yield self._device(name, "translate", each, [*checked, *self._translators_of(lang)])
            also = [supplied[lang]] if lang in supplied else []
            yield self._core(f"accept/{lang}", "accept", self.hours.get("accept", 0.0) / len(machine), [*own, *also])
        accepted = [f"accept/{lang}" for lang in machine]
        trained = self.config["languages"]["train"]
        for lang in trained:
            after = [*checked, *accepted, *([supplied[lang]] if lang in supplied else [])]
            yield self._core(f"parallel/{lang}", "parallel", self.hours.get("parallel", 0.0) / len(trained), after)
        yield self._core("parallel/validation", "parallel", 0.0, checked)
        written = [f"parallel/{lang}" for lang in (*trained, "validation")]
        if any(is_training(run) for run in models(self.config)):
            yield self._core(_TEXTS, "prepare texts", self.hours.get("prepare texts", 0.0), written)

    def _translator_hours(self) -> dict[str, float]:
        operations = trained_translators(self.config, self.rates)
        whole = self.hours.get("train translators", 0.0)
        return {name: whole * own / sum(operations.values()) for name, own in operations.items()}

    def _translators_of(self, lang: str) -> list[str]:
        """The jobs that train the two translators of a language, there and back, or the one that is both."""
        entries = [translator_entry(self.config, direction) or {} for direction in (f"en-{lang}", f"{lang}-en")]
        return list(dict.fromkeys(f"train_translator/{own['trained']}" for own in entries if "trained" in own))

    def _trainings(self, encoder: str) -> Iterator[Job]:
        trained = trainings(self.config, encoder)
        if not trained:
            return
        options = TrainingOptions.from_values(training_options(self.config, encoder))
        parameters, computing = parameters_of(self.known, encoder, self.rates)
        changed = computing if options.freeze_embeddings else parameters.value
        waits = steps_of(self.known, encoder) * self._all_reduce_seconds(changed) / 3600
        measured = self.known.training.get(encoder) is not None
        texts = sum(texts_of(run, options) for run in trained)
        for run in trained:
            if measured:
                hours = self.hours[f"train {encoder}"] * texts_of(run, options) / texts / self.cards + waits
            else:
                hours = training_seconds(self.known, run, self.rates, self.cards) / 3600 + waits
            yield self._device(f"train/{run.name}", "train", hours, [_TEXTS, self._model(run.start)], self.cards)

    def _all_reduce_seconds(self, parameters: float) -> float:
        """Of one step: each card sends and receives 2 (n - 1) / n of all gradients, in float32, in a ring.

        Patarasuk, Yuan (2009), "Bandwidth optimal all-reduce algorithms for clusters of workstations". Nothing of it
        is taken to overlap with computing, so that it is the most that it costs.
        """
        sent = 2 * (self.cards - 1) / self.cards * 4 * parameters
        return sent / (self.rates["all_reduce_gigabytes_per_second"] * 1e9)

    def _encoder(self, encoder: str) -> str:
        entry = self.config["encoders"][encoder]
        kind = "wheel" if "wheel" in entry else "new" if "scratch" in entry else "pretrained"
        return f"{kind}_encoder/{encoder}"

    def _model(self, run: Run) -> str:
        """The job that makes a run's model."""
        if run.projection != NONE:
            return f"project_model/{run.name}"
        if run.before is not None:
            return f"interpolate/{run.name}"
        return f"train/{run.name}" if run.trained else self._encoder(run.encoder)

    def _posthoc(self) -> Iterator[Job]:
        languages = self.config["languages"]["train"]
        texts = len(languages) * ProjectionOptions.from_values(self.config.get("projection", {})).texts
        embedded_of: set[str] = set()
        for run in _with_models(self.config):
            if run.projection != NONE and run.before is not None:
                means = {f"language_means/{run.before.name}/{side}": side for side in sides_of(run.projection)}
                for name in [name for name in means if name not in embedded_of]:
                    after = [self._model(run.before), *(f"parallel/{lang}" for lang in languages)]
                    yield self._device(name, "project", texts * self._hours_of_a_text(run.encoder), after)
                embedded_of |= means.keys()
                yield self._core(self._model(run), "project", 0.0, [self._model(run.before), *means])
            elif run.before is not None:
                after = [self._model(run.start), self._model(run.before)]
                yield self._device(self._model(run), "project", 0.0, after, devices=0)

    def _hours_of_a_text(self, encoder: str) -> float:
        whole = len(encodings(self.config, encoder)) * self.known.amounts.texts
        return self.hours.get(f"encode {encoder}", 0.0) / whole if whole else 0.0

    def _embedding(self, encoder: str) -> Iterator[Job]:
        shards = encoding_shards(self.config, encoder)
        each = self._hours_of_a_text(encoder) * self.known.amounts.texts / shards
        for run in embedded(self.config):
            if run.encoder != encoder:
                continue
            after = [self._model(run), *self._benchmark_jobs()]
            if run.projection != NONE and run.before is not None:
                after.append(self._embeddings(run.before))
                yield self._core(self._embeddings(run), "project", 0.0, after)
            elif shards == 1:
                yield self._device(self._embeddings(run), "encode", each, after)
            else:
                own = [f"encode/{run.name}/{self.study}-{shard}-of-{shards}" for shard in range(shards)]
                for name in own:
                    yield self._device(name, "encode", each, after)
                yield self._core(self._embeddings(run), "encode", 0.0, own)

    def _embeddings(self, run: Run) -> str:
        """The job that makes a run's embeddings, or puts them together."""
        if run.projection != NONE:
            return f"project_embeddings/{run.name}/{self.study}"
        stage = "encode" if encoding_shards(self.config, run.encoder) == 1 else "gather_embeddings"
        return f"{stage}/{run.name}/{self.study}"

    def _scoring(self) -> Iterator[Job]:
        scored = runs(self.config)
        for run in scored:
            index, score = (f"{stage}/{run.name}/{self.study}" for stage in ("index", "score"))
            yield self._core(index, "index", self.hours["index"] / len(scored), [self._embeddings(run)])
            yield self._core(score, "score", self.hours["score"] / len(scored), [index])
        last = [f"score/{run.name}/{self.study}" for run in scored]
        yield self._core(f"tables/{self.study}", "tables", self.rates["tables_seconds"] / 3600, last)


def _with_models(config: Config) -> list[Run]:
    return list(dict.fromkeys([*models(config), *embedded(config)]))


def jobs(known: Known, rates: Mapping[str, float], lines: Sequence[Line], cards: int = 1) -> list[Job]:
    """The jobs of a study.

    Args:
        known: What the lines were reckoned from.
        rates: name -> value, of rates.yaml.
        lines: Of the plan.
        cards: For each training (POLYBATCH_GPUS).
    """
    return list(Graph(known, rates, lines, cards).jobs())
