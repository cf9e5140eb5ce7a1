# The scores of every run on every benchmark.


# The scores of the study.
rule score:
    input:
        expand("{base}/scores/{run}/{bench}.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),


# Searches all settings at once and scores them: means, per-query values, and the top of every ranked list.
rule score_run:
    input:
        embeddings=f"{BASE}/embeddings/{{run}}/{{bench}}/embeddings.json",
        index=f"{BASE}/index/{{run}}/{{bench}}/index.json",
        benchmark=lambda w: benchmark_files(w.bench),
    output:
        scores=f"{BASE}/scores/{{run}}/{{bench}}.parquet",
        per_query=f"{BASE}/scores/{{run}}/{{bench}}.per_query.parquet",
        ranked=f"{BASE}/runs/{{run}}/{{bench}}.parquet",
    log:
        f"{BASE}/logs/score/{{run}}/{{bench}}.log",
    benchmark:
        f"{BASE}/timings/score/{{run}}/{{bench}}.tsv"
    conda:
        "../envs/retrieve.yaml"
    params:
        code=code_digest("score"),
        grid=lambda w: as_json(RUNS[w.run].grid),
        options=lambda w: as_json(configuration.scoring_options(CONFIG, w.bench)),
        embeddings=lambda w, input: os.path.dirname(input.embeddings),
        index=lambda w, input: os.path.dirname(input.index),
        benchmark=f"{BASE}/benchmarks/{{bench}}",
    shell:
        "python -m polybatch.score --embeddings {params.embeddings} --index {params.index} "
        "--benchmark {params.benchmark} --grid {params.grid:q} --options {params.options:q} "
        "--scores {output.scores} --per-query {output.per_query} --run {output.ranked} 2> {log}"
