# Versioned tables and figures of the study.


# The tables, figures and manifest of the newest version.
rule tables:
    input:
        f"{TABLES}/latest/VERSION",


# Writes results/tables/<study>/v<N>/ once, if anything changed, and copies it to latest/.
rule make_tables:
    input:
        expand("{base}/scores/{run}/{bench}.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),
        expand("{base}/scores/{run}/{bench}.per_query.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),
        expand("{base}/translated/{lang}.json", base=BASE, lang=MT_LANGS),
        [model_folder(run) for run in RUNS],
        f"{BASE}/collected/en.parquet",
        parallel_files,
        [path for bench in BENCHMARKS for path in benchmark_files(bench)],
        collected=f"{BASE}/collected/en.json",
        contamination=f"{BASE}/decontamination/pairs.json" if DECONTAMINATED else [],
        exposure=f"{BASE}/decontamination/exposure.json" if PRETRAINED else [],
        published=[path for path in PUBLISHED if os.path.exists(path)],
    output:
        [table_output(name) for name in TABLE_FILES],
    log:
        f"{BASE}/logs/tables/{STUDY}.log",
    benchmark:
        f"{BASE}/timings/tables/{STUDY}.tsv"
    conda:
        "../envs/tables.yaml"
    resources:
        mem_mb=memory(3000),
        runtime=minutes(60),
    params:
        code=[code_digest("tables.inputs"), code_digest("tables.make")],
        config=fixed_json(CONFIG),
        digests=fixed_json({stage: code_digest(stage) for stage in STAGES}),
        base=lambda w, input: os.path.dirname(os.path.dirname(input.collected)),
        contamination=lambda w, input: f"--contamination {input.contamination}" if input.contamination else "",
        exposure=lambda w, input: f"--exposure {input.exposure}" if input.exposure else "",
        timings=f"{BASE}/timings",
        root=lambda w, output: os.path.dirname(os.path.dirname(output[0])),
    shell:
        "work=$(mktemp -d) && trap 'rm -rf \"$work\"' EXIT && "
        "printf '%s' {params.config:q} > \"$work/config.json\" && "
        "python -m polybatch.tables.inputs --config {params.config:q} --base {params.base} "
        '--output "$work/inputs.json" 2> {log} && '
        'python -m polybatch.tables.make --config "$work/config.json" --inputs "$work/inputs.json" '
        "--collected {input.collected} {params.contamination} {params.exposure} --timings {params.timings} "
        "--code-digests {params.digests:q} --root {params.root} 2>> {log}"
