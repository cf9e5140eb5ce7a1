# Versioned tables and figures of the study, and one HTML file with them, their captions and their provenance.


# The tables, figures and manifest of the newest version. All are asked for: Snakemake does not ask whether the
# configuration has changed where it has no record of one of a job's outputs, as of a table that comes with the change.
rule tables:
    input:
        [PATHS.table(name) for name in TABLE_FILES],


# The report itself is Snakemake's; the rule below runs it on what the tables' rule made.
rule report:
    input:
        PATHS.report(),


# Writes results/tables/<study>/v<N>/ once, if anything changed, and copies it to latest/.
rule make_tables:
    input:
        [PATHS.scores(run, name) for run in RUNS for name in BENCHMARKS],
        [PATHS.per_query(run, name) for run in RUNS for name in BENCHMARKS],
        [PATHS.translated(lang, "json") for lang in MT_LANGS],
        MODELS.values(),
        PATHS.collected_files(),
        PATHS.parallel_files().values(),
        PATHS.benchmark_files(*BENCHMARKS),
        [PATHS.supplied(lang, "json") for lang in PATHS.supplied_files()],
        collected=PATHS.collected("json") if PATHS.collected_files() else [],
        contamination=PATHS.contaminated("json") if PATHS.contaminated_files() else [],
        exposure=PATHS.exposure() if PRETRAINED else [],
        published=lambda w: [path for path in PUBLISHED if os.path.exists(path)],
    output:
        [table_output(name) for name in TABLE_FILES],
    log:
        PATHS.log("tables", STUDY),
    benchmark:
        PATHS.timing("tables", STUDY)
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(60),
    params:
        code=[code_digest("tables.inputs"), code_digest("tables.make")],
        config=lambda w: as_json(CONFIG),
        digests=lambda w: as_json(STAGES),
        base=lambda w: PATHS.base,
        collected=lambda w, input: flag("collected", input.collected),
        contamination=lambda w, input: flag("contamination", input.contamination),
        exposure=lambda w, input: flag("exposure", input.exposure),
        timings=PATHS.timings(),
        root=lambda w: PATHS.tables(),
    shell:
        "work=$(mktemp -d) && trap 'rm -rf \"$work\"' EXIT && "
        "printf '%s' {params.config:q} > \"$work/config.json\" && "
        "python -m polybatch.tables.inputs --config {params.config:q} --base {params.base:q} "
        '--output "$work/inputs.json" 2> {log:q} && '
        'python -m polybatch.tables.make --config "$work/config.json" --inputs "$work/inputs.json" '
        "{params.collected:q} {params.contamination:q} {params.exposure:q} --timings {params.timings:q} "
        "--code-digests {params.digests:q} --root {params.root:q} 2>> {log:q}"


# Snakemake's report of the study.
rule make_report:
    input:
        rules.tables.input,
    output:
        PATHS.report(),
    log:
        PATHS.log("report", STUDY),
    localrule: True
    conda:
        "../envs/tables.yaml"
    params:
        config=lambda w: as_json(config),
        snakefile=lambda w: workflow.main_snakefile,
    shell:
        # The inner snakemake reads the finished jobs' records only, so it needs no lock.
        "overlay=$(mktemp --suffix .json) && trap 'rm -f \"$overlay\"' EXIT && "
        "printf '%s' {params.config:q} > \"$overlay\" && "
        'snakemake --snakefile {params.snakefile:q} --configfile "$overlay" --nolock --cores 1 '
        "--report {output:q} -- tables > {log:q} 2>&1"
