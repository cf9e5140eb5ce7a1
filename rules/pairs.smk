# Training text, one file a language, and the pairs that trainings are watched on.


# Supplied and accepted machine translations of one language: training split only, nothing contaminated.
rule parallel:
    input:
        collected=PATHS.collected(),
        contaminated=PATHS.contaminated_files(),
        supplied=lambda w: [] if w.lang == "en" else PATHS.supplied(w.lang),
        machine=lambda w: PATHS.translated(w.lang) if w.lang in MT_LANGS else [],
        every_machine=PATHS.translated_files().values(),
    output:
        PATHS.parallel("{lang}"),
    log:
        PATHS.log("parallel", "{lang}"),
    benchmark:
        PATHS.timing("parallel", "{lang}")
    group:
        TRAINING_TEXT_GROUP
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1500, beside=True),
        runtime=minutes(20),
    params:
        code=code_digest("pairs.parallel"),
        lang=lambda w: w.lang,
        contaminated=flag("contaminated", PATHS.contaminated_files()),
        made=lambda w, input: [
            *flag("supplied", input.supplied),
            *flag("machine", input.machine),
            *flag("translated-all", input.every_machine),
        ],
    shell:
        "python -m polybatch.pairs.parallel --collected {input.collected:q} --lang {params.lang:q} "
        "{params.contaminated:q} {params.made:q} --output {output:q} 2> {log:q}"


# What came back from one language, as a second English text of each pair.
use rule parallel as paraphrases with:
    input:
        collected=PATHS.collected(),
        contaminated=PATHS.contaminated_files(),
        machine=lambda w: PATHS.translated(CONFIG["translation"]["paraphrases"]),
        every_machine=PATHS.translated_files().values(),
        evaluation_text=PATHS.evaluation_texts(),
    output:
        PATHS.paraphrases(),
    log:
        PATHS.log("parallel", "paraphrase"),
    benchmark:
        PATHS.timing("parallel", "paraphrase")
    resources:
        mem_mb=memory(2000, beside=True),
        runtime=minutes(30),
    params:
        lang="en",
        made=lambda w, input: [
            *flag("translated-all", input.every_machine),
            *flag("paraphrase", input.machine),
            *flag("evaluation-text", input.evaluation_text),
        ],


# English pairs whose loss decides when to stop: the dev split, or a source of their own.
use rule parallel as validation with:
    input:
        collected=PATHS.collected(),
        contaminated=PATHS.contaminated_files(),
        source=PATHS.validation_source_files(),
    output:
        PATHS.validation(),
    log:
        PATHS.log("parallel", "validation"),
    benchmark:
        PATHS.timing("parallel", "validation")
    group:
        DECONTAMINATION_GROUP
    params:
        # The number of pairs is among what is given by `made`, which Snakemake does not keep.
        code=with_state(code_digest("pairs.parallel"), lambda w: unusual_validation_pairs()),
        lang="en",
        made=lambda w, input: (
            [*flag("validation-source", input.source), "--max-pairs", CONFIG["validation"]["max_pairs"]]
            if VALIDATION
            else ["--split", "dev"]
        ),
