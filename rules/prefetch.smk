# Everything that comes from a network, fetched before anything is computed; on a cluster, where Snakemake was started:
# compute nodes often have no network.


# Sources, encoders, translators and benchmarks: afterwards no other stage needs a connection.
rule prefetch:
    input:
        [source_file(name) for name in ALL_SOURCES],
        expand("{base}/hub/{record}.json", base=BASE, record=HUB),


# One repository of the Hugging Face hub, into the hub's own cache (HF_HOME); the record says where it is.
rule fetch_hub:
    output:
        f"{BASE}/hub/{{record}}.json",
    log:
        f"{BASE}/logs/hub/{{record}}.log",
    wildcard_constraints:
        record=one_of(HUB),
    localrule: True
    conda:
        "../envs/data.yaml"
    params:
        code=code_digest("prefetch.fetch"),
        request=lambda w: as_json(HUB[w.record]),
        revisions=f"{BASE}/hub/revisions",
    shell:
        "python -m polybatch.prefetch.fetch --request {params.request:q} --revisions {params.revisions} "
        "--record {output} 2> {log}"


if any(source["adapter"] == "homeassistant" for source in ALL_SOURCES.values()):

    # Downloads a pinned wheel with pip; nothing is installed.
    rule fetch_wheel:
        output:
            "results/sources/{wheel}-py3-none-any.whl",
        log:
            "results/sources/logs/{wheel}.log",
        localrule: True
        conda:
            "../envs/data.yaml"
        params:
            code=code_digest("prefetch.wheel"),
            requirement=lambda w: wheel_source(w.wheel)["requirement"],
            sha256=lambda w: wheel_source(w.wheel)["sha256"],
        shell:
            "python -m polybatch.prefetch.wheel --requirement {params.requirement} --sha256 {params.sha256} "
            "--output {output} 2> {log}"
