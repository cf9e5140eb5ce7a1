# English pairs of all sources, cleaned and split before anything is trained, and the translations that come with them.


# English pairs of all splits, and the supplied translations of every language in use.
rule collect:
    input:
        f"{BASE}/collected/en.parquet",
        expand("{base}/supplied/{lang}.parquet", base=BASE, lang=SUPPLIED_LANGS),


# Reads and cleans one source, row by row.
rule collect_source:
    input:
        file=lambda w: source_file(w.source),
        passages=lambda w: mined_passages(w.source),
    output:
        pairs=f"{BASE}/collected/sources/{{source}}.parquet",
        counts=f"{BASE}/collected/sources/{{source}}.json",
    log:
        f"{BASE}/logs/collect/{{source}}.log",
    benchmark:
        f"{BASE}/timings/collect/{{source}}.tsv"
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("collect.one_source"),
        source=lambda w: as_json(ALL_SOURCES[w.source]),
        cleaning=fixed_json(CONFIG["cleaning"]),
        passages=lambda w: flag("passages", mined_passages(w.source)),
    shell:
        "python -m polybatch.collect.one_source --source {params.source:q} --file {input.file:q} {params.passages} "
        "--cleaning {params.cleaning:q} --output {output.pairs} 2> {log}"


# Joins the sources: duplicates across them, row limits, the mixture; then splits into train, dev and test.
rule collect_english:
    input:
        collected=expand("{base}/collected/sources/{source}.parquet", base=BASE, source=SOURCES),
        files=[source_file(name) for name in SOURCES],
    output:
        pairs=f"{BASE}/collected/en.parquet",
        counts=f"{BASE}/collected/en.json",
    log:
        f"{BASE}/logs/collect/en.log",
    benchmark:
        f"{BASE}/timings/collect/en.tsv"
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("collect.english"),
        sources=fixed_json(CONFIG["source"]),
        cleaning=fixed_json(CONFIG["cleaning"]),
        mixture=fixed_json(CONFIG["mixture"]),
        split=fixed_json(configuration.split_options(CONFIG)),
        parallel_in=CONFIG["split"].get("parallel_in", []),
    shell:
        "python -m polybatch.collect.english --collected {input.collected} --sources {params.sources:q} "
        "--files {input.files:q} --cleaning {params.cleaning:q} --mixture {params.mixture:q} "
        "--split {params.split:q} --parallel-in {params.parallel_in} --output {output.pairs} 2> {log}"


# The translations of one language that come with the sources.
rule supplied_translations:
    input:
        files=[source_file(name) for name in SOURCES],
        collected=f"{BASE}/collected/en.parquet",
    output:
        f"{BASE}/supplied/{{lang}}.parquet",
    log:
        f"{BASE}/logs/supplied/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/supplied/{{lang}}.tsv"
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("collect.supplied"),
        sources=fixed_json(CONFIG["source"]),
    shell:
        "python -m polybatch.collect.supplied --sources {params.sources:q} --files {input.files:q} "
        "--collected {input.collected} --lang {wildcards.lang} --supplied {output} 2> {log}"
