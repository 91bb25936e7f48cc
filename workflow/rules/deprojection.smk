# Nuker profiles as sums of Gaussians: the grid, the network, its errors, the velocities it gives.


rule build_nuker_grid:
    output:
        grid=directory("results/deprojection/grid.zarr"),
        notes="results/deprojection/grid.json",
    log:
        "logs/deprojection/build_nuker_grid.log",
    benchmark:
        "benchmarks/deprojection/build_nuker_grid.tsv"
    conda:
        "../../envs/numerics.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="10m",
        disk_mb=500,
    params:
        axes=config["deprojection"]["grid"]["axes"],
        held_out=config["deprojection"]["grid"]["held_out"],
        seed=config["seeds"]["nuker_grid"],
        code=code("build_nuker_grid"),
    script:
        "../scripts/build_nuker_grid.py"


rule train_deprojection:
    input:
        # Snakemake compares folders by date: the digests in the notes decide instead
        grid=ancient("results/deprojection/grid.zarr"),
        notes="results/deprojection/grid.json",
    output:
        model="results/deprojection/surrogate.safetensors",
        history="results/deprojection/surrogate.csv",
    log:
        "logs/deprojection/train_deprojection.log",
    benchmark:
        "benchmarks/deprojection/train_deprojection.tsv"
    conda:
        "../../envs/numerics.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="4h",
        disk_mb=500,
        gpu=1,
    params:
        options=recipe(config["deprojection"]["recipe"]),
        seed=config["seeds"]["deprojection"],
        scratch="results/deprojection/.training",
        label="surrogate",
        code=code("train_deprojection"),
    script:
        "../scripts/train_deprojection.py"


use rule train_deprojection as train_paper_network with:
    output:
        model="results/deprojection/paper_{output}.safetensors",
        history="results/deprojection/paper_{output}.csv",
    log:
        "logs/deprojection/train_paper_{output}.log",
    benchmark:
        "benchmarks/deprojection/train_paper_{output}.tsv"
    params:
        options=lambda wildcards: recipe("paper") | {"output": wildcards.output},
        seed=config["seeds"]["deprojection"],
        scratch="results/deprojection/.training_{output}",
        label="paper, {output}",
        code=code("train_deprojection"),


rule evaluate_deprojection:
    input:
        committed=COMMITTED,
        models=[f"results/deprojection/{name}.safetensors" for name in NETWORKS],
    output:
        errors="results/deprojection/errors.parquet",
        summary="results/deprojection/errors.json",
        worst="results/deprojection/worst.json",
        methods=report(
            "results/deprojection/methods.csv",
            caption="../report/deprojection_methods.rst",
            category="4. Deprojection",
            labels={"shows": "errors by method"},
        ),
        ablations=report(
            "results/deprojection/ablations.csv",
            caption="../report/deprojection_ablations.rst",
            category="4. Deprojection",
            labels={"shows": "other Gaussians"},
        ),
    log:
        "logs/deprojection/evaluate_deprojection.log",
    benchmark:
        "benchmarks/deprojection/evaluate_deprojection.tsv"
    conda:
        "../../envs/numerics.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="1h",
        disk_mb=200,
    params:
        names=[f"{name}, trained in this run" for name in NETWORKS.values()],
        options=config["deprojection"]["evaluation"],
        seed=config["seeds"]["deprojection_evaluation"],
        code=code("evaluate_deprojection"),
    script:
        "../scripts/evaluate_deprojection.py"


rule tabulate_velocity:
    input:
        committed=COMMITTED,
    output:
        velocity="results/deprojection/velocity.csv",
    log:
        "logs/deprojection/tabulate_velocity.log",
    benchmark:
        "benchmarks/deprojection/tabulate_velocity.tsv"
    conda:
        "../../envs/numerics.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="5m",
        disk_mb=100,
    params:
        method=config["deprojection"]["method"],
        extrapolate=config["deprojection"]["extrapolate"],
        example=config["deprojection"]["example"],
        code=code("tabulate_velocity"),
    script:
        "../scripts/tabulate_velocity.py"


rule plot_deprojection:
    input:
        errors="results/deprojection/errors.parquet",
        summary="results/deprojection/errors.json",
        worst="results/deprojection/worst.json",
        histories=[f"results/deprojection/{name}.csv" for name in NETWORKS],
        velocity="results/deprojection/velocity.csv",
    output:
        distributions=report(
            "results/deprojection/distributions.svg",
            caption="../report/deprojection_distributions.rst",
            category="4. Deprojection",
            labels={"shows": "errors by method"},
        ),
        maps=report(
            "results/deprojection/maps.svg",
            caption="../report/deprojection_maps.rst",
            category="4. Deprojection",
            labels={"shows": "errors over the box"},
        ),
        worst=report(
            "results/deprojection/worst.svg",
            caption="../report/deprojection_worst.rst",
            category="4. Deprojection",
            labels={"shows": "worst profiles"},
        ),
        training=report(
            "results/deprojection/training.svg",
            caption="../report/deprojection_training.rst",
            category="4. Deprojection",
            labels={"shows": "training curves"},
        ),
        velocity=report(
            "results/deprojection/velocity.svg",
            caption="../report/deprojection_velocity.rst",
            category="4. Deprojection",
            labels={"shows": "circular velocity of the example"},
        ),
    log:
        "logs/deprojection/plot_deprojection.log",
    benchmark:
        "benchmarks/deprojection/plot_deprojection.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        names=list(NETWORKS.values()),
        title=f"{config['deprojection']['example']['name']}, {config['deprojection']['method']}",
        numbers=lambda wildcards, input: numbers(input.summary),
        code=code("plot_deprojection"),
    script:
        "../scripts/plot_deprojection.py"
