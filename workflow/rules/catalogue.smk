# The galaxies of a sample.


rule build_catalogue:
    output:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        notes="results/{sample}/catalogue/notes.json",
    log:
        "logs/{sample}/build_catalogue.log",
    benchmark:
        "benchmarks/{sample}/build_catalogue.tsv"
    wildcard_constraints:
        sample=of_source("kcorrect_gst"),
    conda:
        "../../envs/catalogue.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="10m",
        disk_mb=200,
    params:
        sample=lambda wildcards: {
            k: v for k, v in config["samples"][wildcards.sample].items() if k not in ("modalities", "causality")
        },
        code=code("build_catalogue"),
    script:
        "../scripts/build_catalogue.py"


rule plot_catalogue:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        notes="results/{sample}/catalogue/notes.json",
    output:
        quality=report(
            "results/{sample}/catalogue/quality.svg",
            caption="../report/quality.rst",
            category="1. Catalogue",
            labels={"sample": "{sample}", "shows": "redshifts, masses, colours, errors"},
        ),
        cuts=report(
            "results/{sample}/catalogue/cuts.csv",
            caption="../report/cuts.rst",
            category="1. Catalogue",
            labels={"sample": "{sample}", "shows": "quality cuts"},
        ),
    log:
        "logs/{sample}/plot_catalogue.log",
    benchmark:
        "benchmarks/{sample}/plot_catalogue.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="5m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.notes),
        source=lambda wildcards: config["samples"][wildcards.sample]["source"],
        code=code("plot_catalogue"),
    script:
        "../scripts/plot_catalogue.py"
