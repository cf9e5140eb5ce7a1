# Embeddings: one set a run, benchmark and language.


# Embeds the queries and passages of all benchmarks with one model, which is loaded once. What is up to date is kept.
rule encode:
    input:
        model=lambda w: MODELS[w.run],
        benchmarks=PATHS.benchmark_files(*BENCHMARKS),
    output:
        [PATHS.embeddings_record("{run}", name) for name in BENCHMARKS],
    log:
        PATHS.log("encode", f"{{run}}/{STUDY}"),
    benchmark:
        PATHS.timing("encode", f"{{run}}/{STUDY}")
    wildcard_constraints:
        run=one_of(run for run, shards in ENCODING_SHARDS.items() if shards == 1),
    group:
        "run"
    conda:
        "../envs/train.yaml"
    threads: cores(jobs=len(ENCODING_SHARDS), pretrained=job_memory.most_mb(EMBEDDING_MB.values()))
    resources:
        gpu=0,
        mem_mb=memory(3000, pretrained=lambda w: EMBEDDING_MB[encoder_of(w)]),
        runtime=minutes(240),
    params:
        code=code_digest("embedding.encode"),
        benchmarks=lambda w: as_json(PATHS.embedding_jobs(w.run)),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, ALL_RUNS[w.run].encoder)),
        share=[],
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} polybatch.embedding.encode --model {input.model:q} "
        "--benchmarks {params.benchmarks:q} --options {params.options:q} {params.share:q} 2> {log:q}"


# Embeds a share of the rows of all benchmarks. The parts that it writes stay until they are gathered.
use rule encode as encode_shard with:
    output:
        temp(PATHS.embeddings_shard("{run}", "{shard}", "{shards}")),
    log:
        PATHS.log("encode", f"{{run}}/{STUDY}-{{shard}}-of-{{shards}}"),
    benchmark:
        PATHS.timing("encode", f"{{run}}/{STUDY}-{{shard}}-of-{{shards}}")
    wildcard_constraints:
        shards=r"\d+",
    group:
        "encode_shard"
    params:
        share=lambda w, output: ["--shard", w.shard, "--shards", w.shards, "--summary", output[0]],


# Puts the arrays together that were embedded in shards.
rule gather_embeddings:
    input:
        model=lambda w: MODELS[w.run],
        benchmarks=PATHS.benchmark_files(*BENCHMARKS),
        shards=lambda w: [
            PATHS.embeddings_shard(w.run, shard, ENCODING_SHARDS[w.run]) for shard in range(ENCODING_SHARDS[w.run])
        ],
    output:
        [PATHS.embeddings_record("{run}", name) for name in BENCHMARKS],
    log:
        PATHS.log("gather_embeddings", f"{{run}}/{STUDY}"),
    benchmark:
        PATHS.timing("gather_embeddings", f"{{run}}/{STUDY}")
    wildcard_constraints:
        run=one_of(run for run, shards in ENCODING_SHARDS.items() if shards > 1),
    group:
        EVALUATION_GROUP
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        code=code_digest("embedding.encode"),
        benchmarks=lambda w: as_json(PATHS.embedding_jobs(w.run)),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, ALL_RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.embedding.encode --model {input.model:q} --benchmarks {params.benchmarks:q} "
        "--options {params.options:q} --gather {input.shards:q} 2> {log:q}"
