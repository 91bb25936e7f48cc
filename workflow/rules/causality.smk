# Neighbours in the latent space and local independence tests.


rule find_neighbours:
    input:
        embeddings="results/{sample}/contrastive/{modality}/embeddings.parquet",
    output:
        neighbours=directory("results/{sample}/causality/{modality}/neighbours.zarr"),
        notes="results/{sample}/causality/{modality}/neighbours.json",
    log:
        "logs/{sample}/{modality}/find_neighbours.log",
    benchmark:
        "benchmarks/{sample}/{modality}/find_neighbours.tsv"
    conda:
        "../../envs/causal.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="2h",
        disk_mb=1000,
    params:
        k=config["causality"]["k"],
        index=config["causality"]["index"],
        recall_queries=config["causality"]["recall_queries"],
        code=code("find_neighbours"),
    script:
        "../scripts/find_neighbours.py"


rule test_independence:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        embeddings="results/{sample}/contrastive/{modality}/embeddings.parquet",
        # Snakemake compares folders by date: the digests in the notes decide instead
        neighbours=ancient("results/{sample}/causality/{modality}/neighbours.zarr"),
        notes="results/{sample}/causality/{modality}/neighbours.json",
    output:
        independence="results/{sample}/causality/{modality}/independence.parquet",
        summary="results/{sample}/causality/{modality}/independence.json",
        distances=report(
            "results/{sample}/causality/{modality}/distances.csv",
            caption="../report/distances.rst",
            category="3. Local independence tests",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "table by class"},
        ),
    log:
        "logs/{sample}/{modality}/test_independence.log",
    benchmark:
        "benchmarks/{sample}/{modality}/test_independence.tsv"
    conda:
        "../../envs/causal.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="2h",
        disk_mb=1000,
    params:
        queries=lambda wildcards: causality_of(config, wildcards.sample)["queries"],
        conditions=lambda wildcards: causality_of(config, wildcards.sample)["conditions"],
        split=config["causality"]["tested_split"],
        blocks=config["causality"]["blocks"],
        seed=config["seeds"]["permutations"],
        code=code("test_independence"),
    script:
        "../scripts/test_independence.py"


rule plot_independence:
    input:
        independence="results/{sample}/causality/{modality}/independence.parquet",
        summary="results/{sample}/causality/{modality}/independence.json",
    output:
        panels=report(
            "results/{sample}/causality/{modality}/independence.svg",
            caption="../report/independence.rst",
            category="3. Local independence tests",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "original against permuted"},
        ),
    log:
        "logs/{sample}/{modality}/plot_independence.log",
    benchmark:
        "benchmarks/{sample}/{modality}/plot_independence.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.summary),
        code=code("plot_independence"),
    script:
        "../scripts/plot_independence.py"
