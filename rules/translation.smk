# Translators: models of the hub, converted, and small ones trained here, for places without a hub (hours on one core).
# What they translate: English-only pairs into other languages and back, with the filter; and queries of benchmarks.


# Every translator that the config names or says how to train.
rule translators:
    input:
        [PATHS.translator(name) for name in [*HUB_TRANSLATORS, *TRAINED_TRANSLATORS]],


# The accepted and refused translations of every language, with their statistics.
rule translate:
    input:
        [PATHS.translated(lang, form) for lang in MT_LANGS for form in ("parquet", "json")],


# Converts a model of the hub to CTranslate2.
rule convert_hub_translator:
    input:
        lambda w: PATHS.hub_record(record_name("translator", w.translator)),
    output:
        directory(PATHS.translator("{translator}")),
    log:
        PATHS.log("convert_translator", "{translator}"),
    benchmark:
        PATHS.timing("convert_translator", "{translator}")
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
        "python -m polybatch.cluster.launch polybatch.translation.pretrained --record {input:q} "
        "--directions {params.directions:q} --options {params.options:q} --output {output:q} 2> {log:q}"


# Parallel strings of one language, without anything held out.
rule translator_strings:
    input:
        files=lambda w: PATHS.source_files(),
        translations=lambda w: PATHS.source_translations([w.lang]),
        collected=PATHS.collected(),
    output:
        strings=PATHS.strings("{lang}"),
        counts=PATHS.strings("{lang}", "json"),
    log:
        PATHS.log("translator_strings", "{lang}"),
    benchmark:
        PATHS.timing("translator_strings", "{lang}")
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500),
        runtime=minutes(20),
    params:
        code=with_state(code_digest("translation.strings"), sources_state),
        sources=lambda w: as_json(CONFIG["source"]),
    shell:
        "python -m polybatch.translation.strings --sources {params.sources:q} --files {input.files:q} "
        "--collected {input.collected:q} --lang {wildcards.lang:q} --output {output.strings:q} 2> {log:q}"


# Trains one translator; a killed training goes on from its last checkpoint.
rule train_translator:
    input:
        lambda w: PATHS.translator_strings(w.translator).values(),
    output:
        directory(f"{PATHS.translator_training('{translator}')}/model"),
    log:
        PATHS.log("train_translator", "{translator}"),
    benchmark:
        PATHS.timing("train_translator", "{translator}")
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
        strings=lambda w: named(PATHS.translator_strings(w.translator)),
        directions=lambda w: TRAINED_TRANSLATORS[w.translator]["directions"],
        options=lambda w: as_json(TRAINED_TRANSLATORS[w.translator]["options"]),
        work=lambda w: PATHS.translator_training(w.translator),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} polybatch.translation.train "
        "--strings {params.strings:q} --directions {params.directions:q} "
        "--options {params.options:q} --work {params.work:q} 2> {log:q}"


# Converts it to CTranslate2, compares the two, and scores it on strings held out.
rule convert_translator:
    input:
        model=f"{PATHS.translator_training('{translator}')}/model",
        strings=lambda w: PATHS.translator_strings(w.translator).values(),
    output:
        directory(PATHS.translator("{translator}")),
    log:
        PATHS.log("convert_translator", "{translator}"),
    benchmark:
        PATHS.timing("convert_translator", "{translator}")
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
        strings=lambda w: named(PATHS.translator_strings(w.translator)),
        directions=lambda w: TRAINED_TRANSLATORS[w.translator]["directions"],
        quantization=lambda w: TRAINED_TRANSLATORS[w.translator]["quantization"],
        min_distinct=CONFIG["translation"]["min_distinct"],
        facts=lambda w: as_json(
            {
                "license": ", ".join(source.get("license", "not stated") for source in CONFIG["source"]),
                "data": ", ".join(source.get("requirement", source["name"]) for source in CONFIG["source"]),
                "training": TRAINED_TRANSLATORS[w.translator]["options"],
                "command": "snakemake translators",
            }
        ),
    shell:
        "python -m polybatch.cluster.launch polybatch.translation.convert --model {input.model:q} "
        "--strings {params.strings:q} --directions {params.directions:q} --quantization {params.quantization:q} "
        "--min-distinct {params.min_distinct:q} --facts {params.facts:q} --output {output:q} 2> {log:q}"


