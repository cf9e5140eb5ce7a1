# Embeddings and FAISS indexes: one of each a run, benchmark and language.
ENCODED = ["queries", "corpus"]


# Every index of the study.
rule index:
    input:
        expand("{base}/index/{run}/{bench}/index.json", base=BASE, run=RUNS, bench=BENCHMARKS),


# Embeds queries and passages of all languages once. A language whose text and model did not change is kept.
rule encode:
    input:
        model=lambda w: model_folder(w.run),
        text=lambda w: expand(
            "{base}/benchmarks/{bench}/{side}/{lang}.parquet",
            base=BASE,
            bench=w.bench,
            side=ENCODED,
            lang=EVAL_LANGS,
        ),
        qrels=f"{BASE}/benchmarks/{{bench}}/qrels.parquet",
    output:
        f"{BASE}/embeddings/{{run}}/{{bench}}/embeddings.json",
    log:
        f"{BASE}/logs/encode/{{run}}/{{bench}}.log",
    benchmark:
        f"{BASE}/timings/encode/{{run}}/{{bench}}.tsv"
    conda:
        "../envs/train.yaml"
    params:
        code=code_digest("encode"),
        benchmark=lambda w, input: os.path.dirname(input.qrels),
        languages=EVAL_LANGS,
        options=as_json(CONFIG["encoding"]),
        folder=lambda w, output: os.path.dirname(output[0]),
    shell:
        "python -m polybatch.encode --model {input.model} --benchmark {params.benchmark} "
        "--languages {params.languages} --options {params.options:q} --output {params.folder} 2> {log}"


# One FAISS index a corpus language; the multilingual pool is their union.
rule build_index:
    input:
        f"{BASE}/embeddings/{{run}}/{{bench}}/embeddings.json",
    output:
        f"{BASE}/index/{{run}}/{{bench}}/index.json",
    log:
        f"{BASE}/logs/index/{{run}}/{{bench}}.log",
    benchmark:
        f"{BASE}/timings/index/{{run}}/{{bench}}.tsv"
    conda:
        "../envs/retrieve.yaml"
    params:
        code=code_digest("index"),
        languages=EVAL_LANGS,
        factory=CONFIG["index"]["factory"],
        options=as_json({k: v for k, v in CONFIG["index"].items() if k != "factory"}),
        embeddings=lambda w, input: os.path.dirname(input[0]),
        folder=lambda w, output: os.path.dirname(output[0]),
    shell:
        "python -m polybatch.index --embeddings {params.embeddings} --languages {params.languages} "
        "--factory {params.factory:q} --options {params.options:q} --output {params.folder} 2> {log}"
