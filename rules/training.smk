# One training a grid point.


# Every model of the study.
rule train:
    input:
        MODELS.values(),


# What each training with a pretrained encoder asks for, in MB. On a card little of it is in main memory.
TRAINING_MB = {
    name: job_memory.UNKNOWN_MB if has_card("train_run") else job_memory.training_mb(CONFIG, ALL_RUNS[name])
    for name in TRAININGS
    if ALL_RUNS[name].encoder in LARGE_ENCODERS
}


# One run of the grid; a killed training goes on from its last checkpoint to the same result.
rule train_run:
    input:
        encoder=lambda w: PATHS.model_folder(ALL_RUNS[w.trained].start),
        parallel=PATHS.parallel_files().values(),
        teacher=lambda w: PATHS.teacher(ALL_RUNS[w.trained]),
        paraphrases=PATHS.paraphrase_files(),
        validation=PATHS.validation(),
    output:
        directory(PATHS.model("{trained}")),
    log:
        PATHS.log("train", "{trained}"),
    benchmark:
        PATHS.timing("train", "{trained}")
    priority: 1  # the longest jobs first: others fill the gaps that they leave at the end
    group:
        "run"
    conda:
        "../envs/train.yaml"
    threads: cores(jobs=len(TRAININGS), pretrained=job_memory.most_mb(TRAINING_MB.values()))
    resources:
        gpu=0,
        mem_mb=memory(2500, pretrained=lambda w: TRAINING_MB.get(w.trained, job_memory.UNKNOWN_MB)),
        runtime=minutes(480),
    params:
        code=code_digest("training.train"),
        parallel=named(PATHS.parallel_files()),
        paraphrases=lambda w, input: flag("paraphrases", input.paraphrases),
        teacher=lambda w, input: flag("teacher", input.teacher),
        sampling=lambda w: ALL_RUNS[w.trained].sampling,
        objective=lambda w: ALL_RUNS[w.trained].objective,
        alpha=lambda w: flag("alpha", ALL_RUNS[w.trained].alpha or []),
        num_pairs=lambda w: ALL_RUNS[w.trained].num_pairs,
        num_translated=lambda w: ALL_RUNS[w.trained].num_translated,
        seed=lambda w: ALL_RUNS[w.trained].seed,
        weights=lambda w: as_json(
            {source["name"]: source["weight"] for source in CONFIG["source"] if "weight" in source}
        ),
        options=lambda w: as_json(
            configuration.training_options(CONFIG, ALL_RUNS[w.trained].encoder, ALL_RUNS[w.trained].objective)
        ),
        licenses=lambda w: as_json({source["name"]: source.get("license", "not stated") for source in CONFIG["source"]}),
        checkpoints=lambda w: PATHS.checkpoints(w.trained),
        texts=PATHS.texts(),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} --distributed polybatch.training.train "
        "--encoder {input.encoder:q} --parallel {params.parallel:q} {params.paraphrases:q} "
        "--validation {input.validation:q} --sampling {params.sampling:q} {params.alpha:q} "
        "--objective {params.objective:q} {params.teacher:q} "
        "--num-pairs {params.num_pairs:q} --num-translated {params.num_translated:q} --seed {params.seed:q} "
        "--source-weights {params.weights:q} --options {params.options:q} --license {params.licenses:q} "
        "--checkpoints {params.checkpoints:q} --text-cache {params.texts:q} --output {output:q} 2> {log:q}"
