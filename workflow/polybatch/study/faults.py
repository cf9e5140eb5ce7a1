"""Every fault of a configuration, each in words that say where it is and what would be right.

inputs: a configuration with its defaults filled in and what it names looked up (polybatch.config.values)
outputs: lines of text, none for a sound configuration
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polybatch.config.values import (
    CATALOGUE,
    WHEEL_KEYS,
    Config,
    benchmark_languages,
    encoding_options,
    listed,
    overlap_options,
    possible_settings,
    read_yaml,
    scoring_options,
    source_name,
    split_options,
    training_options,
    translator_entry,
    used_directions,
    wheel_entry,
    without_shards,
)
from polybatch.core.addresses import address_faults
from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import ConfigError, DataError
from polybatch.core.languages import LANGUAGES
from polybatch.core.options import Options

# Keys of a benchmark that belong to one kind of it: held-out text, machine-translated queries, or an adapter.
_KEYS = {
    "split": {"split"},
    "queries_of": {"queries_of", "translate"},
    "lareqa": {"files", "path", "expected"},
    "mlqa": {"files", "path", "expected"},
    "mteb": {"task", "split", "options"},
    "beir": {"path", "split", "options"},
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def schema_faults(config: Config, schema: dict[str, Any]) -> Iterator[str]:
    """Unknown or missing keys, and values of the wrong type."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(config), key=lambda e: [str(p) for p in e.absolute_path]):
        yield from _spell(error)


def _spell(error: Any) -> Iterator[str]:
    """A schema error as a user would want to read it."""
    where = ".".join(str(part) for part in error.absolute_path) or "the configuration"
    if error.validator == "additionalProperties" and error.schema.get("properties"):
        known = list(error.schema["properties"])
        for name in (key for key in error.instance if key not in known):
            close = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)
            yield f"{where}: unknown key {name!r}; {hint}"
    elif error.validator == "required":
        yield f"{where}: {error.message}"
    elif error.validator == "enum":
        yield f"{where}: {error.instance!r} is not one of {', '.join(map(str, error.validator_value))}"
    elif error.validator == "oneOf":
        yield from _spell_choice(error, where)
    elif error.validator == "contains":
        yield f"{where}: must contain {error.validator_value.get('const')!r}"
    else:
        yield f"{where}: {error.message}"


def _spell_choice(error: Any, where: str) -> Iterator[str]:
    """An error of `oneOf`: keys of which just one may stand, or several shapes that a value may have."""
    keys = [key for option in error.validator_value for key in option.get("required", []) if "properties" not in option]
    if keys:
        given = [key for key in keys if key in error.instance] if isinstance(error.instance, dict) else []
        yield f"{where}: " + (
            f"{' and '.join(given)} do not go together" if len(given) > 1 else f"needs one of {', '.join(keys)}"
        )
        return
    close = [nested for nested in error.context if not _has_other_shape(nested)]
    for nested in close:
        yield from _spell(nested)
    if not close:
        shapes = [str(option.get("const", option.get("type", ""))) for option in error.validator_value]
        yield f"{where}: {error.instance!r} is not {' or '.join(filter(None, shapes)) or 'as it should be'}"


def _has_other_shape(error: Any) -> bool:
    """Whether a shape is not the one that was meant, so that nothing needs to be said of it."""
    if error.validator == "oneOf":
        return bool(error.context) and all(map(_has_other_shape, error.context))
    return error.validator in ("type", "const") and not error.relative_path


def semantic_faults(config: Config, *, shape_is_sound: bool) -> list[str]:
    """What the schema cannot see. With a fault in its shape, the parts that can still be read are checked."""
    faults: list[str] = []
    checks = (
        _language_faults,
        _study_faults,
        _benchmark_faults,
        _translation_faults,
        _option_faults,
        _figure_faults,
        _source_faults,
        _adapter_faults,
        _encoder_faults,
        _file_faults,
    )
    for check in checks:
        try:
            faults += check(config)
        except (KeyError, TypeError, AttributeError, ValueError):
            if shape_is_sound:
                raise
    return faults


def _source_faults(config: Config) -> Iterator[str]:
    for name in (entry for entry in listed(config["source"]) if isinstance(entry, str)):
        if name not in config["sources"]:
            yield _unknown("source", name, "sources", config) + "; for a file of your own write source: {path: ...}"
    names = [source_name(entry) for entry in listed(config["source"])]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"source: two sources are called {name!r}; give one of them another name"
    for name in names:
        if not _NAME.fullmatch(name):
            yield f"source: {name!r}, taken from the file's name, cannot name a source; add name: to its entry"
        for other in config["sources"].get(name, {}).get("passages", []):
            if other not in names:
                yield f"sources.{name}.passages: {other!r} is not among the study's sources ({', '.join(names)})"
    validation = (config.get("validation") or {}).get("source")
    if validation and validation not in config["sources"]:
        yield _unknown("validation.source", validation, "sources", config)
    if validation and validation in names:
        yield f"validation.source: {validation!r} is trained on; name a source that is not"
    if not validation and config["split"].get("dev_passages") == 0:
        yield "split.dev_passages: 0 leaves no validation pairs; name validation.source, or hold some passages out"


