# Embeddings and FAISS indexes: one of each a run, benchmark and language.


# Every index of the study.
rule index:
    input:
        expand("{base}/index/{run}/{bench}/index.json", base=BASE, run=RUNS, bench=BENCHMARKS),


# Embeds the queries and passages of all benchmarks with one model, which is loaded once. What is up to date is kept.
rule encode:
    input:
        model=lambda w: model_folder(w.run),
        benchmarks=lambda w: [path for bench in BENCHMARKS for path in benchmark_files(bench)],
    output:
        expand("{base}/embeddings/{{run}}/{bench}/embeddings.json", base=BASE, bench=BENCHMARKS),
    log:
        f"{BASE}/logs/encode/{{run}}/{STUDY}.log",
    benchmark:
        f"{BASE}/timings/encode/{{run}}/{STUDY}.tsv"
    wildcard_constraints:
        run=one_of(run for run, shards in ENCODING_SHARDS.items() if shards == 1),
    group:
        "run"
    conda:
        "../envs/train.yaml"
    resources:
        gpu=0,
        mem_mb=memory(3000, pretrained=16000),
        runtime=minutes(240),
    params:
        code=code_digest("embedding.encode"),
        benchmarks=lambda w: embedding_jobs(w.run),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} polybatch.embedding.encode --model {input.model} --benchmarks {params.benchmarks:q} "
        "--options {params.options:q} 2> {log}"


# Embeds a share of the rows of all benchmarks. The parts that it writes stay until they are gathered.
rule encode_shard:
    input:
        model=lambda w: model_folder(w.run),
        benchmarks=lambda w: [path for bench in BENCHMARKS for path in benchmark_files(bench)],
    output:
        temp(f"{BASE}/embeddings/{{run}}/.shards/{STUDY}/{{shard}}-of-{{shards}}.json"),
    log:
        f"{BASE}/logs/encode/{{run}}/{STUDY}-{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{BASE}/timings/encode/{{run}}/{STUDY}-{{shard}}-of-{{shards}}.tsv"
    wildcard_constraints:
        shards=r"\d+",
    group:
        "encode_shard"
    conda:
        "../envs/train.yaml"
    resources:
        gpu=0,
        mem_mb=memory(3000, pretrained=16000),
        runtime=minutes(240),
    params:
        code=code_digest("embedding.encode"),
        benchmarks=lambda w: embedding_jobs(w.run),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} polybatch.embedding.encode --model {input.model} --benchmarks {params.benchmarks:q} "
        "--options {params.options:q} --shard {wildcards.shard} --shards {wildcards.shards} --summary {output} 2> {log}"


# Puts the arrays together that were embedded in shards.
rule gather_embeddings:
    input:
        model=lambda w: model_folder(w.run),
        benchmarks=lambda w: [path for bench in BENCHMARKS for path in benchmark_files(bench)],
        shards=lambda w: [
            f"{BASE}/embeddings/{w.run}/.shards/{STUDY}/{shard}-of-{ENCODING_SHARDS[w.run]}.json"
            for shard in range(ENCODING_SHARDS[w.run])
        ],
    output:
        expand("{base}/embeddings/{{run}}/{bench}/embeddings.json", base=BASE, bench=BENCHMARKS),
    log:
        f"{BASE}/logs/gather_embeddings/{{run}}/{STUDY}.log",
    benchmark:
        f"{BASE}/timings/gather_embeddings/{{run}}/{STUDY}.tsv"
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
        benchmarks=lambda w: embedding_jobs(w.run),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.embedding.encode --model {input.model} --benchmarks {params.benchmarks:q} "
        "--options {params.options:q} --gather {input.shards} 2> {log}"


# One FAISS index a corpus language; the multilingual pool is their union.
rule build_index:
    input:
        expand("{base}/embeddings/{{run}}/{bench}/embeddings.json", base=BASE, bench=BENCHMARKS),
    output:
        expand("{base}/index/{{run}}/{bench}/index.json", base=BASE, bench=BENCHMARKS),
    log:
        f"{BASE}/logs/index/{{run}}/{STUDY}.log",
    benchmark:
        f"{BASE}/timings/index/{{run}}/{STUDY}.tsv"
    group:
        EVALUATION_GROUP
    conda:
        "../envs/retrieve.yaml"
    resources:
        mem_mb=memory(2500, pretrained=16000),
        runtime=minutes(120),
    params:
        code=code_digest("retrieval.index"),
        factory=CONFIG["index"]["factory"],
        options=fixed_json({k: v for k, v in CONFIG["index"].items() if k != "factory"}),
        embeddings=lambda w, input: [os.path.dirname(path) for path in input],
        folders=lambda w, output: [os.path.dirname(path) for path in output],
    shell:
        "python -m polybatch.retrieval.index --embeddings {params.embeddings} --factory {params.factory:q} "
        "--options {params.options:q} --output {params.folders} 2> {log}"
