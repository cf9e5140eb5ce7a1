# English-only pairs into other languages and back, in shards; then the filter.
# The accepted and refused translations of every language, with their statistics.
rule translate:
    input:
        expand("{base}/translated/{lang}.{form}", base=BASE, lang=MT_LANGS, form=["parquet", "json"]),


# One shard, there and back again.
rule translate_shard:
    input:
        collected=f"{BASE}/collected/en.parquet",
        contaminated=contaminated,
        forward=lambda w: translator_folder(f"en-{w.lang}"),
        backward=lambda w: translator_folder(f"{w.lang}-en"),
    output:
        f"{BASE}/translated/{{lang}}/{{shard}}.parquet",
    log:
        f"{BASE}/logs/translate/{{lang}}/{{shard}}.log",
    benchmark:
        f"{BASE}/timings/translate/{{lang}}-{{shard}}.tsv"
    group:
        TRANSLATION_GROUP
    conda:
        "../envs/translate.yaml"
    resources:
        gpu=0,
        mem_mb=memory(3000),
        runtime=minutes(240),
    params:
        code=code_digest("translation.shard"),
        state=lambda w: own_translators_state(w.lang),
        shards=SHARDS,
        decoding=fixed_json(CONFIG["translation"]["decoding"]),
        min_distinct=CONFIG["translation"]["min_distinct"],
        contaminated=flag("contaminated", contaminated()),
        hard_negatives=CONFIG["translation"]["hard_negatives"],
    shell:
        "python -m polybatch.cluster.launch --gpu {resources.gpu} polybatch.translation.shard "
        "--collected {input.collected} {params.contaminated} --lang {wildcards.lang} "
        "--hard-negatives {params.hard_negatives} "
        "--forward {input.forward} --backward {input.backward} --shard {wildcards.shard} "
        "--shards {params.shards} --decoding {params.decoding:q} --min-distinct {params.min_distinct} "
        "--threads {threads} --output {output} 2> {log}"


# Gathers a language's shards and judges every pair.
rule accept_translations:
    input:
        shards=expand("{base}/translated/{{lang}}/{shard}.parquet", base=BASE, shard=range(SHARDS)),
        collected=f"{BASE}/collected/en.parquet",
        contaminated=contaminated,
        supplied=f"{BASE}/supplied/{{lang}}.parquet",
        evaluation_text=evaluation_text,
        forward=lambda w: translator_folder(f"en-{w.lang}"),
        backward=lambda w: translator_folder(f"{w.lang}-en"),
    output:
        pairs=f"{BASE}/translated/{{lang}}.parquet",
        statistics=f"{BASE}/translated/{{lang}}.json",
    log:
        f"{BASE}/logs/accept/{{lang}}.log",
    benchmark:
        f"{BASE}/timings/accept/{{lang}}.tsv"
    group:
        TRAINING_TEXT_GROUP
    conda:
        "../envs/translate.yaml"
    resources:
        mem_mb=memory(2500, beside=True),
        runtime=minutes(60),
    params:
        code=code_digest("translation.accept"),
        state=lambda w: own_translators_state(w.lang),
        options=fixed_json(CONFIG["translation"]["accept"]),
        contaminated=flag("contaminated", contaminated()),
        evaluation_text=flag("evaluation-text", evaluation_text()),
    shell:
        "python -m polybatch.translation.accept --shards {input.shards} --collected {input.collected} "
        "{params.contaminated} {params.evaluation_text} --supplied {input.supplied} --lang {wildcards.lang} --forward {input.forward} --backward {input.backward} "
        "--options {params.options:q} --output {output.pairs} 2> {log}"
