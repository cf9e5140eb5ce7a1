# Versioned tables and figures of the study.


# The tables, figures and manifest of the newest version.
rule tables:
    input:
        f"{TABLES}/latest/VERSION",


# Writes results/tables/<study>/v<N>/ once, if anything changed, and copies it to latest/.
rule make_tables:
    input:
        scores=expand("{base}/scores/{run}/{bench}.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),
        per_query=expand("{base}/scores/{run}/{bench}.per_query.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),
        translations=expand("{base}/translated/{lang}.json", base=BASE, lang=MT_LANGS),
        models=[model_folder(run) for run in TRAINED],
        data=[
            f"{BASE}/collected/en.parquet",
            *parallel_files(),
            *expand("{base}/benchmarks/{bench}/qrels.parquet", base=BASE, bench=BENCHMARKS),
            *expand(
                "{base}/benchmarks/{bench}/{side}/{lang}.parquet",
                base=BASE,
                bench=BENCHMARKS,
                side=["queries", "corpus"],
                lang=EVAL_LANGS,
            ),
        ],
    output:
        [table_output(name) for name in expected_files(CONFIG)],
    log:
        f"{BASE}/logs/tables/{STUDY}.log",
    benchmark:
        f"{BASE}/timings/tables/{STUDY}.tsv"
    conda:
        "../envs/tables.yaml"
    params:
        code=code_digest("tables"),
        config=as_json(CONFIG),
        digests=as_json({stage: code_digest(stage) for stage in STAGES}),
        compositions=lambda w, input: [f"{model}/composition.json" for model in input.models],
        timings=f"{BASE}/timings",
        root=lambda w, output: os.path.dirname(os.path.dirname(output[0])),
    shell:
        "python -m polybatch.tables --config {params.config:q} --scores {input.scores} "
        "--per-query {input.per_query} --translations {input.translations} "
        "--compositions {params.compositions} --timings {params.timings} "
        "--code-digests {params.digests:q} --data {input.data} --root {params.root} 2> {log}"
