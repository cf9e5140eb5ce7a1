# Training text, encoders, and one training a grid point.


# Every model of the study.
rule train:
    input:
        [model_folder(run) for run in RUNS],


# Human and accepted machine translations of one language, training split only.
rule parallel:
    input:
        collected=f"{BASE}/collected/en.parquet",
        human=lambda w: [] if w.lang == "en" else f"{BASE}/human/{w.lang}.parquet",
        machine=lambda w: f"{BASE}/translated/{w.lang}.parquet" if w.lang in MT_LANGS else [],
    output:
        f"{BASE}/parallel/{{lang}}.parquet",
    log:
        f"{BASE}/logs/parallel/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/parallel/{{lang}}.tsv"
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("parallel"),
        human=lambda w, input: f"--human {input.human}" if input.human else "",
        machine=lambda w, input: f"--machine {input.machine}" if input.machine else "",
    shell:
        "python -m polybatch.parallel --collected {input.collected} --lang {wildcards.lang} "
        "{params.human} {params.machine} --output {output} 2> {log}"


# English dev pairs; the loss on them decides when to stop.
rule validation:
    input:
        f"{BASE}/collected/en.parquet",
    output:
        f"{BASE}/validation.parquet",
    log:
        f"{BASE}/logs/parallel/validation.log",
    benchmark:
        f"{BASE}/timings/parallel/validation.tsv"
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("parallel"),
    shell:
        "python -m polybatch.parallel --collected {input} --lang en --split dev --output {output} 2> {log}"


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
    conda:
        "../envs/train.yaml"
    params:
        code=code_digest("encoder"),
        parallel=named_parallel,
        options=lambda w: as_json(CONFIG["encoders"][w.encoder]["scratch"]),
    shell:
        "python -m polybatch.encoder --parallel {params.parallel} --options {params.options:q} "
        "--output {output} 2> {log}"


# One run of the grid; a killed training goes on from its last checkpoint to the same result.
rule train_run:
    input:
        encoder=lambda w: f"{BASE}/encoders/{RUNS[w.trained].encoder}",
        parallel=parallel_files,
        validation=f"{BASE}/validation.parquet",
    output:
        directory(f"{BASE}/models/{{trained}}"),
    log:
        f"{BASE}/logs/train/{{trained}}.log",
    benchmark:
        f"{BASE}/timings/train/{{trained}}.tsv"
    conda:
        "../envs/train.yaml"
    params:
        code=code_digest("train"),
        parallel=named_parallel,
        sampling=lambda w: RUNS[w.trained].sampling,
        alpha=lambda w: "" if RUNS[w.trained].alpha is None else f"--alpha {RUNS[w.trained].alpha:g}",
        num_pairs=lambda w: RUNS[w.trained].num_pairs,
        seed=lambda w: RUNS[w.trained].seed,
        options=as_json(CONFIG["training"]),
        license=SOURCE.get("license", "not stated"),
        checkpoints=lambda w: f"{BASE}/checkpoints/{w.trained}",
    shell:
        "python -m polybatch.train --encoder {input.encoder} --parallel {params.parallel} "
        "--validation {input.validation} --sampling {params.sampling} {params.alpha} "
        "--num-pairs {params.num_pairs} --seed {params.seed} --options {params.options:q} "
        "--license {params.license:q} --checkpoints {params.checkpoints} --output {output} 2> {log}"
