# Visibilities of a galaxy: simulated, downloaded or from a file; one labelled store; uv cells.


rule simulate_observation:
    input:
        coverage="resources/ngc4697/uv_cells.npz",
    output:
        visibilities=directory("results/{galaxy}/observation/simulated.zarr"),
        truth="results/{galaxy}/observation/truth.json",
        velocity="results/{galaxy}/observation/velocity.csv",
        mge="results/{galaxy}/observation/mge.csv",
    log:
        "logs/{galaxy}/simulate_observation.log",
    benchmark:
        "benchmarks/{galaxy}/simulate_observation.tsv"
    conda:
        "../../envs/visibilities.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime="1h",
        disk_mb=5000,
    params:
        galaxy=lambda wildcards: galaxy(
            wildcards, "distance_mpc", "rest_frequency_hz", "dish_diameter_m", "primary_beam_coefficient"
        ),
        options=lambda wildcards: config["galaxies"][wildcards.galaxy]["simulation"],
        seed=config["seeds"]["simulation"],
        code=code("simulate_observation"),
    script:
        "../scripts/simulate_observation.py"


rule download_alma:
    output:
        folder=directory("resources/{galaxy}/download"),
        manifest="resources/{galaxy}/download.json",
    log:
        "logs/{galaxy}/download_alma.log",
    benchmark:
        "benchmarks/{galaxy}/download_alma.tsv"
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="12h",
        disk_mb=100000,
        archive=1,
    params:
        observation=lambda wildcards: config["galaxies"][wildcards.galaxy]["observation"],
        frequency_hz=sky_frequency,
        scratch="resources/{galaxy}/.download",
        code=code("download_alma"),
    script:
        "../scripts/download_alma.py"


rule import_visibilities:
    input:
        observation=observation,
    output:
        visibilities=directory("results/{galaxy}/visibilities/visibilities.zarr"),
        notes="results/{galaxy}/visibilities/visibilities.json",
        channels="results/{galaxy}/visibilities/channels.csv",
    log:
        "logs/{galaxy}/import_visibilities.log",
    benchmark:
        "benchmarks/{galaxy}/import_visibilities.tsv"
    conda:
        "../../envs/visibilities.yaml"
    threads: 1
    resources:
        mem_mb=memory(6000),
        runtime="2h",
        disk_mb=20000,
    params:
        path=observation_file,
        galaxy=lambda wildcards: galaxy(wildcards, "rest_frequency_hz", "dish_diameter_m", "frame", "channels"),
        options=lambda wildcards: config["galaxies"][wildcards.galaxy]["observation"].get("options", {}),
        code=code("import_visibilities"),
    script:
        "../scripts/import_visibilities.py"


rule grid_visibilities:
    input:
        # Snakemake compares folders by date: the digests in the notes decide instead
        visibilities=ancient("results/{galaxy}/visibilities/visibilities.zarr"),
        notes="results/{galaxy}/visibilities/visibilities.json",
    output:
        grid=directory("results/{galaxy}/visibilities/grid.zarr"),
        notes="results/{galaxy}/visibilities/grid.json",
    log:
        "logs/{galaxy}/grid_visibilities.log",
    benchmark:
        "benchmarks/{galaxy}/grid_visibilities.tsv"
    conda:
        "../../envs/visibilities.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="1h",
        disk_mb=5000,
    params:
        options=lambda wildcards: config["galaxies"][wildcards.galaxy]["grid"],
        code=code("grid_visibilities"),
    script:
        "../scripts/grid_visibilities.py"


rule plot_visibilities:
    input:
        grid=ancient("results/{galaxy}/visibilities/grid.zarr"),
        notes="results/{galaxy}/visibilities/grid.json",
        channels="results/{galaxy}/visibilities/channels.csv",
    output:
        coverage=report(
            "results/{galaxy}/visibilities/coverage.svg",
            caption="../report/coverage.rst",
            category="5. Visibilities",
            subcategory="{galaxy}",
            labels={"galaxy": "{galaxy}", "shows": "uv coverage"},
        ),
        spectrum=report(
            "results/{galaxy}/visibilities/spectrum.svg",
            caption="../report/spectrum.rst",
            category="5. Visibilities",
            subcategory="{galaxy}",
            labels={"galaxy": "{galaxy}", "shows": "line, and weights against scatter"},
        ),
        maps=report(
            "results/{galaxy}/visibilities/channel_maps.svg",
            caption="../report/channel_maps.rst",
            category="5. Visibilities",
            subcategory="{galaxy}",
            labels={"galaxy": "{galaxy}", "shows": "channel maps"},
        ),
    log:
        "logs/{galaxy}/plot_visibilities.log",
    benchmark:
        "benchmarks/{galaxy}/plot_visibilities.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="30m",
        disk_mb=500,
    params:
        title=lambda wildcards: config["galaxies"][wildcards.galaxy]["title"],
        n_pix=lambda wildcards: config["galaxies"][wildcards.galaxy]["model"]["n_pix"],
        numbers=lambda wildcards, input: numbers(input.notes),
        code=code("plot_visibilities"),
    script:
        "../scripts/plot_visibilities.py"
