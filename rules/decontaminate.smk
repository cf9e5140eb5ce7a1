# Nothing that is evaluated on may be trained on, in any language.


# Which training pairs overlap with evaluation text, and which encoders were trained on evaluation sets.
rule decontaminate:
    input:
        contaminated,
        f"{BASE}/decontamination/exposure.json" if PRETRAINED else [],


# All text of the benchmarks, in all their languages, as n-grams that training text is looked up in.
rule evaluation_text:
    input:
        lambda w: [path for bench in KEPT_OUT for path in benchmark_files(bench)],
    output:
        directory(f"{BASE}/decontamination/text"),
    log:
        f"{BASE}/logs/decontamination/text.log",
    benchmark:
        f"{BASE}/timings/decontaminate/text.tsv"
    group:
        DECONTAMINATION_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("decontaminate.evaluation_text"),
        benchmarks=expand("{base}/benchmarks/{bench}", base=BASE, bench=KEPT_OUT),
        options=fixed_json(configuration.overlap_options(CONFIG)),
    shell:
        "python -m polybatch.decontaminate.evaluation_text --benchmarks {params.benchmarks} --options {params.options:q} "
        "--output {output} 2> {log}"


# Looks up every training pair in every language it has; a pair that overlaps in one goes in all.
rule contaminated_pairs:
    input:
        text=f"{BASE}/decontamination/text",
        collected=f"{BASE}/collected/en.parquet",
        supplied=supplied_files,
        validation=lambda w: f"{BASE}/collected/sources/{VALIDATION}.parquet" if VALIDATION else [],
    output:
        pairs=f"{BASE}/decontamination/pairs.parquet",
        counts=f"{BASE}/decontamination/pairs.json",
    log:
        f"{BASE}/logs/decontamination/pairs.log",
    benchmark:
        f"{BASE}/timings/decontaminate/pairs.tsv"
    group:
        DECONTAMINATION_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("decontaminate.contaminated"),
        supplied=flag("supplied", named(supplied_files())),
        validation=lambda w, input: f"--validation {input.validation}" if input.validation else "",
    shell:
        "python -m polybatch.decontaminate.contaminated --text {input.text} --collected {input.collected} {params.supplied} "
        "{params.validation} --output {output.pairs} 2> {log}"


# Which evaluation sets the encoders' makers say that they trained on.
rule exposure:
    output:
        f"{BASE}/decontamination/exposure.json",
    log:
        f"{BASE}/logs/decontamination/exposure.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(20),
    params:
        code=code_digest("decontaminate.exposure"),
        encoders=fixed_json(
            {name: {"model": CONFIG["encoders"][name].get("model")} for name in CONFIG["study"]["encoders"]}
        ),
        benchmarks=fixed_json(
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
        "--output {output} 2> {log}"