def _adapter_faults(config: Config) -> Iterator[str]:
    """Unknown adapters, and options that an adapter does not know."""
    from polybatch.collect.adapters.data_sets import request
    from polybatch.collect.adapters.libreoffice import options_of
    from polybatch.collect.adapters.registry import ADAPTERS

    for name, entry in config["sources"].items():
        if entry["adapter"] not in ADAPTERS:
            yield f"sources.{name}.adapter: {entry['adapter']!r} is not one of {', '.join(ADAPTERS)}"
        elif entry["adapter"] == "homeassistant":
            yield from (f"sources.{name}.{fault}" for fault in _wheel_faults(entry))
        elif entry["adapter"] != "local":
            check = options_of if entry["adapter"] == "libreoffice" else request
            if "url" in entry:
                yield from (f"sources.{name}.url: {fault}" for fault in address_faults(str(entry["url"])))
            try:
                check({"name": name, **entry})
            except ConfigError as error:
                yield f"sources.{name}: {error.found}"


def _wheel_faults(entry: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9_]+==[A-Za-z0-9.]+", str(entry.get("requirement"))):
        yield "requirement: a version to fetch is needed, such as homeassistant==2026.11.0"
    if not re.fullmatch(r"[0-9a-f]{64}", str(entry.get("sha256"))):
        yield "sha256: the wheel's checksum is needed, 64 hexadecimal digits"


def _unknown(where: str, name: str, kind: str, config: Config) -> str:
    known = dict.fromkeys([*config[kind], *read_yaml(CATALOGUE)[kind]])
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else ", ".join(known)
    return f"{where}: {name!r} is neither among {kind} nor in the catalogue ({hint})"


def _language_faults(config: Config) -> Iterator[str]:
    lists = {
        "languages.train": config["languages"]["train"],
        "languages.evaluate": config["languages"]["evaluate"],
        "split.parallel_in": config["split"].get("parallel_in", []),
        "translation.languages": config["translation"]["languages"],
    }
    for name, entry in config["benchmarks"].items():
        for key in ("languages", "corpus_languages", "translate"):
            lists[f"benchmarks.{name}.{key}"] = entry.get(key, [])
    for where, codes in lists.items():
        for code in codes:
            if code not in LANGUAGES:
                yield f"{where}: unknown language {code!r}; known ISO 639-1 codes: {' '.join(LANGUAGES)}"


def _study_faults(config: Config) -> Iterator[str]:
    study = config["study"]
    for kind in ("encoders", "benchmarks"):
        for name in study[kind]:
            if name not in config[kind]:
                yield _unknown(f"study.{kind}", name, kind, config)
    for i, entry in enumerate(study["runs"]):
        if entry["sampling"] == "hybrid" and "alphas" not in entry:
            yield f"study.runs.{i}: hybrid needs alphas, for example alphas: [0.5]"
        if entry["sampling"] != "hybrid" and "alphas" in entry:
            yield f"study.runs.{i}: alphas belong to hybrid, not to {entry['sampling']}"
    if len(config["languages"]["train"]) < 2:
        for i, entry in enumerate(study["runs"]):
            if entry["sampling"] in ("x-y", "hybrid"):
                yield f"study.runs.{i}: {entry['sampling']} needs two training languages or more"


def _benchmark_faults(config: Config) -> Iterator[str]:
    named = [*config["study"]["benchmarks"], *config["decontamination"]["benchmarks"]]
    for name in config["decontamination"]["benchmarks"]:
        if name not in config["benchmarks"]:
            yield _unknown("decontamination.benchmarks", name, "benchmarks", config)
    known = [name for name in named if name in config["benchmarks"]]  # of the study's own, _study_faults tells
    originals = [config["benchmarks"][name].get("queries_of") for name in known]
    for name in dict.fromkeys([*known, *(name for name in originals if name in config["benchmarks"])]):
        yield from (f"benchmarks.{name}: {fault}" for fault in _faults_of_benchmark(config, name))


