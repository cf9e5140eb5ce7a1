"""Reads a configuration: fills defaults, finds every fault at once, and spells out the grid of runs.

inputs: config.yaml with its overlays, as Snakemake merged them
outputs: a resolved plain dictionary (`resolve`), and the runs it asks for (`runs`)
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.contracts import SETTINGS
from polybatch.errors import ConfigError
from polybatch.languages import LANGUAGES
from polybatch.options import Options

SCHEMA = Path(__file__).parents[1] / "schemas" / "config.schema.yaml"

Config = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One grid point: an encoder trained with one sampling, on so many pairs, with one seed.

    `name` is its path below models/, embeddings/ and scores/.
    """

    encoder: str
    sampling: str
    alpha: float | None
    num_pairs: str
    languages: tuple[str, ...]
    seed: int

    @property
    def trained(self) -> bool:
        return self.sampling != "untrained"

    @property
    def name(self) -> str:
        if not self.trained:
            return f"{self.encoder}/untrained"
        sampling = self.sampling if self.alpha is None else f"{self.sampling}-a{self.alpha:g}"
        return f"{self.encoder}/{sampling}/n{self.num_pairs}/{'+'.join(self.languages)}/s{self.seed}"

    @property
    def grid(self) -> dict[str, Any]:
        """The columns that score files carry (contracts.GRID_COLUMNS)."""
        return {
            "encoder": self.encoder,
            "sampling": self.sampling,
            "alpha": self.alpha,
            "num_pairs": self.num_pairs,
            "languages": "+".join(self.languages),
            "seed": self.seed,
        }


def runs(config: Config) -> list[Run]:
    """All runs of a resolved config, each once, in the config's order; the untrained floor first."""
    study, languages = config["study"], tuple(config["languages"]["train"])
    grid: list[Run] = []
    for encoder in study["encoders"]:
        if study["untrained"]:
            grid.append(Run(encoder, "untrained", None, "0", (), -1))
        for num_pairs in study["num_pairs"]:
            for entry in study["runs"]:
                for alpha in entry.get("alphas", [None]):
                    grid += [
                        Run(encoder, entry["sampling"], alpha, str(num_pairs), languages, seed)
                        for seed in entry["seeds"]
                    ]
    return list(dict.fromkeys(grid))


def resolve(config: Config) -> Config:
    """The config with its defaults filled in and its source looked up.

    Raises:
        ConfigError: Once, with all faults: unknown or missing keys, wrong types and values, unknown languages,
            samplings, encoders, benchmarks, and languages without a translator.
    """
    schema = _schema()
    faults = list(_schema_faults(config, schema))
    resolved = copy.deepcopy(config)
    _fill_defaults(resolved, schema, schema)
    faults += _semantic_faults(resolved, shape_is_sound=not faults)
    if faults:
        raise ConfigError(
            f"The configuration has {len(faults)} fault(s):\n"
            + "\n".join(f"  {i}. {f}" for i, f in enumerate(faults, 1)),
            remedy="correct config.yaml or the overlay given with --configfile; docs/config.md explains every key",
        )
    resolved["source"] = _resolve_source(resolved)
    resolved.setdefault("collection", resolved["source"]["name"])
    return resolved


def _schema() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(SCHEMA.read_text("utf-8"))


def _schema_faults(config: Config, schema: dict[str, Any]) -> Iterator[str]:
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
    elif error.validator == "oneOf" and isinstance(error.instance, dict):
        nested = [e for e in error.context if e.validator != "type"] or list(error.context)
        for inner in nested:
            yield from (f"{where}: {text}" for text in _spell(inner))
    elif error.validator == "contains":
        yield f"{where}: must contain {error.validator_value.get('const')!r}"
    else:
        yield f"{where}: {error.message}"


def _fill_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Fills `default`s of the schema into `value`, in place and in depth."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for option in schema.get("oneOf", []):
        if option.get("type") == "object" and isinstance(value, dict):
            _fill_defaults(value, option, root)
    if not isinstance(value, dict):
        return
    for name, child in schema.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = copy.deepcopy(child["default"])
        if name in value:
            _fill_defaults(value[name], child, root)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for child_value in value.values():
            _fill_defaults(child_value, extra, root)


def _semantic_faults(config: Config, *, shape_is_sound: bool) -> list[str]:
    """What the schema cannot see. With a fault in its shape, the parts that can still be read are checked."""
    faults: list[str] = []
    for check in (_language_faults, _study_faults, _translation_faults, _option_faults, _source_faults):
        try:
            faults += check(config)
        except (KeyError, TypeError, AttributeError, ValueError):
            if shape_is_sound:
                raise
    return faults


def _source_faults(config: Config) -> Iterator[str]:
    if isinstance(config["source"], str) and config["source"] not in config["sources"]:
        yield (
            f"source: {config['source']!r} is not among sources ({', '.join(config['sources'])}); "
            "for a file of your own write source: {path: ...}"
        )


