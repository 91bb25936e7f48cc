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
        replicates=lambda wildcards: config["graphs"]["replicates"][wildcards.method],
        seed=config["seeds"]["graphs"],
        code=code("search_graph"),
    script:
        "../scripts/search_graph.py"


rule plot_graphs:
    input:
        graphs=expand("results/{{sample}}/causality/graph/{method}.json", method=config["graphs"]["methods"]),
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
