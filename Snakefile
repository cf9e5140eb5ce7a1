"""Polybatch: one retriever for many languages, from raw pairs to versioned tables.

Targets, in this order: plan, prefetch, collect, benchmarks, decontaminate, translators, translate, train, index, score,
tables (the default), report.
"""

from snakemake.utils import min_version

min_version("9.27")


# A study that says `standalone: true` takes nothing from config.yaml, one that says `over: FILE` lies over that
# standalone study; any other file is an overlay of config.yaml.
if isinstance(config.get("over"), str):

    configfile: config["over"]

    if not config.get("standalone"):
        raise WorkflowError(
            f"over: {config['over']} is no study with `standalone: true`; leave `over` out, and name both files"
        )

elif not config.get("standalone"):

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/study.smk"
include: "rules/prefetch.smk"
include: "rules/collect.smk"
include: "rules/benchmarks.smk"
include: "rules/decontaminate.smk"
include: "rules/translation.smk"
include: "rules/pairs.smk"
include: "rules/encoders.smk"
include: "rules/training.smk"
include: "rules/posthoc.smk"
include: "rules/embedding.smk"
include: "rules/retrieval.smk"
include: "rules/tables.smk"


localrules:
    all,
    prefetch,
    collect,
    benchmarks,
    decontaminate,
    translators,
    translate,
    train,
    index,
    score,
    tables,
    report,
    plan,


# Seconds of work for a small study, so they are not submitted but done where Snakemake runs, as the report is.
if SMALL:

    localrules:
        make_tables,


# The tables of the configured study.
rule all:
    default_target: True
    input:
        rules.tables.input,


# What becomes of each job is recorded, however quiet Snakemake is told to be.
events.attach(workflow)


# What is missing is told before the first job: FAISS, or what a cluster would refuse.
onstart:
    try:
        faiss_builds.require_for(workflow)
        cluster.check(workflow)
        polling.look_in_time(workflow)
    except PolybatchError as error:
        events.tell_refusal(workflow, error)
        raise WorkflowError(str(error)) from None
    if found := str(leftovers.clear([PATHS.base, PATHS.tables(), WHEELS_FOLDER])):
        logger.warning(found)


# What failed, why, and what to do. The Snakemake inside of a cluster's job leaves that to the one that submitted it.
onerror:
    if not workflow.remote_exec:
        failures.tell(log)


# Where to look, told by a run that made tables.
onsuccess:
    if not workflow.remote_exec and events.began("make_tables"):
        print(f"\nWhat came out: {PATHS.table(SUMMARY)}, or `polybatch show --study {STUDY}`", file=sys.stderr)
