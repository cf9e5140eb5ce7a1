# English pairs of all sources, cleaned and split before anything is trained, and the translations that come with them.


# English pairs of all splits, and the supplied translations of every language in use.
rule collect:
    input:
        PATHS.collected_files(),
        [PATHS.supplied(lang) for lang in SUPPLIED_LANGS],


# Reads and cleans one source, row by row.
rule collect_source:
    input:
        file=lambda w: PATHS.source_file(w.source),
        passages=lambda w: PATHS.mined_passages(w.source),
    output:
        pairs=PATHS.collected_source("{source}"),
        counts=PATHS.collected_source("{source}", "json"),
    log:
        PATHS.log("collect", "sources/{source}"),
    benchmark:
        PATHS.timing("collect", "sources/{source}")
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=with_state(code_digest("collect.one_source"), lambda w: [folder_state(PATHS.source_file(w.source))]),
        source=lambda w: as_json(ALL_SOURCES[w.source]),
        cleaning=lambda w: as_json(CONFIG["cleaning"]),
        passages=lambda w: flag("passages", PATHS.mined_passages(w.source)),
    shell:
        "python -m polybatch.collect.one_source --source {params.source:q} --file {input.file:q} "
        "{params.passages:q} --cleaning {params.cleaning:q} --output {output.pairs:q} 2> {log:q}"


# Joins the sources: duplicates across them, row limits, the mixture; then splits into train, dev and test.
rule collect_english:
    input:
        collected=[PATHS.collected_source(name) for name in PATHS.sources()],
        files=lambda w: PATHS.source_files(),
        translations=PATHS.source_translations(CONFIG["split"].get("parallel_in", [])),
    output:
        pairs=PATHS.collected(),
        counts=PATHS.collected("json"),
    log:
        PATHS.log("collect", "en"),
    benchmark:
        PATHS.timing("collect", "en")
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=with_state(code_digest("collect.english"), sources_state),
        sources=lambda w: as_json(CONFIG["source"]),
        cleaning=lambda w: as_json(CONFIG["cleaning"]),
        mixture=lambda w: as_json(CONFIG["mixture"]),
        split=lambda w: as_json(configuration.split_options(CONFIG)),
        parallel_in=CONFIG["split"].get("parallel_in", []),
    shell:
        "python -m polybatch.collect.english --collected {input.collected:q} --sources {params.sources:q} "
        "--files {input.files:q} --cleaning {params.cleaning:q} --mixture {params.mixture:q} "
        "--split {params.split:q} --parallel-in {params.parallel_in:q} --output {output.pairs:q} 2> {log:q}"


# The translations of one language that come with the sources.
rule supplied_translations:
    input:
        files=lambda w: PATHS.source_files(),
        collected=PATHS.collected(),
        translations=lambda w: PATHS.source_translations([w.lang]),
    output:
        pairs=PATHS.supplied("{lang}"),
        counts=PATHS.supplied("{lang}", "json"),
    log:
        PATHS.log("supplied", "{lang}"),
    benchmark:
        PATHS.timing("supplied", "{lang}")
    group:
        "prepare"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=with_state(code_digest("collect.supplied"), sources_state),
        sources=lambda w: as_json(CONFIG["source"]),
        cleaning=lambda w: as_json(CONFIG["cleaning"]),
    shell:
        "python -m polybatch.collect.supplied --sources {params.sources:q} --files {input.files:q} "
        "--collected {input.collected:q} --cleaning {params.cleaning:q} --lang {wildcards.lang:q} "
        "--output {output.pairs:q} 2> {log:q}"
