# Cutouts of galaxies from frames, and what they look like.


rule detect_galaxies:
    output:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        notes="results/{sample}/catalogue/notes.json",
    log:
        "logs/{sample}/detect_galaxies.log",
    benchmark:
        "benchmarks/{sample}/detect_galaxies.tsv"
    wildcard_constraints:
        sample=of_source("frames"),
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="1h",
        disk_mb=1000,
    params:
        folder=lambda wildcards: config["samples"][wildcards.sample]["folder"],
        detection=lambda wildcards: config["samples"][wildcards.sample]["detection"],
        code=code("detect_galaxies"),
    script:
        "../scripts/detect_galaxies.py"


rule cut_frames:
    input:
        places=places,
        manifest=frames_manifest,
    output:
        images=directory("results/{sample}/images/chunks/{chunk}.zarr"),
        table="results/{sample}/images/chunks/{chunk}.parquet",
        notes="results/{sample}/images/chunks/{chunk}.json",
    log:
        "logs/{sample}/{chunk}/cut_frames.log",
    benchmark:
        "benchmarks/{sample}/{chunk}/cut_frames.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs", "frames"),
    priority: 10  # frames are cut, and deleted, before more are fetched
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="12h",
        disk_mb=30000,
    params:
        frames=lambda wildcards: config["samples"][wildcards.sample]["frames"],
        folder=frames_folder,
        source=lambda wildcards: config["samples"][wildcards.sample]["source"],
        code=code("cut_frames"),
    script:
        "../scripts/cut_frames.py"


rule join_cutouts:
    input:
        images=lambda wildcards: [ancient(path) for path in chunk_products(wildcards, "zarr")],
        tables=lambda wildcards: chunk_products(wildcards, "parquet"),
        notes=lambda wildcards: chunk_products(wildcards, "json"),
    output:
        images=directory("results/{sample}/images/optical.zarr"),
        table="results/{sample}/images/optical.parquet",
        notes="results/{sample}/images/optical.json",
    log:
        "logs/{sample}/join_cutouts.log",
    benchmark:
        "benchmarks/{sample}/join_cutouts.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs", "frames"),
    conda:
        "../../envs/images.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime="12h",
        disk_mb=200000,
    params:
        bands=lambda wildcards: config["samples"][wildcards.sample]["frames"]["bands"],
        code=code("join_cutouts"),
    script:
        "../scripts/join_cutouts.py"


rule plot_cutouts:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        images=ancient("results/{sample}/images/{store}.zarr"),
        notes="results/{sample}/images/{store}.json",
    output:
        montage=report(
            "results/{sample}/images/{store}.svg",
            caption="../report/montage.rst",
            category="1. Catalogue",
            labels={"sample": "{sample}", "shows": "{store} images with masses"},
        ),
    log:
        "logs/{sample}/{store}/plot_cutouts.log",
    benchmark:
        "benchmarks/{sample}/{store}/plot_cutouts.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="10m",
        disk_mb=200,
    params:
        numbers=lambda wildcards, input: numbers(input.notes),
        code=code("plot_cutouts"),
    script:
        "../scripts/plot_cutouts.py"
