# Informations of a tuple by other methods, from one number of each input, beside those of the networks.


rule cross_check_pid:
    input:
        galaxies="results/{sample}/catalogue/galaxies.parquet",
        # Snakemake compares folders by date: the digests in the notes decide instead
        densities=lambda wildcards: [ancient(path) for path in densities(wildcards, "zarr")],
        notes=lambda wildcards: densities(wildcards, "json"),
        summary="results/{sample}/information/{tuple}/summary.json",
    output:
        numbers="results/{sample}/information/{tuple}/cross_check.json",
        table=report(
            "results/{sample}/information/{tuple}/cross_check.csv",
            caption="../report/cross_check.rst",
            category="4. Information",
            subcategory="{tuple}",
            labels={"sample": "{sample}", "tuple": "{tuple}", "shows": "table of methods"},
        ),
    log:
        "logs/{sample}/{tuple}/cross_check_pid.log",
    benchmark:
        "benchmarks/{sample}/{tuple}/cross_check_pid.tsv"
    conda:
        "../../envs/information.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime="4h",
        disk_mb=200,
    params:
        inputs=lambda wildcards: inputs_of(tuple_entry(wildcards.tuple)),
        options=config["information"]["cross_check"],
        seed=config["seeds"]["information"],
        code=code("cross_check_pid"),
    script:
        "../scripts/cross_check_pid.py"
