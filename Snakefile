"""Polybatch: one retriever for many languages, from raw pairs to versioned tables.

Targets: fetch, collect, translators, translate, train, index, score, tables (the default), report.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/fetch.smk"
include: "rules/collect.smk"
include: "rules/translators.smk"
include: "rules/benchmarks.smk"
include: "rules/decontaminate.smk"
include: "rules/translate.smk"
include: "rules/train.smk"
include: "rules/index.smk"
include: "rules/evaluate.smk"
include: "rules/tables.smk"
include: "rules/report.smk"


localrules:
    all,
    fetch,
    collect,
    translators,
    translate,
    train,
    index,
    score,
    tables,
    report,


# The tables of the configured study.
rule all:
    default_target: True
    input:
        rules.tables.input,