def _language_faults(config: Config) -> Iterator[str]:
    lists = {
        "languages.train": config["languages"]["train"],
        "languages.evaluate": config["languages"]["evaluate"],
        "split.parallel_in": config["split"].get("parallel_in", []),
        "translation.languages": config["translation"]["languages"],
    }
    for where, codes in lists.items():
        for code in codes:
            if code not in LANGUAGES:
                yield f"{where}: unknown language {code!r}; known ISO 639-1 codes: {' '.join(LANGUAGES)}"


def _study_faults(config: Config) -> Iterator[str]:
    study = config["study"]
    for kind in ("encoders", "benchmarks"):
        for name in study[kind]:
            if name not in config[kind]:
                yield f"study.{kind}: {name!r} is not among {kind} ({', '.join(config[kind])})"
    for i, entry in enumerate(study["runs"]):
        if entry["sampling"] == "hybrid" and "alphas" not in entry:
            yield f"study.runs.{i}: hybrid needs alphas, for example alphas: [0.5]"
        if entry["sampling"] != "hybrid" and "alphas" in entry:
            yield f"study.runs.{i}: alphas belong to hybrid, not to {entry['sampling']}"
    if len(config["languages"]["evaluate"]) < 2:
        for name in study["benchmarks"]:
            chosen = config["benchmarks"].get(name, {}).get("settings") or config["scoring"].get("settings") or SETTINGS
            if set(chosen) - {"monolingual"}:
                yield (
                    f"languages.evaluate: {name} has one language, so only the monolingual setting can be scored; "
                    "add a language, or write scoring: {settings: [monolingual]}"
                )
    if len(config["languages"]["train"]) < 2:
        for i, entry in enumerate(study["runs"]):
            if entry["sampling"] in ("x-y", "hybrid"):
                yield f"study.runs.{i}: {entry['sampling']} needs two training languages or more"


def _translation_faults(config: Config) -> Iterator[str]:
    translation, trained = config["translation"], config["translator_training"]
    for code in translation["languages"]:
        if code not in config["languages"]["train"]:
            yield f"translation.languages: {code!r} is not among languages.train"
        for direction in (f"en-{code}", f"{code}-en"):
            if direction not in translation["translators"]:
                yield (
                    f"translation.languages: no translator for {direction}; "
                    f"add translation.translators.{direction} or take {code!r} out of translation.languages"
                )
    for direction, entry in translation["translators"].items():
        where = f"translation.translators.{direction}"
        if "trained" in entry:
            if entry["trained"] not in trained:
                yield f"{where}: {entry['trained']!r} is not among translator_training ({', '.join(trained)})"
            elif direction not in trained[entry["trained"]]["directions"]:
                yield f"{where}: translator_training.{entry['trained']} does not train {direction}"
        elif direction.replace("en-", "").replace("-en", "") in translation["languages"]:
            folder = Path(entry["path"])
            if not (folder / "translator.json").exists():
                yield f"{where}: {folder} is no translator folder (it has no translator.json)"


def _option_faults(config: Config) -> Iterator[str]:
    for where, kind, values in _stage_options(config):
        try:
            kind.from_values(values)
        except ConfigError as error:
            yield f"{where}: {error.found}"


def _stage_options(config: Config) -> Iterator[tuple[str, type[Options], dict[str, Any]]]:
    """(config key, option class, values) of everything that a stage validates itself."""
    from polybatch.accept import AcceptOptions
    from polybatch.collect import SplitOptions
    from polybatch.encode import EncodeOptions
    from polybatch.encoder import EncoderOptions
    from polybatch.index import IndexOptions
    from polybatch.score import ScoreOptions
    from polybatch.table_files import TableOptions
    from polybatch.train import TrainingOptions
    from polybatch.train_translator import TranslatorOptions
    from polybatch.translator import DecodingOptions

    yield "split", SplitOptions, split_options(config)
    yield "training", TrainingOptions, config["training"]
    yield "translation.decoding", DecodingOptions, config["translation"]["decoding"]
    yield "translation.accept", AcceptOptions, config["translation"]["accept"]
    yield "encoding", EncodeOptions, config["encoding"]
    yield "index", IndexOptions, {key: value for key, value in config["index"].items() if key != "factory"}
    yield "scoring", ScoreOptions, config["scoring"]
    yield "tables", TableOptions, config["tables"]
    for name, entry in config["encoders"].items():
        yield f"encoders.{name}.scratch", EncoderOptions, entry["scratch"]
    for name, entry in config["translator_training"].items():
        yield f"translator_training.{name}.options", TranslatorOptions, entry["options"]


def split_options(config: Config) -> dict[str, Any]:
    """The `split` entry without the languages, which are no option of the stage."""
    return {key: value for key, value in config["split"].items() if key != "parallel_in"}


def _resolve_source(config: Config) -> dict[str, Any]:
    """The source as the stages take it: {name, adapter, ...}."""
    source = config["source"]
    if isinstance(source, str):
        return {"name": source, **config["sources"][source]}
    return {"name": Path(source["path"]).name.split(".")[0].lower(), **source, "adapter": "local"}
