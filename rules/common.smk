# What all rules share: the resolved configuration, where files lie, and small helpers. Logic lives in the package.
import json
import os
import re
import shlex
import sys

sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))

from snakemake.logging import logger

from polybatch.cluster import check as cluster
from polybatch.cluster import events, failures, polling
from polybatch.config import values as configuration
from polybatch.config.grid import NONE, WHOLE, embedded, models, runs
from polybatch.config.options import ValidationSection
from polybatch.config.paths import HELP_PACKAGES, WHEELS_FOLDER, record_name, wheel, wheel_log
from polybatch.config.study_paths import StudyPaths
from polybatch.core import digest, leftovers
from polybatch.core.cores import machine_memory_mb, threads_of
from polybatch.core.errors import ConfigError, PolybatchError
from polybatch.core.folder_state import folder_state
from polybatch.posthoc.options import ProjectionOptions
from polybatch.prefetch.requests import hub_requests, trained_languages, translator_models, wheels
from polybatch.retrieval import faiss_builds
from polybatch.study import job_memory
from polybatch.study.resolve import resolve
from polybatch.tables.names import SUMMARY, expected_files, report_entries
from polybatch.tables.options import TableOptions

if set(f"{os.pathsep}{{}}") & set(sys.path[0]):
    # Python divides PYTHONPATH at the one, and Snakemake takes the others in the path of an environment for wildcards.
    raise WorkflowError(f"The project's folder must not have any of {os.pathsep} {{ }} in its path: {workflow.basedir}")
# Stages run as `python -m polybatch.<topic>.<stage>`, also where the package is not installed. A cluster's modules put
# packages into the path that is there.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(sys.path[0])}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; ")

# The files that Snakemake merged, the last of which wins: those of the command line go over config.yaml.
CONFIG_FILES = [file for file in workflow.configfiles if file not in workflow.overwrite_configfiles]
CONFIG_FILES += workflow.overwrite_configfiles
try:
    CONFIG = resolve(config, CONFIG_FILES)
    PATHS = StudyPaths.of(CONFIG)
    HUB = hub_requests(CONFIG)
    WHEELS = wheels(CONFIG)
    HUB_TRANSLATORS = translator_models(CONFIG)
    TABLE_FILES = expected_files(CONFIG)
    REPORTED = report_entries(CONFIG)
except PolybatchError as error:
    events.tell_refusal(workflow, error)
    raise WorkflowError(str(error)) from None

STUDY = CONFIG["study"]["name"]
RUNS = {run.name: run for run in runs(CONFIG)}
# These, and the runs that they are made of: `s1` of `s1-w0.5`, that of `s1-w0.5-lir`.
ALL_RUNS = {run.name: run for run in [*models(CONFIG), *embedded(CONFIG)]}
# Run -> the folder of its model.
MODELS = PATHS.model_folders()
TRAININGS = [name for name, run in ALL_RUNS.items() if run.trained and not run.before]
# Mixtures of the weights before and after a training, and projections of embeddings, which cost none.
MIXTURES = [name for name, run in ALL_RUNS.items() if run.share != WHOLE and run.projection == NONE]
PROJECTED = [name for name, run in ALL_RUNS.items() if run.projection != NONE]
# The means that these are estimated from, of the runs before them.
MEANS = list(dict.fromkeys(file for name in PROJECTED for file in PATHS.means_files(ALL_RUNS[name])))
TRAIN_LANGS = CONFIG["languages"]["train"]
MT_LANGS = CONFIG["translation"]["languages"]
SHARDS = CONFIG["translation"]["shards"]

# Name -> {name, adapter, ...} of every source that is read, the one for validation among them.
ALL_SOURCES = PATHS.sources_read()
VALIDATION = PATHS.validation_source()

BENCHMARKS = CONFIG["study"]["benchmarks"]
# Benchmarks whose text is kept out of the training data.
KEPT_OUT = list(dict.fromkeys([*BENCHMARKS, *CONFIG["decontamination"]["benchmarks"]]))
SPLIT_BENCHMARKS = [name for name in CONFIG["benchmarks"] if PATHS.is_held_out(name)]
DERIVED_BENCHMARKS = [name for name, entry in CONFIG["benchmarks"].items() if "queries_of" in entry]
ADAPTED_BENCHMARKS = [name for name, entry in CONFIG["benchmarks"].items() if "adapter" in entry]

