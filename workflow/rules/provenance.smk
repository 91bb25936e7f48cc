# What a run was made of. The one rule that reads the whole configuration, and so follows every edit.


rule record_provenance:
    input:
        lock="requirements.lock",
        environments=sorted(str(path.relative_to(workflow.basedir)) for path in ENVIRONMENTS.glob("*.yaml")),
        data=data_files(),
    output:
        record=report(
            PROVENANCE,
            caption="../report/provenance.rst",
            category="0. Headline numbers",
            labels={"shows": "what the run was made of"},
        ),
    log:
        "logs/record_provenance.log",
    benchmark:
        "benchmarks/record_provenance.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="5m",
        disk_mb=100,
    params:
        config=config,
        scripts={path.stem: code(path.stem) for path in sorted(SCRIPTS.glob("*.py"))},
        snakemake=snakemake_version,
        code=code("record_provenance"),
    script:
        "../scripts/record_provenance.py"
