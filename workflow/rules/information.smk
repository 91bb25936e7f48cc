# Information of inputs about the mass: held-out densities of each modality, components of each tuple, what they answer.


rule train_density:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        images=images,
        image_notes=image_notes,
        exclusions=exclusions,
    output:
        density=directory("results/{sample}/information/densities/{modality}.zarr"),
        notes="results/{sample}/information/densities/{modality}.json",
    log:
        "logs/{sample}/{modality}/train_density.log",
    benchmark:
        "benchmarks/{sample}/{modality}/train_density.tsv"
    priority: 5  # before what is short
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=memory(2500),
        runtime="24h",
        disk_mb=500,
        gpu=1,
    params:
        modality=seen_by,
        stores=image_stores,
        options=lambda wildcards: density_options(config, wildcards.modality),
        plan={key: config["information"][key] for key in ("bin_width", "folds", "ensemble", "validation")},
        seed=config["seeds"]["density"],
        scratch="results/{sample}/information/densities/.{modality}.training",
        code=code("train_density"),
    script:
        "../scripts/train_density.py"


rule decompose_information:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        # Snakemake compares folders by date: the digests in the notes decide instead
        densities=lambda wildcards: [ancient(path) for path in densities(wildcards, "zarr")],
        notes=lambda wildcards: densities(wildcards, "json"),
        truth=known_information,
    output:
        components="results/{sample}/information/{tuple}/components.parquet",
        summary="results/{sample}/information/{tuple}/summary.json",
        averages=report(
            "results/{sample}/information/{tuple}/averages.csv",
            caption="../report/averages.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={"sample": "{sample}", "tuple": "{tuple}", "shows": "table of components"},
        ),
    log:
        "logs/{sample}/{tuple}/decompose_information.log",
    benchmark:
        "benchmarks/{sample}/{tuple}/decompose_information.tsv"
    conda:
        "../../envs/information.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
        disk_mb=500,
    params:
        inputs=lambda wildcards: inputs_of(tuple_entry(wildcards.tuple)),
        mass_range=config["contrastive"]["mass_range"],
        options={key: config["information"][key] for key in ("bin_width", "max_unshared", "prior", "bootstrap", "bins")},
        truth=config["information"]["truth"],
        seed=config["seeds"]["information"],
        code=code("decompose_information"),
    script:
        "../scripts/decompose_information.py"


rule plot_information:
    input:
        summary="results/{sample}/information/{tuple}/summary.json",
        cross_check="results/{sample}/information/{tuple}/cross_check.json",
    output:
        bars=report(
            "results/{sample}/information/{tuple}/bars.svg",
            caption="../report/components.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={"sample": "{sample}", "tuple": "{tuple}", "shows": "components by class"},
        ),
        stacks=report(
            "results/{sample}/information/{tuple}/stacks.svg",
            caption="../report/components.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={"sample": "{sample}", "tuple": "{tuple}", "shows": "components by mass and magnitude"},
        ),
        noise=report(
            "results/{sample}/information/{tuple}/noise.svg",
            caption="../report/noise.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={"sample": "{sample}", "tuple": "{tuple}", "shows": "noise of the networks, truth"},
        ),
        methods=report(
            "results/{sample}/information/{tuple}/cross_check.svg",
            caption="../report/methods.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={"sample": "{sample}", "tuple": "{tuple}", "shows": "components by other methods"},
        ),
    log:
        "logs/{sample}/{tuple}/plot_information.log",
    benchmark:
        "benchmarks/{sample}/{tuple}/plot_information.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.summary),
        code=code("plot_information"),
    script:
        "../scripts/plot_information.py"


rule plot_gap:
    input:
        summary="results/{sample}/information/{tuple}/summary.json",
    output:
        gap=report(
            "results/{sample}/information/{tuple}/gap.svg",
            caption="../report/gap.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={
                "sample": "{sample}",
                "tuple": "{tuple}",
                "shows": "gap between images and what is measured of them",
            },
        ),
    log:
        "logs/{sample}/{tuple}/plot_gap.log",
    benchmark:
        "benchmarks/{sample}/{tuple}/plot_gap.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.summary),
        code=code("plot_gap"),
    script:
        "../scripts/plot_gap.py"


rule plot_synergies:
    input:
        summaries=lambda wildcards: [
            f"results/{wildcards.sample}/information/{t}/summary.json" for t in bands_of(wildcards)
        ],
    output:
        synergies=report(
            "results/{sample}/information/synergies.svg",
            caption="../report/synergies.rst",
            category="4. Information",
            labels={"sample": "{sample}", "shows": "synergy of pairs"},
        ),
    log:
        "logs/{sample}/plot_synergies.log",
    benchmark:
        "benchmarks/{sample}/plot_synergies.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        code=code("plot_synergies"),
    script:
        "../scripts/plot_synergies.py"


rule answer_questions:
    input:
        summaries=[f"results/{s}/information/{t}/summary.json" for s, t in tuples(config)],
        components=[f"results/{s}/information/{t}/components.parquet" for s, t in tuples(config)],
        embeddings=[f"results/{s}/contrastive/{m}/embeddings.parquet" for s, m in decomposed_models()],
    output:
        table=report(
            "results/answers.csv",
            caption="../report/questions.rst",
            category="0. Headline numbers",
            labels={"shows": "what the informations answer, table"},
        ),
        text="results/answers.md",
        page=report(
            "results/answers.html",
            caption="../report/questions.rst",
            category="0. Headline numbers",
            labels={"shows": "what the informations answer, in words"},
        ),
    log:
        "logs/answer_questions.log",
    benchmark:
        "benchmarks/answer_questions.tsv"
    conda:
        "../../envs/information.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="10m",
        disk_mb=100,
    params:
        questions={t: tuple_entry(t)["question"] for _, t in tuples(config)},
        contrastive=decomposed_models(),
        widths={m: config["modalities"][m]["bin_width"] for _, m in decomposed_models()},
        width=config["information"]["bin_width"],
        code=code("answer_questions"),
    script:
        "../scripts/answer_questions.py"
