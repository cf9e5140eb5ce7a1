# Models that cost no training: mixtures of weights, and projections of embeddings.


# A trained model, mixed with what its training began with.
rule interpolate:
    input:
        before=lambda w: PATHS.model_folder(ALL_RUNS[w.run].start),
        after=lambda w: MODELS[ALL_RUNS[w.run].before.name],
    output:
        directory(PATHS.model("{run}")),
    log:
        PATHS.log("interpolate", "{run}"),
    benchmark:
        PATHS.timing("interpolate", "{run}")
    wildcard_constraints:
        run=one_of(MIXTURES),
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(2500, pretrained=lambda w: MIXING_MB[encoder_of(w)]),
        runtime=minutes(30),
    params:
        code=code_digest("posthoc.interpolate"),
        share=lambda w: ALL_RUNS[w.run].share,
    shell:
        "python -m polybatch.cluster.launch polybatch.posthoc.interpolate --before {input.before:q} "
        "--after {input.after:q} --share {params.share:q} --output {output:q} 2> {log:q}"


# Means of a model's vectors over one side of the training text, by language: all its projections are estimated from them.
rule language_means:
    input:
        model=lambda w: PATHS.model_folder(ALL_RUNS[w.run]),
        parallel=PATHS.parallel_files().values(),
    output:
        PATHS.language_means("{run}", "{side}"),
    log:
        PATHS.log("language_means", "{run}/{side}"),
    benchmark:
        PATHS.timing("language_means", "{run}/{side}")
    wildcard_constraints:
        run=one_of(ALL_RUNS[name].before.name for name in PROJECTED),
        side="queries|corpus",
    group:
        "project"
    conda:
        "../envs/train.yaml"
    threads: cores(jobs=len(MEANS), pretrained=job_memory.most_mb(EMBEDDING_MB.values()))
    resources:
        gpu=0,
        mem_mb=memory(3000, pretrained=lambda w: EMBEDDING_MB[encoder_of(w)]),
        runtime=minutes(60),
    params:
        code=code_digest("posthoc.means"),
        parallel=named(PATHS.parallel_files()),
        texts=ProjectionOptions.from_values(CONFIG["projection"]).texts,
        encoding=lambda w: as_json(configuration.encoding_options(CONFIG, ALL_RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} polybatch.posthoc.means --model {input.model:q} "
        "--parallel {params.parallel:q} --side {wildcards.side:q} --texts {params.texts:q} "
        "--encoding {params.encoding:q} --output {output:q} 2> {log:q}"


# A projection of a model's embeddings, estimated from these means; the model with it.
rule project_model:
    input:
        model=lambda w: PATHS.model_folder(ALL_RUNS[w.run].before),
        means=lambda w: PATHS.means_files(ALL_RUNS[w.run]),
    output:
        directory(PATHS.model("{run}")),
    log:
        PATHS.log("project_model", "{run}"),
    benchmark:
        PATHS.timing("project_model", "{run}")
    wildcard_constraints:
        run=one_of(PROJECTED),
    group:
        "project"
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(2500, pretrained=lambda w: MIXING_MB[encoder_of(w)]),
        runtime=minutes(30),
    params:
        code=code_digest("posthoc.estimate"),
        projection=lambda w: ALL_RUNS[w.run].projection,
        options=lambda w: as_json(CONFIG["projection"]),
    shell:
        "python -m polybatch.cluster.launch polybatch.posthoc.estimate --model {input.model:q} "
        "--means {input.means:q} --projection {params.projection:q} --options {params.options:q} "
        "--output {output:q} 2> {log:q}"


# The embeddings of a run, projected: no text is embedded again.
rule project_embeddings:
    input:
        model=lambda w: MODELS[w.run],
        embeddings=lambda w: [PATHS.embeddings_record(ALL_RUNS[w.run].before.name, name) for name in BENCHMARKS],
        benchmarks=PATHS.benchmark_files(*BENCHMARKS),
    output:
        [PATHS.embeddings_record("{run}", name) for name in BENCHMARKS],
    log:
        PATHS.log("project_embeddings", f"{{run}}/{STUDY}"),
    benchmark:
        PATHS.timing("project_embeddings", f"{{run}}/{STUDY}")
    wildcard_constraints:
        run=one_of(PROJECTED),
    group:
        "project"
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        code=code_digest("posthoc.project"),
        benchmarks=lambda w: as_json(PATHS.embedding_jobs(w.run)),
        embeddings=lambda w, input: folders(input.embeddings),
        options=lambda w: as_json(configuration.encoding_options(CONFIG, ALL_RUNS[w.run].encoder)),
    shell:
        "python -m polybatch.posthoc.project --model {input.model:q} --embeddings {params.embeddings:q} "
        "--benchmarks {params.benchmarks:q} --options {params.options:q} 2> {log:q}"
