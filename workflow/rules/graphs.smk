# Causal graphs of the variables of a sample, and how often their edges come again.


rule search_graph:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        embeddings=lambda wildcards: [
            f"results/{wildcards.sample}/contrastive/{modality}/embeddings.parquet"
            for modality in graph_of(wildcards.sample)["estimates"]
        ],
        truth=graph_truth,
    output:
        graph="results/{sample}/causality/graph/{method}.json",
        graphml="results/{sample}/causality/graph/{method}.graphml",
        edges=report(
            "results/{sample}/causality/graph/{method}.csv",
            caption="../report/graph.rst",
            category="4. Causal graphs",
            labels={"sample": "{sample}", "method": "{method}", "shows": "edges with frequencies"},
        ),
    log:
        "logs/{sample}/{method}/search_graph.log",
    benchmark:
        "benchmarks/{sample}/{method}/search_graph.tsv"
    wildcard_constraints:
        method="|".join(config["graphs"]["methods"]),
    conda:
        "../../envs/graphs.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="2h",
        disk_mb=200,
    params:
        variables=lambda wildcards: graph_of(wildcards.sample),
        options=lambda wildcards: {
            key: config["graphs"][key]
            for key in (
                *("transform", "missing", "alpha", "orientation", "max_conditions", "penalty"),
                *("blocks", "orders", "limit_s"),
            )
        },
        kernel_galaxies=config["graphs"]["kernel_galaxies"],
        components=config["graphs"]["latent_components"],
        split=config["causality"]["tested_split"],
        replicates=lambda wildcards: config["graphs"]["replicates"][wildcards.method],
        seed=config["seeds"]["graphs"],
        code=code("search_graph"),
    script:
        "../scripts/search_graph.py"


rule score_graphs:
    input:
        graphs=graphs_of_sample,
    output:
        scores=report(
            "results/{sample}/causality/graph/scores.csv",
            caption="../report/graph_scores.rst",
            category="4. Causal graphs",
            labels={"sample": "{sample}", "method": "all", "shows": "distance from the truth"},
        ),
    log:
        "logs/{sample}/score_graphs.log",
    benchmark:
        "benchmarks/{sample}/score_graphs.tsv"
    wildcard_constraints:
        sample=of_source("mock"),
    conda:
        "../../envs/graphs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        code=code("score_graphs"),
    script:
        "../scripts/score_graphs.py"


rule compare_graphs:
    input:
        graphs=graphs_of_sample,
        tests=lambda wildcards: [
            f"results/{wildcards.sample}/causality/{modality}/independence.json"
            for modality in graph_of(wildcards.sample)["estimates"]
        ],
    output:
        table=report(
            "results/{sample}/causality/graph/given_latent.csv",
            caption="../report/graph_given_latent.rst",
            category="4. Causal graphs",
            labels={"sample": "{sample}", "method": "all", "shows": "what touches the mass given a latent"},
        ),
    log:
        "logs/{sample}/compare_graphs.log",
    benchmark:
        "benchmarks/{sample}/compare_graphs.tsv"
    conda:
        "../../envs/graphs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        modalities=lambda wildcards: graph_of(wildcards.sample)["estimates"],
        code=code("compare_graphs"),
    script:
        "../scripts/compare_graphs.py"


rule plot_graphs:
    input:
        graphs=graphs_of_sample,
    output:
        graphs=report(
            "results/{sample}/causality/graph/graphs.svg",
            caption="../report/graph.rst",
            category="4. Causal graphs",
            labels={"sample": "{sample}", "method": "all", "shows": "graphs"},
        ),
    log:
        "logs/{sample}/plot_graphs.log",
    benchmark:
        "benchmarks/{sample}/plot_graphs.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        tiers=lambda wildcards: graph_of(wildcards.sample)["tiers"],
        code=code("plot_graphs"),
    script:
        "../scripts/plot_graphs.py"
