# FAISS indexes, one a run, benchmark and corpus language; and the scores of every run on every benchmark.


# Every index of the study.
rule index:
    input:
        [PATHS.index_record(run, name) for run in RUNS for name in BENCHMARKS],


# The scores of the study.
rule score:
    input:
        [PATHS.scores(run, name) for run in RUNS for name in BENCHMARKS],


# One FAISS index a corpus language; the multilingual pool is their union.
rule build_index:
    input:
        [PATHS.embeddings_record("{run}", name) for name in BENCHMARKS],
    output:
        [PATHS.index_record("{run}", name) for name in BENCHMARKS],
    log:
        PATHS.log("index", f"{{run}}/{STUDY}"),
    benchmark:
        PATHS.timing("index", f"{{run}}/{STUDY}")
    group:
        EVALUATION_GROUP
    conda:
        "../envs/retrieve.yaml"
    threads: CONFIG["index"].get("threads", 1)
    resources:
        mem_mb=memory(2500, pretrained=16000),
        runtime=minutes(120),
    params:
        code=code_digest("retrieval.index"),
        factory=lambda w: CONFIG["index"]["factory"],
        options=lambda w: as_json({k: v for k, v in CONFIG["index"].items() if k != "factory"}),
        embeddings=lambda w, input: folders(input),
        folders=lambda w, output: folders(output),
    shell:
        "python -m polybatch.retrieval.index --embeddings {params.embeddings:q} --factory {params.factory:q} "
        "--options {params.options:q} --threads {threads:q} --output {params.folders:q} 2> {log:q}"


# Searches all settings at once and scores them: means, per-query values, and the top of every ranked list.
rule score_run:
    input:
        embeddings=[PATHS.embeddings_record("{run}", name) for name in BENCHMARKS],
        index=[PATHS.index_record("{run}", name) for name in BENCHMARKS],
        benchmarks=PATHS.benchmark_files(*BENCHMARKS),
    output:
        scores=[PATHS.scores("{run}", name) for name in BENCHMARKS],
        per_query=[PATHS.per_query("{run}", name) for name in BENCHMARKS],
        ranked=[PATHS.ranked("{run}", name) for name in BENCHMARKS],
    log:
        PATHS.log("score", f"{{run}}/{STUDY}"),
    benchmark:
        PATHS.timing("score", f"{{run}}/{STUDY}")
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
        options=lambda w: [as_json(configuration.scoring_options(CONFIG, name)) for name in BENCHMARKS],
        embeddings=lambda w, input: folders(input.embeddings),
        index=lambda w, input: folders(input.index),
        benchmarks=[PATHS.benchmark(name) for name in BENCHMARKS],
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} polybatch.retrieval.score "
        "--embeddings {params.embeddings:q} --index {params.index:q} "
        "--benchmark {params.benchmarks:q} --grid {params.grid:q} --options {params.options:q} "
        "--scores {output.scores:q} --per-query {output.per_query:q} --run {output.ranked:q} 2> {log:q}"
