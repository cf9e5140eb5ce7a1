# One HTML file with the study's tables, figures, captions and provenance.


# The report itself is Snakemake's; this rule runs it on what the tables' rule made.
rule report:
    input:
        f"results/reports/{STUDY}.html",


rule make_report:
    input:
        f"{TABLES}/latest/VERSION",
    output:
        f"results/reports/{STUDY}.html",
    log:
        f"{BASE}/logs/report/{STUDY}.log",
    localrule: True
    conda:
        "../envs/tables.yaml"
    params:
        config=fixed_json(config),
        snakefile=workflow.main_snakefile,
    shell:
        # The inner snakemake reads the finished jobs' records only, so it needs no lock.
        "overlay=$(mktemp --suffix .json) && trap 'rm -f \"$overlay\"' EXIT && "
        "printf '%s' {params.config:q} > \"$overlay\" && "
        'snakemake --snakefile {params.snakefile:q} --configfile "$overlay" --nolock --cores 1 '
        "--report {output} -- tables > {log} 2>&1"