SCRATCH_ENCODERS = [name for name, entry in CONFIG["encoders"].items() if "scratch" in entry]
WHEEL_ENCODERS = [name for name, entry in CONFIG["encoders"].items() if "wheel" in entry]
# Encoders of the hub, also out of a wheel, whose own training data may hold evaluation sets.
PRETRAINED = [name for name in configuration.encoders_read(CONFIG) if configuration.hub_model(CONFIG, name)]
TRAINED_TRANSLATORS = CONFIG["translator_training"]
PUBLISHED = TableOptions.from_values(CONFIG["tables"]).published_files

# On a cluster all that comes before the trainings is one job where a study takes minutes (profiles/slurm says so).
SMALL = os.environ.get("POLYBATCH_SMALL") == "1"
TRANSLATION_GROUP = "prepare" if SMALL else "translate"
TRAINING_TEXT_GROUP = "prepare" if SMALL else "training_text"
TRANSLATOR_GROUP = "prepare" if SMALL else None
# With the preparation, unless translated queries, which come between the two, are evaluation text.
DECONTAMINATION_GROUP = "decontaminate" if DERIVED_BENCHMARKS and not SMALL else "prepare"

# Threads of one training or embedding: up to 2 they were measured to help, beyond that nothing was.
MOST_THREADS = 8

# What jobs with pretrained encoders ask for, in MB: embeddings and mixtures by encoder.
LARGE_ENCODERS = list(dict.fromkeys(run.encoder for run in ALL_RUNS.values()))
LARGE_ENCODERS = [name for name in LARGE_ENCODERS if "scratch" not in CONFIG["encoders"][name]]
EMBEDDING_MB = {name: job_memory.embedding_mb(CONFIG, name) for name in LARGE_ENCODERS}
MIXING_MB = {name: job_memory.mixing_mb(CONFIG, name) for name in LARGE_ENCODERS}

# Run -> jobs among which its texts are divided to be embedded.
ENCODING_SHARDS = {
    run.name: configuration.encoding_shards(CONFIG, run.encoder) for run in embedded(CONFIG) if run.projection == NONE
}
# On a cluster a training, its embeddings, indexes and scores are one job, unless embedding is divided.
EVALUATION_GROUP = "run" if set(ENCODING_SHARDS.values()) == {1} else "evaluate"

# Languages whose supplied translations are read: for training, and for benchmarks made from held-out text.
SUPPLIED_LANGS = list(TRAIN_LANGS)
for _name in SPLIT_BENCHMARKS:
    if _name in KEPT_OUT:
        SUPPLIED_LANGS += configuration.held_out_languages(CONFIG, _name)
SUPPLIED_LANGS = [lang for lang in dict.fromkeys(SUPPLIED_LANGS) if lang != "en"]

# All languages whose text is read from a source: also those that held-out text must have, and those of translators.
SOURCE_LANGS = list(
    dict.fromkeys([*SUPPLIED_LANGS, *CONFIG["split"].get("parallel_in", []), *trained_languages(CONFIG)])
)

# Stage -> digest of its code. Every call of `code_digest` below adds to it, and the manifest records it whole.
STAGES = {}


wildcard_constraints:
    lang="[a-z]{2}",
    shard=r"\d+",
    encoder="[^/]+",
    source="[^/]+",
    record="[^/]+",
    bench="[^/]+",
    run=r"[^/]+/(untrained(-[^/]+)?|[^/]+/n[^/]+/[^/]+/s\d+(-[^/]+)?)",
    trained=r"[^/]+/[^/]+/n[^/]+/[^/]+/s\d+",
    direction="[a-z]{2}-[a-z]{2}",


def code_digest(stage):
    """A parameter of every rule: a stage whose code changed re-runs."""
    STAGES[stage] = digest.code_digest(stage)
    return STAGES[stage]


def encoder_of(wildcards):
    """The encoder of the run that a job is about."""
    return vars(wildcards).get("trained", vars(wildcards).get("run", "")).split("/")[0]


def is_large(wildcards):
    """Whether a job computes with a pretrained encoder: that of its run, or the one that teaches its training."""
    run = ALL_RUNS.get(vars(wildcards).get("trained"))
    teacher = configuration.teacher_of(CONFIG, run) if run else None
    return any("scratch" not in CONFIG["encoders"][name] for name in (encoder_of(wildcards), teacher) if name)


