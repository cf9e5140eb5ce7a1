# Benchmarks from held-out text, and the scores of every run on them.


# The scores of the study.
rule score:
    input:
        expand("{base}/scores/{run}/{bench}.parquet", base=BASE, run=RUNS, bench=BENCHMARKS),


# Queries and passages of one language.
rule held_out_language:
    input:
        collected=f"{BASE}/collected/en.parquet",
        human=lambda w: [] if w.lang == "en" else f"{BASE}/human/{w.lang}.parquet",
    output:
        f"{BASE}/benchmarks/{{bench}}/queries/{{lang}}.parquet",
        f"{BASE}/benchmarks/{{bench}}/corpus/{{lang}}.parquet",
    log:
        f"{BASE}/logs/benchmark/{{bench}}/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/benchmark/{{bench}}-{{lang}}.tsv"
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("held_out"),
        folder=f"{BASE}/benchmarks/{{bench}}",
        split=lambda w: CONFIG["benchmarks"][w.bench]["split"],
        human=lambda w, input: f"--human {input.human}" if input.human else "",
    shell:
        "python -m polybatch.held_out --benchmark {params.folder} --collected {input.collected} "
        "{params.human} --split {params.split} --lang {wildcards.lang} 2> {log}"


# Which passage answers which query, over all languages.
rule qrels:
    input:
        lambda w: expand(
            "{base}/benchmarks/{bench}/{side}/{lang}.parquet",
            base=BASE,
            bench=w.bench,
            side=["queries", "corpus"],
            lang=EVAL_LANGS,
        ),
    output:
        f"{BASE}/benchmarks/{{bench}}/qrels.parquet",
    log:
        f"{BASE}/logs/benchmark/{{bench}}/qrels.log",
    benchmark:
        f"{BASE}/timings/benchmark/{{bench}}-qrels.tsv"
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("held_out"),
        folder=f"{BASE}/benchmarks/{{bench}}",
        languages=EVAL_LANGS,
    shell:
        "python -m polybatch.held_out --benchmark {params.folder} --qrels {params.languages} 2> {log}"


# Searches all settings at once and scores them: means, per-query values, and the top of every ranked list.
rule score_run:
    input:
        embeddings=f"{BASE}/embeddings/{{run}}/{{bench}}/embeddings.json",
        index=f"{BASE}/index/{{run}}/{{bench}}/index.json",
        qrels=f"{BASE}/benchmarks/{{bench}}/qrels.parquet",
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
        options=as_json(CONFIG["scoring"]),
        languages=EVAL_LANGS,
        embeddings=lambda w, input: os.path.dirname(input.embeddings),
        index=lambda w, input: os.path.dirname(input.index),
        benchmark=lambda w, input: os.path.dirname(input.qrels),
    shell:
        "python -m polybatch.score --embeddings {params.embeddings} --index {params.index} "
        "--benchmark {params.benchmark} --grid {params.grid:q} --options {params.options:q} "
        "--scores {output.scores} --per-query {output.per_query} --run {output.ranked} 2> {log}"
