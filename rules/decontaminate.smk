# Nothing that is evaluated on may be trained on, in any language.


# Which training pairs overlap with evaluation text, and which encoders were trained on evaluation sets.
rule decontaminate:
    input:
        PATHS.contaminated_files(),
        PATHS.exposure() if PRETRAINED else [],


# All text of the benchmarks, in all their languages, as n-grams that training text is looked up in.
rule evaluation_text:
    input:
        PATHS.benchmark_files(*KEPT_OUT),
    output:
        directory(PATHS.evaluation_text()),
    log:
        PATHS.log("decontaminate", "text"),
    benchmark:
        PATHS.timing("decontaminate", "text")
    group:
        DECONTAMINATION_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("decontaminate.evaluation_text"),
        benchmarks=[PATHS.benchmark(name) for name in KEPT_OUT],
        options=lambda w: as_json(configuration.overlap_options(CONFIG)),
    shell:
        "python -m polybatch.decontaminate.evaluation_text --benchmarks {params.benchmarks:q} "
        "--options {params.options:q} --output {output:q} 2> {log:q}"


# Looks up every training and validation pair in every language it has; a pair that overlaps in one goes in all.
rule contaminated_pairs:
    input:
        text=PATHS.evaluation_text(),
        collected=PATHS.collected(),
        supplied=PATHS.supplied_files().values(),
        validation=PATHS.validation_source_files(),
    output:
        pairs=PATHS.contaminated(),
        counts=PATHS.contaminated("json"),
    log:
        PATHS.log("decontaminate", "pairs"),
    benchmark:
        PATHS.timing("decontaminate", "pairs")
    group:
        DECONTAMINATION_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("decontaminate.contaminated"),
        supplied=flag("supplied", named(PATHS.supplied_files())),
        validation=flag("validation", PATHS.validation_source_files()),
        held_out=flag("held-out", PATHS.held_out_benchmarks(*KEPT_OUT)),
    shell:
        "python -m polybatch.decontaminate.contaminated --text {input.text:q} --collected {input.collected:q} "
        "{params.supplied:q} {params.validation:q} {params.held_out:q} --output {output.pairs:q} 2> {log:q}"


# Which evaluation sets the encoders' makers say that they trained on.
rule exposure:
    output:
        PATHS.exposure(),
    log:
        PATHS.log("decontaminate", "exposure"),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        code=code_digest("decontaminate.exposure"),
        encoders=lambda w: as_json(
            {name: {"model": configuration.hub_model(CONFIG, name)} for name in configuration.encoders_read(CONFIG)}
        ),
        benchmarks=lambda w: as_json(
            {
                name: {
                    key: CONFIG["benchmarks"][name][key]
                    for key in ("adapter", "task", "queries_of")
                    if key in CONFIG["benchmarks"][name]
                }
                for name in BENCHMARKS
            }
        ),
    shell:
        "python -m polybatch.decontaminate.exposure --encoders {params.encoders:q} --benchmarks {params.benchmarks:q} "
        "--output {output:q} 2> {log:q}"
