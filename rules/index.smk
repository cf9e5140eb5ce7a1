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
    conda:
        "../envs/train.yaml"
    params:
        code=code_digest("encode"),
        benchmarks=lambda w: as_json(
            [
                {
                    "benchmark": f"{BASE}/benchmarks/{bench}",
                    "output": f"{BASE}/embeddings/{w.run}/{bench}",
                    "query_languages": configuration.benchmark_languages(CONFIG, bench)[0],
                    "corpus_languages": configuration.benchmark_languages(CONFIG, bench)[1],
                }
                for bench in BENCHMARKS
            ]
        ),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.encode --model {input.model} --benchmarks {params.benchmarks:q} "
        "--options {params.options:q} 2> {log}"


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
    conda:
        "../envs/retrieve.yaml"
    params:
        code=code_digest("index"),
        factory=CONFIG["index"]["factory"],
        options=as_json({k: v for k, v in CONFIG["index"].items() if k != "factory"}),
        embeddings=lambda w, input: [os.path.dirname(path) for path in input],
        folders=lambda w, output: [os.path.dirname(path) for path in output],
    shell:
        "python -m polybatch.index --embeddings {params.embeddings} --factory {params.factory:q} "
        "--options {params.options:q} --output {params.folders} 2> {log}"