def shared(jobs, megabytes):
    """Threads of each of several equal jobs: the machine's cores, shared by as many as run at a time.

    `jobs` is their number, `megabytes` the most that one of them asks for: where two fit the memory, two run side by
    side, a thread each, rather than one on two threads. The memory is the machine's, or what `--resources mem_mb=` says,
    to which Snakemake keeps. `--set-threads` overrules all.
    """
    # `workflow.cores` refuses to be read where none are given, as for a dry run or before Snakemake says so itself.
    given = getattr(workflow, "_cores", None)
    here = given if isinstance(given, int) else os.cpu_count()
    limit = (workflow.resource_settings.resources or {}).get("mem_mb")
    limit = getattr(limit, "value", limit)
    memory_mb = limit if isinstance(limit, int) else machine_memory_mb()
    return threads_of(here, memory_mb, jobs=max(jobs, 1), job_memory_mb=megabytes, most=MOST_THREADS)


def cores(jobs, pretrained):
    """Threads of a job with a pretrained encoder (`shared`); a job of a cluster has its CPUs to itself.

    An encoder that is made here is too small for a second thread to help.
    """
    alone = int(os.environ.get("POLYBATCH_JOB_CPUS", 0))
    number = min(alone, MOST_THREADS) if alone else shared(jobs, pretrained)
    return lambda wildcards: number if is_large(wildcards) else 1


def has_card(rule):
    """Whether a profile, or `--set-resources`, gives the jobs of a rule a card."""
    asked = (workflow.resource_settings.overwrite_resources or {}).get(rule) or {}
    number = asked["gpu"] if "gpu" in asked else 0
    return getattr(number, "value", number) not in (0, "0")


def memory(megabytes, pretrained=None, beside=False):
    """What a job asks a cluster for: twice as much with every try, up to the profile's limits.

    `pretrained` is for runs whose encoder is large: so many, or a function of wildcards. What is estimated there is a
    bound, so a limit below it is taken to be enough. Jobs that run `beside` others of their group share the limit.
    """
    most = int(os.environ.get("POLYBATCH_JOB_MEM_MB", sys.maxsize))
    most //= int(os.environ.get("POLYBATCH_JOB_CPUS", 1)) if beside else 1

    def asked(wildcards, attempt):
        first = megabytes
        if pretrained and is_large(wildcards):
            first = pretrained(wildcards) if callable(pretrained) else pretrained
            first = min(first, max(most, job_memory.UNKNOWN_MB))
        return max(first, min(first * 2 ** (attempt - 1), most))

    return asked


def minutes(time):
    """How long a cluster lets a job run: twice as long with every try."""
    return lambda wildcards, attempt: time * 2 ** (attempt - 1)


def one_of(names):
    """A pattern that matches these names and no other; one that matches nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def as_json(value):
    """One line of JSON for a command line; equal values give equal text.

    In `params` text of the config stands in a lambda: Snakemake takes {braces} in any other for wildcards.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def flag(name, values):
    """The words `--name value ...` of a command line, or none where there is no value. A command quotes them (`:q`)."""
    words = [values] if isinstance(values, str) else list(values)
    return [f"--{name}", *words] if words else []


def named(files):
    """As stages want files by language: en=path de=path ..."""
    return [f"{lang}={path}" for lang, path in files.items()]


def folders(files):
    """The folder of each file."""
    return [os.path.dirname(path) for path in files]


def with_state(code, found):
    """`code_digest` with what else a job hangs on and Snakemake does not see: `found` gives it by the wildcards.

    A function of `input` would be of no use: Snakemake takes what it gives for derived from the input, and does not
    keep it. Where there is nothing to add, the digest stays as it is, and finished jobs stay finished.
    """

    def stated(wildcards):
        states = [state for state in found(wildcards) if state]
        return [code, *states] if states else code

    return stated


def own_translators_state(lang):
    """The state of the translator folders that the config names by their path."""
    return [folder_state(path) for path in PATHS.own_translators(lang)]


def split_unlike_name(benchmark):
    """The split that a benchmark is made from, unless it has its name, as `test` has."""
    return [name for name in [CONFIG["benchmarks"][benchmark]["split"]] if name != benchmark]


def unusual_validation_pairs():
    """How many pairs are taken of a source of validation pairs, unless that is the default."""
    if not VALIDATION:
        return []
    taken = CONFIG["validation"]["max_pairs"]
    return [taken] if taken != ValidationSection().max_pairs else []


def sources_state(wildcards):
    """The state of the user's own folders among the sources of the training text."""
    return [folder_state(path) for path in PATHS.source_files()]


def table_output(name):
    """A file of the newest version; one that the report shows carries its caption."""
    path = PATHS.table(name)
    return report(path, **REPORTED[name]) if name in REPORTED else path
