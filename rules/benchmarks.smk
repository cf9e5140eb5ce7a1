# Benchmarks: from held-out text, and from published files and the hub. Those with translated queries: translation.smk.


# Every benchmark of the study.
rule benchmarks:
    input:
        PATHS.benchmark_files(*KEPT_OUT),


# Queries and passages of one language, and what is left out of it.
rule held_out_language:
    input:
        collected=PATHS.collected(),
        supplied=lambda w: [] if w.lang == "en" else PATHS.supplied(w.lang),
    output:
        PATHS.benchmark_text("{bench}", "queries", "{lang}"),
        PATHS.benchmark_text("{bench}", "corpus", "{lang}"),
        PATHS.left_out("{bench}", "{lang}"),
    log:
        PATHS.log("benchmark", "{bench}/{lang}"),
    benchmark:
        PATHS.timing("benchmark", "{bench}/{lang}")
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
        # The split is among what is given by `made`, which Snakemake does not keep.
        code=with_state(code_digest("benchmarks.held_out"), lambda w: split_unlike_name(w.bench)),
        folder=lambda w: PATHS.benchmark(w.bench),
        made=lambda w, input: [
            *flag("collected", input.collected),
            *flag("supplied", input.supplied),
            *flag("split", CONFIG["benchmarks"][w.bench]["split"]),
            *flag("lang", w.lang),
        ],
    shell:
        "python -m polybatch.benchmarks.held_out --benchmark {params.folder:q} {params.made:q} 2> {log:q}"


# Which passage answers which query, over all languages.
use rule held_out_language as qrels with:
    input:
        lambda w: [path for path in PATHS.benchmark_files(w.bench) if path != PATHS.qrels(w.bench)],
        lambda w: [PATHS.left_out(w.bench, lang) for lang in configuration.held_out_languages(CONFIG, w.bench)],
    output:
        PATHS.qrels("{bench}"),
        PATHS.benchmark_card("{bench}"),
    log:
        PATHS.log("benchmark", "{bench}/qrels"),
    benchmark:
        PATHS.timing("benchmark", "{bench}/qrels")
    params:
        made=lambda w: flag("qrels", configuration.held_out_languages(CONFIG, w.bench)),


# A published benchmark: mteb's by the name of its task, LAReQA's and MLQA's files, or a folder in BEIR's layout.
rule adapted_benchmark:
    input:
        lambda w: PATHS.benchmark_origin(w.bench),
    output:
        directory(PATHS.benchmark("{bench}")),
    log:
        PATHS.log("benchmark", "{bench}/whole"),
    benchmark:
        PATHS.timing("benchmark", "{bench}/whole")
    wildcard_constraints:
        bench=one_of(ADAPTED_BENCHMARKS),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(120),
    params:
        code=with_state(code_digest("benchmarks.adapted"), lambda w: [folder_state(PATHS.benchmark_origin(w.bench))]),
        entry=lambda w: as_json(configuration.benchmark_content(CONFIG, w.bench)),
        languages=lambda w: configuration.benchmark_languages(CONFIG, w.bench)[0],
        corpus_languages=lambda w: configuration.benchmark_languages(CONFIG, w.bench)[1],
    shell:
        "python -m polybatch.benchmarks.adapted --benchmark {params.entry:q} --origin {input:q} "
        "--languages {params.languages:q} --corpus-languages {params.corpus_languages:q} --output {output:q} 2> {log:q}"
