# The scores of every run on every benchmark.


# The scores of the study.
rule score:
    input:
        expand("{base}/scores/{run}/{bench}.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),


# Searches all settings at once and scores them: means, per-query values, and the top of every ranked list.
rule score_run:
    input:
        embeddings=expand("{base}/embeddings/{{run}}/{bench}/embeddings.json", base=BASE, bench=BENCHMARKS),
        index=expand("{base}/index/{{run}}/{bench}/index.json", base=BASE, bench=BENCHMARKS),
        benchmarks=lambda w: [path for bench in BENCHMARKS for path in benchmark_files(bench)],
    output:
        scores=expand("{base}/scores/{{run}}/{bench}.parquet", base=BASE, bench=BENCHMARKS),
        per_query=expand("{base}/scores/{{run}}/{bench}.per_query.parquet", base=BASE, bench=BENCHMARKS),
        ranked=expand("{base}/runs/{{run}}/{bench}.parquet", base=BASE, bench=BENCHMARKS),
    log:
        f"{BASE}/logs/score/{{run}}/{STUDY}.log",
    benchmark:
        f"{BASE}/timings/score/{{run}}/{STUDY}.tsv"
    group:
        EVALUATION_GROUP
    conda:
        "../envs/retrieve.yaml"
    resources:
        gpu=0,
        mem_mb=memory(3000, pretrained=16000),
        runtime=minutes(120),
    params:
        code=code_digest("retrieval.score"),
        grid=lambda w: as_json(RUNS[w.run].grid),
        options=lambda w: [as_json(configuration.scoring_options(CONFIG, bench)) for bench in BENCHMARKS],
        embeddings=lambda w, input: [os.path.dirname(path) for path in input.embeddings],
        index=lambda w, input: [os.path.dirname(path) for path in input.index],
        benchmarks=expand("{base}/benchmarks/{bench}", base=BASE, bench=BENCHMARKS),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} polybatch.retrieval.score "
        "--embeddings {params.embeddings} --index {params.index} "
        "--benchmark {params.benchmarks} --grid {params.grid:q} --options {params.options:q} "
        "--scores {output.scores} --per-query {output.per_query} --run {output.ranked} 2> {log}"
