# Training text, encoders, and one training a grid point.


SCRATCH_ENCODERS = [name for name, entry in CONFIG["encoders"].items() if "scratch" in entry]


# Every model of the study.
rule train:
    input:
        [model_folder(run) for run in RUNS],


# Supplied and accepted machine translations of one language: training split only, nothing contaminated.
rule parallel:
    input:
        collected=f"{BASE}/collected/en.parquet",
        contaminated=contaminated,
        supplied=lambda w: [] if w.lang == "en" else f"{BASE}/supplied/{w.lang}.parquet",
        machine=lambda w: f"{BASE}/translated/{w.lang}.parquet" if w.lang in MT_LANGS else [],
        every_machine=translated_files,
    output:
        f"{BASE}/parallel/{{lang}}.parquet",
    log:
        f"{BASE}/logs/parallel/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/parallel/{{lang}}.tsv"
    group:
        TRAINING_TEXT_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("pairs.parallel"),
        contaminated=flag("contaminated", contaminated()),
        supplied=lambda w, input: f"--supplied {input.supplied}" if input.supplied else "",
        machine=lambda w, input: f"--machine {input.machine}" if input.machine else "",
        every_machine=flag("translated-all", translated_files()),
    shell:
        "python -m polybatch.pairs.parallel --collected {input.collected} --lang {wildcards.lang} {params.contaminated} "
        "{params.supplied} {params.machine} {params.every_machine} --output {output} 2> {log}"


# What came back from one language, as a second English text of each pair.
rule paraphrases:
    input:
        collected=f"{BASE}/collected/en.parquet",
        contaminated=contaminated,
        machine=lambda w: f"{BASE}/translated/{CONFIG['translation']['paraphrases']}.parquet",
        every_machine=translated_files,
        evaluation_text=evaluation_text,
    output:
        f"{BASE}/parallel/paraphrase.parquet",
    log:
        f"{BASE}/logs/parallel/paraphrase.log",
    benchmark:
        f"{BASE}/timings/parallel/paraphrase.tsv"
    group:
        TRAINING_TEXT_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(30),
    params:
        code=code_digest("pairs.parallel"),
        contaminated=flag("contaminated", contaminated()),
        every_machine=flag("translated-all", translated_files()),
        evaluation_text=flag("evaluation-text", evaluation_text()),
    shell:
        "python -m polybatch.pairs.parallel --collected {input.collected} --lang en {params.contaminated} "
        "{params.every_machine} --paraphrase {input.machine} {params.evaluation_text} --output {output} 2> {log}"


# English pairs whose loss decides when to stop: the dev split, or a source of their own.
rule validation:
    input:
        collected=f"{BASE}/collected/en.parquet",
        contaminated=contaminated,
        source=lambda w: f"{BASE}/collected/sources/{VALIDATION}.parquet" if VALIDATION else [],
    output:
        f"{BASE}/validation.parquet",
    log:
        f"{BASE}/logs/parallel/validation.log",
    benchmark:
        f"{BASE}/timings/parallel/validation.tsv"
    group:
        DECONTAMINATION_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("pairs.parallel"),
        contaminated=flag("contaminated", contaminated()),
        pairs=lambda w, input: (
            f"--validation-source {input.source} --max-pairs {CONFIG['validation']['max_pairs']}"
            if VALIDATION
            else "--split dev"
        ),
    shell:
        "python -m polybatch.pairs.parallel --collected {input.collected} --lang en {params.contaminated} {params.pairs} "
        "--output {output} 2> {log}"


# A small encoder with random weights and a tokenizer of the training text.
rule new_encoder:
    input:
        parallel_files,
    output:
        directory(f"{BASE}/encoders/{{encoder}}"),
    log:
        f"{BASE}/logs/new_encoder/{{encoder}}.log",
    benchmark:
        f"{BASE}/timings/new_encoder/{{encoder}}.tsv"
    wildcard_constraints:
        encoder=one_of(SCRATCH_ENCODERS),
    group:
        TRAINING_TEXT_GROUP
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("encoders.scratch"),
        parallel=named(parallel_files()),
        options=lambda w: as_json(CONFIG["encoders"][w.encoder]["scratch"]),
    shell:
        "python -m polybatch.cluster.launch polybatch.encoders.scratch --parallel {params.parallel} --options {params.options:q} "
        "--output {output} 2> {log}"


