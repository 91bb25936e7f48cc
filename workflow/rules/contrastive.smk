# The supervised contrastive model of each modality, its baselines and its scores.


rule train_encoder:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        images=images,
        image_notes=image_notes,
        exclusions=exclusions,
    output:
        model="results/{sample}/contrastive/{modality}/model.safetensors",
        history="results/{sample}/contrastive/{modality}/history.csv",
    log:
        "logs/{sample}/{modality}/train_encoder.log",
    benchmark:
        "benchmarks/{sample}/{modality}/train_encoder.tsv"
    priority: 10  # the longest of a modality: first
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000 * config["run"]["devices"]),
        runtime="4h",
        disk_mb=500,
        gpu=config["run"]["devices"],
        devices=config["run"]["devices"],
    params:
        modality=lambda wildcards: config["modalities"][wildcards.modality],
        stores=image_stores,
        options=lambda wildcards: training_options(config, wildcards.modality),
        seed=config["seeds"]["training"],
        scratch="results/{sample}/contrastive/{modality}/.training",
        code=code("train_encoder"),
    script:
        "../scripts/train_encoder.py"


rule extract_embeddings:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        model="results/{sample}/contrastive/{modality}/model.safetensors",
        images=images,
        image_notes=image_notes,
        exclusions=exclusions,
    output:
        embeddings="results/{sample}/contrastive/{modality}/embeddings.parquet",
        density=directory("results/{sample}/contrastive/{modality}/density.zarr"),
    log:
        "logs/{sample}/{modality}/extract_embeddings.log",
    benchmark:
        "benchmarks/{sample}/{modality}/extract_embeddings.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime="30m",
        disk_mb=1000,
        gpu=1,
    params:
        stores=image_stores,
        recalibration=config["recalibration"],
        code=code("extract_embeddings"),
    script:
        "../scripts/extract_embeddings.py"


rule fit_baselines:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        images=images,
        image_notes=image_notes,
        exclusions=exclusions,
    output:
        baselines="results/{sample}/contrastive/{modality}/baselines.parquet",
    log:
        "logs/{sample}/{modality}/fit_baselines.log",
    benchmark:
        "benchmarks/{sample}/{modality}/fit_baselines.tsv"
    conda:
        "../../envs/causal.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="30m",
        disk_mb=200,
    params:
        modality=lambda wildcards: config["modalities"][wildcards.modality],
        stores=image_stores,
        mass_range=config["contrastive"]["mass_range"],
        seed=config["seeds"]["baselines"],
        code=code("fit_baselines"),
    script:
        "../scripts/fit_baselines.py"


rule evaluate_estimates:
    input:
        embeddings="results/{sample}/contrastive/{modality}/embeddings.parquet",
        baselines="results/{sample}/contrastive/{modality}/baselines.parquet",
    output:
        metrics="results/{sample}/contrastive/{modality}/metrics.json",
        scores=report(
            "results/{sample}/contrastive/{modality}/scores.csv",
            caption="../report/scores.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "scores beside the baselines"},
        ),
    log:
        "logs/{sample}/{modality}/evaluate_estimates.log",
    benchmark:
        "benchmarks/{sample}/{modality}/evaluate_estimates.tsv"
    conda:
        "../../envs/causal.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        bootstrap=config["evaluation"]["bootstrap"],
        seed=config["seeds"]["evaluation"],
        code=code("evaluate_estimates"),
    script:
        "../scripts/evaluate_estimates.py"


rule plot_estimates:
    input:
        embeddings="results/{sample}/contrastive/{modality}/embeddings.parquet",
        history="results/{sample}/contrastive/{modality}/history.csv",
        metrics="results/{sample}/contrastive/{modality}/metrics.json",
    output:
        truth=report(
            "results/{sample}/contrastive/{modality}/truth.svg",
            caption="../report/truth.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "estimate against truth"},
        ),
        pit=report(
            "results/{sample}/contrastive/{modality}/pit.svg",
            caption="../report/pit.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "PIT histogram"},
        ),
        training=report(
            "results/{sample}/contrastive/{modality}/training.svg",
            caption="../report/training.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "training curves"},
        ),
        latent=report(
            "results/{sample}/contrastive/{modality}/latent.svg",
            caption="../report/latent.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "latent space by mass"},
        ),
    log:
        "logs/{sample}/{modality}/plot_estimates.log",
    benchmark:
        "benchmarks/{sample}/{modality}/plot_estimates.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.metrics),
        seed=config["seeds"]["training"],
        code=code("plot_estimates"),
    script:
        "../scripts/plot_estimates.py"


rule map_saliency:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        model="results/{sample}/contrastive/{modality}/model.safetensors",
        images=images,
        image_notes=image_notes,
        exclusions=exclusions,
    output:
        maps=directory("results/{sample}/contrastive/{modality}/saliency.zarr"),
        notes="results/{sample}/contrastive/{modality}/saliency.json",
    log:
        "logs/{sample}/{modality}/map_saliency.log",
    benchmark:
        "benchmarks/{sample}/{modality}/map_saliency.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="30m",
        disk_mb=200,
        gpu=1,
    params:
        stores=image_stores,
        code=code("map_saliency"),
    script:
        "../scripts/map_saliency.py"


rule plot_saliency:
    input:
        maps=ancient("results/{sample}/contrastive/{modality}/saliency.zarr"),
        notes="results/{sample}/contrastive/{modality}/saliency.json",
        images=images,
        image_notes=image_notes,
    output:
        saliency=report(
            "results/{sample}/contrastive/{modality}/saliency.svg",
            caption="../report/saliency.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "what moves the estimate"},
        ),
        profile=report(
            "results/{sample}/contrastive/{modality}/saliency_profile.svg",
            caption="../report/saliency.rst",
            category="2. Mass estimates",
            subcategory="{modality}",
            labels={"sample": "{sample}", "modality": "{modality}", "shows": "what moves the estimate, by radius"},
        ),
    log:
        "logs/{sample}/{modality}/plot_saliency.log",
    benchmark:
        "benchmarks/{sample}/{modality}/plot_saliency.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.notes),
        code=code("plot_saliency"),
    script:
        "../scripts/plot_saliency.py"


rule summarise_run:
    input:
        metrics=[f"results/{s}/contrastive/{m}/metrics.json" for s, m in models(config)],
        embeddings=[f"results/{s}/contrastive/{m}/embeddings.parquet" for s, m in models(config)],
        tests=[f"results/{s}/causality/{m}/independence.json" for s, m in models(config)],
    output:
        headlines=report(
            HEADLINES,
            caption="../report/headlines.rst",
            category="0. Headline numbers",
            labels={"shows": "all samples and modalities"},
        ),
    log:
        "logs/summarise_run.log",
    benchmark:
        "benchmarks/summarise_run.tsv"
    conda:
        "../../envs/causal.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="5m",
        disk_mb=100,
    params:
        models=models(config),
        bootstrap=config["evaluation"]["bootstrap"],
        seed=config["seeds"]["evaluation"],
        code=code("summarise_run"),
    script:
        "../scripts/summarise_run.py"
