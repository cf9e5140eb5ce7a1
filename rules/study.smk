# What a study costs, before it starts.


# Prints jobs, sentences, steps, passages, hours, disk and the wall clock, and writes them to results/plans/<study>.md.
rule plan:
    log:
        PATHS.plan("log"),
    conda:
        "../envs/tables.yaml"
    params:
        config=lambda w: as_json(config),
        resolved=lambda w: as_json(CONFIG),
        snakefile=lambda w: workflow.main_snakefile,
        base=PATHS.base,
        output=PATHS.plan(),
        # What `polybatch plan` was asked for beside Snakemake's options.
        asked=lambda w: shlex.split(os.environ.get("POLYBATCH_PLAN", "")),
    shell:
        # The inner snakemake only looks, so it needs no lock.
        "work=$(mktemp -d) && trap 'rm -rf \"$work\"' EXIT && "
        "printf '%s' {params.config:q} > \"$work/config.json\" && "
        "snakemake --snakefile {params.snakefile:q} --nolock --cores 1 --dry-run --quiet rules "
        '--configfile "$work/config.json" > "$work/jobs.txt" 2>&1 || {{ cat "$work/jobs.txt" >&2; exit 1; }}; '
        "python -m polybatch.study.plan --config {params.resolved:q} --base {params.base:q} "
        '--jobs "$work/jobs.txt" --output {params.output:q} {params.asked:q} 2> {log:q}'
