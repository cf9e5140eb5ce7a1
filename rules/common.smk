# What all rules share: the resolved configuration, paths, and small helpers. Logic lives in the package.
import hashlib
import json
import os
import re
import shlex
import sys

sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))
# Stages run as `python -m polybatch.<stage>`, also where the package is not installed.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(sys.path[0])}; ")

from polybatch.cluster import check as cluster
from polybatch.cluster import failures, polling
from polybatch.config import values as configuration
from polybatch.core.digest import code_digest
from polybatch.config.grid import runs
from polybatch.core.errors import ConfigError, PolybatchError
from polybatch.prefetch.requests import hub_requests, translator_models
from polybatch.study.resolve import resolve
from polybatch.tables.names import expected_files, report_entries
from polybatch.tables.options import TableOptions

# The files that Snakemake merged, the last of which wins: those of the command line go over config.yaml.
CONFIG_FILES = [file for file in workflow.configfiles if file not in workflow.overwrite_configfiles]
CONFIG_FILES += workflow.overwrite_configfiles
try:
    CONFIG = resolve(config, CONFIG_FILES)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

BASE = f"results/{CONFIG['collection']}"
STUDY = CONFIG["study"]["name"]
TABLES = f"results/tables/{STUDY}"
RUNS = {run.name: run for run in runs(CONFIG)}
TRAINED = [name for name, run in RUNS.items() if run.trained]
TRAIN_LANGS = CONFIG["languages"]["train"]
MT_LANGS = CONFIG["translation"]["languages"]
SHARDS = CONFIG["translation"]["shards"]

# Name -> {name, adapter, ...} of every source that is read, the one for validation among them.
SOURCES = {source["name"]: source for source in CONFIG["source"]}
VALIDATION = CONFIG.get("validation", {}).get("source")
ALL_SOURCES = {**SOURCES, **({VALIDATION: {"name": VALIDATION, **CONFIG["sources"][VALIDATION]}} if VALIDATION else {})}

BENCHMARKS = CONFIG["study"]["benchmarks"]
# Benchmarks whose text is kept out of the training data.
KEPT_OUT = list(dict.fromkeys([*BENCHMARKS, *CONFIG["decontamination"]["benchmarks"]]))
SPLIT_BENCHMARKS = [name for name, entry in CONFIG["benchmarks"].items() if "adapter" not in entry and "split" in entry]
DERIVED_BENCHMARKS = [name for name, entry in CONFIG["benchmarks"].items() if "queries_of" in entry]
ADAPTED_BENCHMARKS = [name for name, entry in CONFIG["benchmarks"].items() if "adapter" in entry]
DECONTAMINATED = CONFIG["decontamination"]["enabled"]

# Encoders of the hub, whose own training data may hold evaluation sets.
PRETRAINED = [name for name in CONFIG["study"]["encoders"] if "model" in CONFIG["encoders"][name]]

# On a cluster all that comes before the trainings is one job where a study takes minutes (profiles/slurm says so).
SMALL = os.environ.get("POLYBATCH_SMALL") == "1"
TRANSLATION_GROUP = "prepare" if SMALL else "translate"
TRAINING_TEXT_GROUP = "prepare" if SMALL else "training_text"
TRANSLATOR_GROUP = "prepare" if SMALL else None
# With the preparation, unless translated queries, which come between the two, are evaluation text.
DECONTAMINATION_GROUP = "decontaminate" if DERIVED_BENCHMARKS and not SMALL else "prepare"

# Run -> jobs among which its texts are divided to be embedded.
ENCODING_SHARDS = {name: configuration.encoding_shards(CONFIG, run.encoder) for name, run in RUNS.items()}
# On a cluster a training, its embeddings, indexes and scores are one job, unless embedding is divided.
EVALUATION_GROUP = "run" if set(ENCODING_SHARDS.values()) == {1} else "evaluate"

