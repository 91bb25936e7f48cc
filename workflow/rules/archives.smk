# The Main Galaxy Sample from public archives. What came is kept in undeclared folders: nothing is fetched twice, whatever reruns, but frames,
# which are deleted when they were cut.


rule download_catalogue:
    input:
        sql=sql("galaxies.sql", "main_galaxy_sample.sql"),
    output:
        galaxies="resources/{sample}/galaxies.parquet",
        notes="resources/{sample}/galaxies.json",
    log:
        "logs/{sample}/download_catalogue.log",
    benchmark:
        "benchmarks/{sample}/download_catalogue.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="12h",
        disk_mb=3000,
        archive=1,
    params:
        query=query,
        folder="resources/{sample}/answers",
        code=code("download_catalogue"),
    script:
        "../scripts/download_catalogue.py"


rule download_wise_matches:
    input:
        sql=sql("allwise.adql", "wise_allsky.sql", "main_galaxy_sample.sql"),
        galaxies="resources/{sample}/galaxies.parquet",
    output:
        matches="resources/{sample}/wise.parquet",
    log:
        "logs/{sample}/download_wise_matches.log",
    benchmark:
        "benchmarks/{sample}/download_wise_matches.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="12h",
        disk_mb=1000,
        archive=1,
    params:
        query=query,
        wise=lambda wildcards: config["samples"][wildcards.sample]["wise"],
        folder="resources/{sample}/answers",
        code=code("download_wise_matches"),
    script:
        "../scripts/download_wise_matches.py"


rule select_galaxies:
    input:
        galaxies="resources/{sample}/galaxies.parquet",
    output:
        places="results/{sample}/catalogue/places.parquet",
        cuts="results/{sample}/catalogue/places.json",
    log:
        "logs/{sample}/select_galaxies.log",
    benchmark:
        "benchmarks/{sample}/select_galaxies.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/download.yaml"  # another one would have all frames fetched again when its pins change
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="1h",
        disk_mb=500,
    params:
        options=lambda wildcards: sample(wildcards, "redshift", "max_petro_mag_err", "max_galaxies", "seed"),
        code=code("select_galaxies"),
    script:
        "../scripts/select_galaxies.py"


rule download_sersic_fits:
    output:
        fits="resources/{sample}/sersic_fits.parquet",
    log:
        "logs/{sample}/download_sersic_fits.log",
    benchmark:
        "benchmarks/{sample}/download_sersic_fits.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime="12h",
        disk_mb=10000,
        archive=1,
    params:
        folder="resources/{sample}/nyu_vagc",
        code=code("download_sersic_fits"),
    script:
        "../scripts/download_sersic_fits.py"


rule build_sdss_catalogue:
    input:
        galaxies="resources/{sample}/galaxies.parquet",
        matches="resources/{sample}/wise.parquet",
        notes="resources/{sample}/galaxies.json",
        places="results/{sample}/catalogue/places.parquet",
        cuts="results/{sample}/catalogue/places.json",
        fits=sersic_fits,
    output:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        notes="results/{sample}/catalogue/notes.json",
    log:
        "logs/{sample}/build_sdss_catalogue.log",
    benchmark:
        "benchmarks/{sample}/build_sdss_catalogue.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/catalogue.yaml"
    threads: 1
    resources:
        mem_mb=memory(6000),
        runtime="1h",
        disk_mb=1000,
    params:
        options=lambda wildcards: sample(wildcards, "query", "wise", "classes", "split", "seed"),
        code=code("build_sdss_catalogue"),
    script:
        "../scripts/build_sdss_catalogue.py"


rule download_frames:
    input:
        places="results/{sample}/catalogue/places.parquet",
    output:
        manifest=kept_frames("resources/{sample}/frames/{chunk}.json"),
    log:
        "logs/{sample}/{chunk}/download_frames.log",
    benchmark:
        "benchmarks/{sample}/{chunk}/download_frames.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="24h",
        disk_mb=30000,
        archive=1,
    params:
        frames=lambda wildcards: {
            key: config["samples"][wildcards.sample]["frames"][key] for key in ("bands", "n_pix", "chunks")
        },
        release=lambda wildcards: config["samples"][wildcards.sample]["query"]["release"],
        folder="resources/{sample}/frames/{chunk}",
        code=code("download_frames"),
    script:
        "../scripts/download_frames.py"


rule download_wise_cutouts:
    input:
        places="results/{sample}/catalogue/places.parquet",
    output:
        images=directory("results/{sample}/images/infrared.zarr"),
        table="results/{sample}/images/infrared.parquet",
        notes="results/{sample}/images/infrared.json",
    log:
        "logs/{sample}/download_wise_cutouts.log",
    benchmark:
        "benchmarks/{sample}/download_wise_cutouts.tsv"
    wildcard_constraints:
        sample=of_source("sdss_mgs"),
    conda:
        "../../envs/download.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime="6d",
        disk_mb=100000,
        archive=1,
    params:
        options=lambda wildcards: config["samples"][wildcards.sample]["wise_cutouts"],
        folder="resources/{sample}/wise_cutouts",
        code=code("download_wise_cutouts"),
    script:
        "../scripts/download_wise_cutouts.py"