# One shard, there and back again, with what the filter compares: no threshold is among its parameters.
rule translate_shard:
    input:
        collected=PATHS.collected(),
        contaminated=PATHS.contaminated_files(),
        forward=lambda w: PATHS.translator_folder(f"en-{w.lang}"),
        backward=lambda w: PATHS.translator_folder(f"{w.lang}-en"),
    output:
        PATHS.translated_shard("{lang}", "{shard}"),
    log:
        PATHS.log("translate", "{lang}/{shard}"),
    benchmark:
        PATHS.timing("translate", "{lang}-{shard}")
    group:
        TRANSLATION_GROUP
    conda:
        "../envs/translate.yaml"
    # On a cluster the shards of a group share a job's CPUs, a thread each. Translations are the same on any number.
    threads: 1 if "POLYBATCH_JOB_CPUS" in os.environ else shared(SHARDS * len(MT_LANGS), 3000)
    resources:
        gpu=0,
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        code=code_digest("translation.shard"),
        state=lambda w: own_translators_state(w.lang),
        shards=SHARDS,
        decoding=lambda w: as_json(CONFIG["translation"]["decoding"]),
        min_distinct=CONFIG["translation"]["min_distinct"],
        contaminated=flag("contaminated", PATHS.contaminated_files()),
        hard_negatives=CONFIG["translation"]["hard_negatives"],
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} polybatch.translation.shard "
        "--collected {input.collected:q} {params.contaminated:q} --lang {wildcards.lang:q} "
        "--hard-negatives {params.hard_negatives:q} "
        "--forward {input.forward:q} --backward {input.backward:q} --shard {wildcards.shard:q} "
        "--shards {params.shards:q} --decoding {params.decoding:q} --min-distinct {params.min_distinct:q} "
        "--threads {threads:q} --output {output:q} 2> {log:q}"


# Gathers a language's shards and holds what they measured of every pair against the thresholds.
rule accept_translations:
    input:
        shards=[PATHS.translated_shard("{lang}", shard) for shard in range(SHARDS)],
        collected=PATHS.collected(),
        contaminated=PATHS.contaminated_files(),
        supplied=PATHS.supplied("{lang}"),
        evaluation_text=PATHS.evaluation_texts(),
        forward=lambda w: PATHS.translator_folder(f"en-{w.lang}"),
        backward=lambda w: PATHS.translator_folder(f"{w.lang}-en"),
    output:
        pairs=PATHS.translated("{lang}"),
        statistics=PATHS.translated("{lang}", "json"),
    log:
        PATHS.log("accept", "{lang}"),
    benchmark:
        PATHS.timing("accept", "{lang}")
    group:
        TRAINING_TEXT_GROUP
    conda:
        "../envs/translate.yaml"
    resources:
        mem_mb=memory(2500, beside=True),
        runtime=minutes(60),
    params:
        code=with_state(
            code_digest("translation.accept"),
            lambda w: [folder_state(CONFIG["translation"]["accept"].get("comet_model") or "")],
        ),
        state=lambda w: own_translators_state(w.lang),
        options=lambda w: as_json(CONFIG["translation"]["accept"]),
        contaminated=flag("contaminated", PATHS.contaminated_files()),
        evaluation_text=flag("evaluation-text", PATHS.evaluation_texts()),
    shell:
        "python -m polybatch.translation.accept --shards {input.shards:q} --collected {input.collected:q} "
        "{params.contaminated:q} {params.evaluation_text:q} --supplied {input.supplied:q} --lang {wildcards.lang:q} "
        "--forward {input.forward:q} --backward {input.backward:q} "
        "--options {params.options:q} --output {output.pairs:q} 2> {log:q}"


# An English benchmark whose queries are machine-translated into other languages.
rule translated_queries:
    input:
        benchmark=lambda w: PATHS.benchmark_files(CONFIG["benchmarks"][w.bench]["queries_of"]),
        translators=lambda w: PATHS.query_translators(w.bench).values(),
    output:
        directory(PATHS.benchmark("{bench}")),
    log:
        PATHS.log("benchmark", "{bench}/whole"),
    benchmark:
        PATHS.timing("benchmark", "{bench}/whole")
    wildcard_constraints:
        bench=one_of(DERIVED_BENCHMARKS),
    group:
        TRANSLATOR_GROUP
    conda:
        "../envs/translate.yaml"
    resources:
        gpu=0,
        mem_mb=memory(3000),
        runtime=minutes(120),
    params:
        code=with_state(
            code_digest("translation.queries"),
            lambda w: [folder_state(path) for path in PATHS.own_query_translators(w.bench)],
        ),
        original=lambda w: PATHS.benchmark(CONFIG["benchmarks"][w.bench]["queries_of"]),
        translators=lambda w: named(PATHS.query_translators(w.bench)),
        languages=lambda w: list(PATHS.query_translators(w.bench)),
        decoding=lambda w: as_json(CONFIG["translation"]["decoding"]),
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu:q} polybatch.translation.queries "
        "--benchmark {params.original:q} --languages {params.languages:q} "
        "--translators {params.translators:q} --decoding {params.decoding:q} --output {output:q} 2> {log:q}"