def _faults_of_benchmark(config: Config, name: str) -> Iterator[str]:
    entry = config["benchmarks"][name]
    kind = entry.get("adapter") or ("split" if "split" in entry else "queries_of")
    for key in sorted(set().union(*_KEYS.values()) - _KEYS[kind]):
        if entry.get(key):
            yield f"{key} does not belong to {'the adapter ' if 'adapter' in entry else ''}{kind}"
    yield from {"split": _held_out_faults, "queries_of": _derived_faults}.get(kind, _adapted_faults)(config, name)
    queries, corpus = benchmark_languages(config, name)
    possible = possible_settings(queries, corpus)
    for setting in entry.get("settings") or config["scoring"].get("settings") or ():
        if setting in SETTINGS and setting not in possible:
            yield (
                f"{setting} cannot be scored with queries in {' '.join(queries)} and passages in {' '.join(corpus)}; "
                f"add a language, or write settings: [{', '.join(possible)}]"
            )


def _held_out_faults(config: Config, name: str) -> Iterator[str]:
    split = config["benchmarks"][name]["split"]
    if split not in ("dev", "test"):
        yield f"split: {split!r} is neither dev nor test"
    elif not config["split"].get(f"{split}_passages", 1):
        yield f"split.{split}_passages is 0, so there is nothing to make it from"


def _adapted_faults(config: Config, name: str) -> Iterator[str]:
    from polybatch.benchmarks.adapted import known_options
    from polybatch.benchmarks.squad import PUBLISHED

    entry = config["benchmarks"][name]
    adapter = entry["adapter"]
    for key in {"mteb": ("task",), "beir": ("path",)}.get(adapter, ()):
        if key not in entry:
            yield f"the adapter {adapter} needs {key}"
    known = known_options(adapter)
    for lang, file in entry.get("files", {}).items():
        yield from (f"files.{lang}.url: {fault}" for fault in address_faults(file["url"]))
    for option in entry["options"]:
        if option not in known:
            yield f"options: unknown option {option!r}; known: {', '.join(known)}"
    if isinstance(entry.get("expected"), str) and entry["expected"] not in PUBLISHED:
        yield f"expected: {entry['expected']!r} is not one of {', '.join(PUBLISHED)}"
    if adapter in ("lareqa", "mlqa") and not {"files", "path"} & set(entry):
        yield f"the adapter {adapter} needs files or path"
    if "files" in entry and "path" not in entry and not any(f["url"].endswith(".zip") for f in entry["files"].values()):
        for lang in dict.fromkeys(itertools.chain(*benchmark_languages(config, name))):
            if lang not in entry["files"]:
                yield f"files: none for {lang}; add one, or languages: [{', '.join(entry['files'])}]"


def _derived_faults(config: Config, name: str) -> Iterator[str]:
    entry = config["benchmarks"][name]
    original = entry["queries_of"]
    if original not in config["benchmarks"]:
        yield _unknown("queries_of", original, "benchmarks", config)
    elif "queries_of" in config["benchmarks"][original]:
        yield f"queries_of: the queries of {original!r} are translated themselves; name what they come from"
    elif not all("en" in languages for languages in benchmark_languages(config, original)):
        yield f"queries_of: {original!r} has no English queries and passages"
    for code in entry["translate"]:
        if code != "en" and translator_entry(config, f"en-{code}") is None:
            yield f"translate: no translator for en-{code}; add translation.translators.en-{code}, or a default"


def _translation_faults(config: Config) -> Iterator[str]:
    translation = config["translation"]
    for code in translation["languages"]:
        if code not in config["languages"]["train"]:
            yield f"translation.languages: {code!r} is not among languages.train"
        for direction in (f"en-{code}", f"{code}-en"):
            if translator_entry(config, direction) is None:
                yield (
                    f"translation.languages: no translator for {direction}; add translation.translators.{direction} "
                    f"or translation.default, or take {code!r} out of translation.languages"
                )
    if (code := translation.get("paraphrases")) and code not in translation["languages"]:
        yield f"translation.paraphrases: {code!r} is not among translation.languages"
    used = used_directions(config)
    for direction, entry in translation["translators"].items():
        yield from _translator_faults(config, f"translation.translators.{direction}", entry, [direction], used)
    if "default" in translation:
        others = [direction for direction in used if direction not in translation["translators"]]
        yield from _translator_faults(config, "translation.default", translation["default"], others, others)


def _translator_faults(
    config: Config, where: str, entry: dict[str, Any], directions: list[str], used: list[str]
) -> Iterator[str]:
    """A translator that is not there, or was not made for a direction that it stands for."""
    trained = config["translator_training"]
    if "trained" in entry and entry["trained"] not in trained:
        yield f"{where}: {entry['trained']!r} is not among translator_training ({', '.join(trained)})"
    elif "trained" in entry:
        for direction in directions:
            if direction not in trained[entry["trained"]]["directions"]:
                yield f"{where}: translator_training.{entry['trained']} does not train {direction}"
    elif "path" in entry and set(directions) & set(used) and not (Path(entry["path"]) / "translator.json").exists():
        yield f"{where}: {entry['path']} is no translator folder (it has no translator.json)"