TRAINED_TRANSLATORS = CONFIG["translator_training"]
HUB_TRANSLATORS = translator_models(CONFIG)
HUB = hub_requests(CONFIG)
PUBLISHED = TableOptions.from_values(CONFIG["tables"]).published_files
try:
    TABLE_FILES = expected_files(CONFIG)
    REPORTED = report_entries(CONFIG)
except PolybatchError as error:
    raise WorkflowError(str(error)) from None

# Languages whose supplied translations are read: for training, and for benchmarks made from held-out text.
SUPPLIED_LANGS = list(TRAIN_LANGS)
for _name in SPLIT_BENCHMARKS:
    if _name in KEPT_OUT:
        SUPPLIED_LANGS += configuration.held_out_languages(CONFIG, _name)
SUPPLIED_LANGS = [lang for lang in dict.fromkeys(SUPPLIED_LANGS) if lang != "en"]

# Stages whose code the manifest records.
STAGES = ["collect.one_source", "collect.english", "collect.supplied", "decontaminate.contaminated", "translation.shard"]
STAGES += ["translation.accept", "pairs.parallel", "benchmarks.held_out", "benchmarks.adapted", "translation.queries"]
STAGES += ["decontaminate.evaluation_text", "translation.pretrained", "encoders.pretrained", "encoders.scratch"]
STAGES += ["training.train", "embedding.encode", "retrieval.index", "retrieval.score", "tables.make"]


def memory(megabytes, pretrained=None, beside=False):
    """What a job asks a cluster for: twice as much with every try, up to the profile's limits.

    `pretrained` is for runs whose encoder is large. Jobs that run `beside` others of their group share the limit.
    """
    most = int(os.environ.get("POLYBATCH_JOB_MEM_MB", sys.maxsize))
    most //= int(os.environ.get("POLYBATCH_JOB_CPUS", 1)) if beside else 1

    def asked(wildcards, attempt):
        encoder = vars(wildcards).get("trained", vars(wildcards).get("run", "")).split("/")[0]
        large = pretrained and "scratch" not in CONFIG["encoders"][encoder]
        first = pretrained if large else megabytes
        return max(first, min(first * 2 ** (attempt - 1), most))

    return asked


def minutes(time):
    """How long a cluster lets a job run: twice as long with every try."""
    return lambda wildcards, attempt: time * 2 ** (attempt - 1)


def one_of(names):
    """A pattern that matches these names and no other; one that matches nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    lang="[a-z]{2}",
    shard=r"\d+",
    encoder="[^/]+",
    source="[^/]+",
    record="[^/]+",
    bench="[^/]+",
    run=r"[^/]+/(untrained|[^/]+/n[^/]+/[^/]+/s\d+)",
    trained=r"[^/]+/[^/]+/n[^/]+/[^/]+/s\d+",
    direction="[a-z]{2}-[a-z]{2}",


def as_json(value):
    """One line of JSON for a command line; equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def source_file(name):
    """The file of a source: the user's own, a wheel, or the record of a hub repository."""
    source = ALL_SOURCES[name]
    if "path" in source:
        return source["path"]
    if source["adapter"] == "homeassistant":
        return f"results/sources/{source['requirement'].replace('==', '-')}-py3-none-any.whl"
    return f"{BASE}/hub/source--{name}.json"


def wheel_source(wheel):
    """The source whose wheel has this name."""
    return next(
        s for name, s in ALL_SOURCES.items() if source_file(name) == f"results/sources/{wheel}-py3-none-any.whl"
    )


def mined_passages(source):
    """The collected sources whose passages the questions of this one are looked up in."""
    return [f"{BASE}/collected/sources/{name}.parquet" for name in ALL_SOURCES[source].get("passages", [])]


def supplied_files(wildcards=None):
    """The supplied translations of all languages that are trained on."""
    return [f"{BASE}/supplied/{lang}.parquet" for lang in TRAIN_LANGS if lang != "en"]


