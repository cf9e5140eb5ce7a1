# Benchmarks: from held-out text, from published files and the hub, and with machine-translated queries.


# Every benchmark of the study.
rule benchmarks:
    input:
        lambda w: [path for bench in KEPT_OUT for path in benchmark_files(bench)],


# Queries and passages of one language.
rule held_out_language:
    input:
        collected=f"{BASE}/collected/en.parquet",
        supplied=lambda w: [] if w.lang == "en" else f"{BASE}/supplied/{w.lang}.parquet",
    output:
        f"{BASE}/benchmarks/{{bench}}/queries/{{lang}}.parquet",
        f"{BASE}/benchmarks/{{bench}}/corpus/{{lang}}.parquet",
    log:
        f"{BASE}/logs/benchmark/{{bench}}/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/benchmark/{{bench}}-{{lang}}.tsv"
    wildcard_constraints:
        bench=one_of(SPLIT_BENCHMARKS),
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("benchmarks.held_out"),
        folder=f"{BASE}/benchmarks/{{bench}}",
        split=lambda w: CONFIG["benchmarks"][w.bench]["split"],
        supplied=lambda w, input: f"--supplied {input.supplied}" if input.supplied else "",
    shell:
        "python -m polybatch.benchmarks.held_out --benchmark {params.folder} --collected {input.collected} "
        "{params.supplied} --split {params.split} --lang {wildcards.lang} 2> {log}"


# Which passage answers which query, over all languages.
rule qrels:
    input:
        lambda w: expand(
            "{base}/benchmarks/{bench}/{side}/{lang}.parquet",
            base=BASE,
            bench=w.bench,
            side=["queries", "corpus"],
            lang=configuration.held_out_languages(CONFIG, w.bench),
        ),
    output:
        f"{BASE}/benchmarks/{{bench}}/qrels.parquet",
    log:
        f"{BASE}/logs/benchmark/{{bench}}/qrels.log",
    benchmark:
        f"{BASE}/timings/benchmark/{{bench}}-qrels.tsv"
    wildcard_constraints:
        bench=one_of(SPLIT_BENCHMARKS),
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("benchmarks.held_out"),
        folder=f"{BASE}/benchmarks/{{bench}}",
        languages=lambda w: configuration.held_out_languages(CONFIG, w.bench),
    shell:
        "python -m polybatch.benchmarks.held_out --benchmark {params.folder} --qrels {params.languages} 2> {log}"


# A published benchmark: mteb's by the name of its task, LAReQA's and MLQA's files, or a folder in BEIR's layout.
rule adapted_benchmark:
    input:
        lambda w: CONFIG["benchmarks"][w.bench].get("path") or f"{BASE}/hub/benchmark--{w.bench}.json",
    output:
        directory(f"{BASE}/benchmarks/{{bench}}"),
    log:
        f"{BASE}/logs/benchmark/{{bench}}.log",
    benchmark:
        f"{BASE}/timings/benchmark/{{bench}}.tsv"
    wildcard_constraints:
        bench=one_of(ADAPTED_BENCHMARKS),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
    params:
        code=code_digest("benchmarks.adapted"),
        entry=lambda w: as_json(configuration.benchmark_content(CONFIG, w.bench)),
        state=lambda w, input: folder_state(input[0]),
        languages=lambda w: configuration.benchmark_languages(CONFIG, w.bench)[0],
        corpus_languages=lambda w: configuration.benchmark_languages(CONFIG, w.bench)[1],
    shell:
        "python -m polybatch.benchmarks.adapted --benchmark {params.entry:q} --origin {input:q} "
        "--languages {params.languages} --corpus-languages {params.corpus_languages} --output {output} 2> {log}"


# An English benchmark whose queries are machine-translated into other languages.
rule translated_queries:
    input:
        benchmark=lambda w: benchmark_files(CONFIG["benchmarks"][w.bench]["queries_of"]),
        translators=lambda w: query_translators(w.bench).values(),
    output:
        directory(f"{BASE}/benchmarks/{{bench}}"),
    log:
        f"{BASE}/logs/benchmark/{{bench}}.log",
    benchmark:
        f"{BASE}/timings/benchmark/{{bench}}.tsv"
    wildcard_constraints:
        bench=one_of(DERIVED_BENCHMARKS),
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/translate.yaml"
    resources:
        gpu=0,
        mem_mb=memory(3000),
        runtime=minutes(120),
    params:
        code=code_digest("translation.queries"),
        original=lambda w: f"{BASE}/benchmarks/{CONFIG['benchmarks'][w.bench]['queries_of']}",
        translators=lambda w: [f"{lang}={folder}" for lang, folder in query_translators(w.bench).items()],
        languages=lambda w: list(query_translators(w.bench)),
        decoding=fixed_json(CONFIG["translation"]["decoding"]),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} polybatch.translation.queries "
        "--benchmark {params.original} --languages {params.languages} "
        "--translators {params.translators} --decoding {params.decoding:q} --output {output} 2> {log}"
