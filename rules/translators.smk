# Translators: models of the hub, converted; and small ones trained here, for places without a hub (hours on one core).


# Every translator that the config names or says how to train.
rule translators:
    input:
        expand("{base}/translators/{name}", base=BASE, name=[*HUB_TRANSLATORS, *TRAINED_TRANSLATORS]),


# Converts a model of the hub to CTranslate2.
rule convert_hub_translator:
    input:
        lambda w: f"{BASE}/hub/translator--{w.translator}.json",
    output:
        directory(f"{BASE}/translators/{{translator}}"),
    log:
        f"{BASE}/logs/convert_translator/{{translator}}.log",
    benchmark:
        f"{BASE}/timings/convert_translator/{{translator}}.tsv"
    wildcard_constraints:
        translator=one_of(HUB_TRANSLATORS),
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/translate.yaml"
    resources:
        mem_mb=memory(16000),
        runtime=minutes(60),
    params:
        code=code_digest("translation.pretrained"),
        directions=lambda w: HUB_TRANSLATORS[w.translator]["directions"],
        options=lambda w: as_json({"quantization": HUB_TRANSLATORS[w.translator]["quantization"]}),
    shell:
        "python -m polybatch.cluster.launch polybatch.translation.pretrained --record {input} --directions {params.directions} "
        "--options {params.options:q} --output {output} 2> {log}"


# Parallel strings of one language, without anything held out.
rule translator_strings:
    input:
        files=[source_file(name) for name in SOURCES],
        collected=f"{BASE}/collected/en.parquet",
    output:
        f"{BASE}/strings/{{lang}}.parquet",
    log:
        f"{BASE}/logs/translator_strings/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/translator_strings/{{lang}}.tsv"
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500),
        runtime=minutes(20),
    params:
        code=code_digest("collect.supplied"),
        sources=fixed_json(CONFIG["source"]),
    shell:
        "python -m polybatch.collect.supplied --sources {params.sources:q} --files {input.files:q} "
        "--collected {input.collected} --lang {wildcards.lang} --strings {output} 2> {log}"


# Trains one translator; a killed training goes on from its last checkpoint.
rule train_translator:
    input:
        translator_strings,
    output:
        directory(f"{BASE}/translator_training/{{translator}}/model"),
    log:
        f"{BASE}/logs/train_translator/{{translator}}.log",
    benchmark:
        f"{BASE}/timings/train_translator/{{translator}}.tsv"
    wildcard_constraints:
        translator=one_of(TRAINED_TRANSLATORS),
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/train.yaml"
    resources:
        gpu=0,
        mem_mb=memory(4000),
        runtime=minutes(480),
    params:
        code=code_digest("translation.train"),
        strings=lambda w: named(translator_strings(w)),
        directions=lambda w: TRAINED_TRANSLATORS[w.translator]["directions"],
        options=lambda w: as_json(TRAINED_TRANSLATORS[w.translator]["options"]),
        work=lambda w, output: os.path.dirname(output[0]),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} polybatch.translation.train "
        "--strings {params.strings} --directions {params.directions} "
        "--options {params.options:q} --work {params.work} 2> {log}"


# Converts it to CTranslate2, compares the two, and scores it on strings held out.
rule convert_translator:
    input:
        model=f"{BASE}/translator_training/{{translator}}/model",
        strings=translator_strings,
    output:
        directory(f"{BASE}/translators/{{translator}}"),
    log:
        f"{BASE}/logs/convert_translator/{{translator}}.log",
    benchmark:
        f"{BASE}/timings/convert_translator/{{translator}}.tsv"
    wildcard_constraints:
        translator=one_of(TRAINED_TRANSLATORS),
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=memory(4000),
        runtime=minutes(60),
    params:
        code=code_digest("translation.convert"),
        strings=lambda w: named(translator_strings(w)),
        directions=lambda w: TRAINED_TRANSLATORS[w.translator]["directions"],
        quantization=lambda w: TRAINED_TRANSLATORS[w.translator]["quantization"],
        facts=lambda w: as_json(
            {
                "license": ", ".join(source.get("license", "not stated") for source in CONFIG["source"]),
                "data": ", ".join(source.get("requirement", source["name"]) for source in CONFIG["source"]),
                "training": TRAINED_TRANSLATORS[w.translator]["options"],
                "command": "snakemake translators",
            }
        ),
    shell:
        "python -m polybatch.cluster.launch polybatch.translation.convert --model {input.model} --strings {params.strings} "
        "--directions {params.directions} --quantization {params.quantization} --facts {params.facts:q} "
        "--output {output} 2> {log}"