def translated_files(wildcards=None):
    """The judged machine translations of all languages."""
    return [f"{BASE}/translated/{lang}.parquet" for lang in MT_LANGS]


def parallel_files(wildcards=None):
    """The training text, one file a language, in the config's order."""
    return [f"{BASE}/parallel/{lang}.parquet" for lang in TRAIN_LANGS]


def named(files):
    """As stages want files by language: en=path de=path ..."""
    return [f"{os.path.basename(path).partition('.')[0]}={path}" for path in files]


def contaminated(wildcards=None):
    """The pairs that overlap with evaluation text, unless decontamination is switched off."""
    return [f"{BASE}/decontamination/pairs.parquet"] if DECONTAMINATED else []


def evaluation_text(wildcards=None):
    """The index of all evaluation text, unless decontamination is switched off."""
    return [f"{BASE}/decontamination/text"] if DECONTAMINATED else []


def flag(name, files):
    """`--name file ...`, or nothing where there is no file."""
    return f"--{name} {' '.join(files)}" if files else ""


def benchmark_files(bench):
    """What a benchmark is on disk: a folder, or files by language where it is made from held-out text."""
    if bench not in SPLIT_BENCHMARKS:
        return [f"{BASE}/benchmarks/{bench}"]
    languages = configuration.held_out_languages(CONFIG, bench)
    sides = expand(
        "{base}/benchmarks/{bench}/{side}/{lang}.parquet",
        base=BASE,
        bench=bench,
        side=["queries", "corpus"],
        lang=languages,
    )
    return [*sides, f"{BASE}/benchmarks/{bench}/qrels.parquet"]


def model_folder(run):
    """The folder of a run's model; an untrained run is its encoder."""
    encoder = run.split("/")[0]
    return f"{BASE}/models/{run}" if run in TRAINED else f"{BASE}/encoders/{encoder}"


def embedding_jobs(run):
    """What is to be embedded with a run's model, as `polybatch.embedding.encode` wants it."""
    jobs = []
    for bench in BENCHMARKS:
        queries, passages = configuration.benchmark_languages(CONFIG, bench)
        jobs.append(
            {
                "benchmark": f"{BASE}/benchmarks/{bench}",
                "output": f"{BASE}/embeddings/{run}/{bench}",
                "query_languages": queries,
                "corpus_languages": passages,
            }
        )
    return as_json(jobs)


def translator_folder(direction):
    """The translator that the config names for a direction."""
    entry = configuration.translator_entry(CONFIG, direction)
    if "path" in entry:
        return entry["path"]
    return f"{BASE}/translators/{entry.get('trained') or configuration.translator_name(entry)}"


def folder_state(path):
    """Names, sizes and times of a folder's files, as a digest: the folder's own time does not follow them."""
    if not os.path.isdir(path):
        return ""
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    states = [(file, os.stat(file).st_size, os.stat(file).st_mtime_ns) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def own_translators_state(lang):
    """The state of the translator folders that the config names by their path."""
    entries = [configuration.translator_entry(CONFIG, direction) for direction in (f"en-{lang}", f"{lang}-en")]
    return [folder_state(entry["path"]) for entry in entries if "path" in entry]


def translator_strings(wildcards):
    """The strings of the languages, but English, of a translator's directions."""
    directions = TRAINED_TRANSLATORS[wildcards.translator]["directions"]
    languages = sorted({code for direction in directions for code in direction.split("-")} - {"en"})
    return [f"{BASE}/strings/{lang}.parquet" for lang in languages]


def query_translators(bench):
    """Language -> translator folder for the queries of a benchmark that are translated from English."""
    return {lang: translator_folder(f"en-{lang}") for lang in CONFIG["benchmarks"][bench]["translate"] if lang != "en"}


def table_output(name):
    """A file of the newest version; one that the report shows carries its caption."""
    path = f"{TABLES}/latest/{name}"
    return report(path, **REPORTED[name]) if name in REPORTED else path