def _encoder_faults(config: Config) -> Iterator[str]:
    for name, entry in config["encoders"].items():
        if "path" in entry and not Path(entry["path"]).is_dir():
            yield f"encoders.{name}.path: there is no folder {entry['path']}"
        for key in WHEEL_KEYS:
            if "wheel" not in entry and key in entry:
                yield f"encoders.{name}.{key}: belongs to an encoder in a wheel, and the entry names no wheel"


def _file_faults(config: Config) -> Iterator[str]:
    """Files of published scores that are missing or hold faults: which tables there are hangs on them."""
    from polybatch.tables.published import read_published

    for path in listed(config["tables"].get("published") or []):
        if isinstance(path, str) and path:
            try:
                read_published([path])
            except DataError as error:
                yield f"tables.published: {f'{path}: {error.found}' if error.found else f'there is no file {path}'}"


def _option_faults(config: Config) -> Iterator[str]:
    told = set()
    for where, kind, values in _stage_options(config):
        try:
            kind.from_values(values)
        except ConfigError as error:
            # What an encoder or a benchmark takes from the study's options is told once.
            if (kind, error.found) not in told:
                yield f"{where}: {error.found}"
            told.add((kind, error.found))


def _figure_faults(config: Config) -> Iterator[str]:
    """Metrics of figures that no benchmark of the study is scored in: none of their figures would be drawn."""
    from polybatch.retrieval.metrics import is_metric
    from polybatch.tables.names import is_scored

    benchmarks = config["study"]["benchmarks"]
    for metric in config["tables"].get("figure_metrics", []):
        known = isinstance(metric, str) and is_metric(metric)
        if known and not any(is_scored(config, benchmark, metric) for benchmark in benchmarks):
            yield (
                f"tables.figure_metrics: {metric!r} is not scored on any benchmark of the study; "
                "add it to scoring.metrics (those of language bias also need the multilingual setting)"
            )


def _stage_options(config: Config) -> Iterator[tuple[str, type[Options], dict[str, Any]]]:
    """(config key, option class, values) of everything that a stage validates itself."""
    from polybatch.collect.cleaning import CleaningOptions
    from polybatch.collect.english import MixtureOptions, SplitOptions
    from polybatch.decontaminate.overlap import OverlapOptions
    from polybatch.embedding.embedder import EncodeOptions
    from polybatch.encoders.options import EncoderOptions, EncoderSource, WheelEntry
    from polybatch.retrieval.index import IndexOptions
    from polybatch.retrieval.judging import ScoreOptions
    from polybatch.tables.names import TableOptions
    from polybatch.training.options import TrainingOptions
    from polybatch.translation.accept import AcceptOptions
    from polybatch.translation.pretrained import TranslatorSource
    from polybatch.translation.train import TranslatorOptions
    from polybatch.translation.translator import DecodingOptions

    yield "split", SplitOptions, split_options(config)
    yield "cleaning", CleaningOptions, config["cleaning"]
    yield "mixture", MixtureOptions, config["mixture"]
    yield "decontamination", OverlapOptions, overlap_options(config)
    yield "training", TrainingOptions, config["training"]
    yield "translation.decoding", DecodingOptions, config["translation"]["decoding"]
    yield "translation.accept", AcceptOptions, config["translation"]["accept"]
    yield "encoding", EncodeOptions, without_shards(config["encoding"])
    yield "index", IndexOptions, {key: value for key, value in config["index"].items() if key != "factory"}
    yield "scoring", ScoreOptions, config["scoring"]
    yield "tables", TableOptions, config["tables"]
    for name in config["benchmarks"]:
        yield f"benchmarks.{name}.scoring", ScoreOptions, scoring_options(config, name)
    for name, entry in config["encoders"].items():
        if "scratch" in entry:
            yield f"encoders.{name}.scratch", EncoderOptions, entry["scratch"]
        if "wheel" in entry:
            yield f"encoders.{name}", WheelEntry, wheel_entry(config, name)
        yield f"encoders.{name}.options", EncoderSource, entry["options"]
        yield f"encoders.{name}.training", TrainingOptions, training_options(config, name)
        yield f"encoders.{name}.encoding", EncodeOptions, encoding_options(config, name)
    for direction, entry in config["translation"]["translators"].items():
        if "model" in entry:
            where = f"translation.translators.{direction}"
            yield where, TranslatorSource, {"quantization": entry["quantization"]}
    for name, entry in config["translator_training"].items():
        yield f"translator_training.{name}.options", TranslatorOptions, entry["options"]