# A model of the hub, or of a folder, with the pooling and prompts that it is used with.
rule pretrained_encoder:
    input:
        lambda w: CONFIG["encoders"][w.encoder].get("path") or f"{BASE}/hub/encoder--{w.encoder}.json",
    output:
        directory(f"{BASE}/encoders/{{encoder}}"),
    log:
        f"{BASE}/logs/pretrained_encoder/{{encoder}}.log",
    benchmark:
        f"{BASE}/timings/pretrained_encoder/{{encoder}}.tsv"
    wildcard_constraints:
        encoder=one_of(name for name in CONFIG["encoders"] if name not in SCRATCH_ENCODERS),
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(30),
    params:
        code=code_digest("encoders.pretrained"),
        state=lambda w, input: folder_state(input[0]),
        origin=lambda w, input: f"{'--path' if 'path' in CONFIG['encoders'][w.encoder] else '--record'} {input}",
        options=lambda w: as_json(CONFIG["encoders"][w.encoder]["options"]),
    shell:
        "python -m polybatch.cluster.launch polybatch.encoders.pretrained {params.origin} --options {params.options:q} --output {output} 2> {log}"


# One run of the grid; a killed training goes on from its last checkpoint to the same result.
rule train_run:
    input:
        encoder=lambda w: f"{BASE}/encoders/{RUNS[w.trained].encoder}",
        parallel=parallel_files,
        paraphrases=f"{BASE}/parallel/paraphrase.parquet" if "paraphrases" in CONFIG["translation"] else [],
        validation=f"{BASE}/validation.parquet",
    output:
        directory(f"{BASE}/models/{{trained}}"),
    log:
        f"{BASE}/logs/train/{{trained}}.log",
    benchmark:
        f"{BASE}/timings/train/{{trained}}.tsv"
    priority: 1  # the longest jobs first: others fill the gaps that they leave at the end
    group:
        "run"
    conda:
        "../envs/train.yaml"
    resources:
        gpu=0,
        mem_mb=memory(2500, pretrained=16000),
        runtime=minutes(480),
    params:
        code=code_digest("training.train"),
        parallel=named(parallel_files()),
        paraphrases=lambda w, input: f"--paraphrases {input.paraphrases}" if input.paraphrases else "",
        sampling=lambda w: RUNS[w.trained].sampling,
        alpha=lambda w: "" if RUNS[w.trained].alpha is None else f"--alpha {RUNS[w.trained].alpha}",
        num_pairs=lambda w: RUNS[w.trained].num_pairs,
        num_translated=lambda w: RUNS[w.trained].num_translated,
        seed=lambda w: RUNS[w.trained].seed,
        weights=fixed_json({source["name"]: source["weight"] for source in CONFIG["source"] if "weight" in source}),
        options=lambda w: as_json(configuration.training_options(CONFIG, RUNS[w.trained].encoder)),
        licenses=fixed_json({source["name"]: source.get("license", "not stated") for source in CONFIG["source"]}),
        checkpoints=lambda w: f"{BASE}/checkpoints/{w.trained}",
        texts=f"{BASE}/texts",
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} --distributed polybatch.training.train "
        "--encoder {input.encoder} --parallel {params.parallel} {params.paraphrases} "
        "--validation {input.validation} --sampling {params.sampling} {params.alpha} "
        "--num-pairs {params.num_pairs} --num-translated {params.num_translated} --seed {params.seed} "
        "--source-weights {params.weights:q} --options {params.options:q} --license {params.licenses:q} "
        "--checkpoints {params.checkpoints} --text-cache {params.texts} --output {output} 2> {log}"
