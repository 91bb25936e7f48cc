# A simulated sky: its galaxies, their images, and what its causes imply.


rule simulate_sky:
    output:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        notes="results/{sample}/catalogue/notes.json",
        truth="results/{sample}/truth/galaxies.parquet",
    log:
        "logs/{sample}/simulate_sky.log",
    benchmark:
        "benchmarks/{sample}/simulate_sky.tsv"
    wildcard_constraints:
        sample=of_source("mock"),
    conda:
        "../../envs/catalogue.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="1h",
        disk_mb=1000,
    params:
        options=lambda wildcards: sample(wildcards, *SKY),
        code=code("simulate_sky"),
    script:
        "../scripts/simulate_sky.py"


rule render_sky:
    input:
        truth="results/{sample}/truth/galaxies.parquet",
    output:
        images=directory("results/{sample}/images/{store}.zarr"),
        notes="results/{sample}/images/{store}.json",
    log:
        "logs/{sample}/{store}/render_sky.log",
    benchmark:
        "benchmarks/{sample}/{store}/render_sky.tsv"
    wildcard_constraints:
        sample=of_source("mock"),
    conda:
        "../../envs/images.yaml"
    threads: 2
    resources:
        mem_mb=memory(1500),
        runtime="12h",
        disk_mb=20000,
    params:
        instrument=lambda wildcards: config["samples"][wildcards.sample]["images"][wildcards.store],
        seed=lambda wildcards: config["samples"][wildcards.sample]["seed"],
        code=code("render_sky"),
    script:
        "../scripts/render_sky.py"


rule derive_truth:
    output:
        graph="results/{sample}/truth/graph.json",
        independences="results/{sample}/truth/independences.json",
        answers=report(
            "results/{sample}/truth/answers.csv",
            caption="../report/answers.rst",
            category="1. Catalogue",
            labels={"sample": "{sample}", "shows": "what the causes of the simulation imply"},
        ),
        information=report(
            "results/{sample}/truth/information.csv",
            caption="../report/information.rst",
            category="1. Catalogue",
            labels={"sample": "{sample}", "shows": "what an ideal network would know"},
        ),
    log:
        "logs/{sample}/derive_truth.log",
    benchmark:
        "benchmarks/{sample}/derive_truth.tsv"
    wildcard_constraints:
        sample=of_source("mock"),
    conda:
        "../../envs/catalogue.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
        disk_mb=1000,
    params:
        options=lambda wildcards: sample(wildcards, *SKY, "information"),
        modalities=lambda wildcards: {
            name: config["modalities"][name] for name in config["samples"][wildcards.sample]["modalities"]
        },
        queries=lambda wildcards: causality_of(config, wildcards.sample)["queries"],
        code=code("derive_truth"),
    script:
        "../scripts/derive_truth.py"
