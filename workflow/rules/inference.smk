# The black hole: fits of mass models to the uv cells, checks of the fits, mass models side by side.


rule fit_visibilities:
    input:
        grid=ancient("results/{galaxy}/visibilities/grid.zarr"),
        notes="results/{galaxy}/visibilities/grid.json",
        weights=network_input,
        table=optical_input,
    output:
        posterior="results/{galaxy}/fit/{mass_model}/posterior.nc",
        summary="results/{galaxy}/fit/{mass_model}/summary.json",
        setup="results/{galaxy}/fit/{mass_model}/setup.json",
    log:
        "logs/{galaxy}/{mass_model}/fit_visibilities.log",
    benchmark:
        "benchmarks/{galaxy}/{mass_model}/fit_visibilities.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime="12h",
        disk_mb=2000,
        gpu=1,
    params:
        galaxy=lambda wildcards: galaxy(wildcards, *FITTED),
        fitting=config["fitting"],
        deprojection=deprojection_method,
        mge_table=optical_table,
        seed=config["seeds"]["fitting"],
        scratch="results/{galaxy}/fit/{mass_model}/.sampling",
        code=code("fit_visibilities"),
    script:
        "../scripts/fit_visibilities.py"


rule check_fit:
    input:
        grid=ancient("results/{galaxy}/visibilities/grid.zarr"),
        notes="results/{galaxy}/visibilities/grid.json",
        weights=network_input,
        table=optical_input,
        posterior="results/{galaxy}/fit/{mass_model}/posterior.nc",
        setup="results/{galaxy}/fit/{mass_model}/setup.json",
    output:
        images=directory("results/{galaxy}/fit/{mass_model}/images.zarr"),
        channels="results/{galaxy}/fit/{mass_model}/chi2_channels.csv",
        baselines="results/{galaxy}/fit/{mass_model}/chi2_baselines.csv",
        check="results/{galaxy}/fit/{mass_model}/check.json",
    log:
        "logs/{galaxy}/{mass_model}/check_fit.log",
    benchmark:
        "benchmarks/{galaxy}/{mass_model}/check_fit.tsv"
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime="1h",
        disk_mb=2000,
    params:
        seed=config["seeds"]["fitting"],
        code=code("check_fit"),
    script:
        "../scripts/check_fit.py"


rule plot_fit:
    input:
        posterior="results/{galaxy}/fit/{mass_model}/posterior.nc",
        summary="results/{galaxy}/fit/{mass_model}/summary.json",
        images=ancient("results/{galaxy}/fit/{mass_model}/images.zarr"),
        check="results/{galaxy}/fit/{mass_model}/check.json",
        channels="results/{galaxy}/fit/{mass_model}/chi2_channels.csv",
        baselines="results/{galaxy}/fit/{mass_model}/chi2_baselines.csv",
        truth=truth,
    output:
        **fit_figures(),
    log:
        "logs/{galaxy}/{mass_model}/plot_fit.log",
    benchmark:
        "benchmarks/{galaxy}/{mass_model}/plot_fit.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime="30m",
        disk_mb=500,
    params:
        title=lambda wildcards: f"{config['galaxies'][wildcards.galaxy]['title']}, {wildcards.mass_model}",
        numbers=lambda wildcards, input: numbers(input.summary),
        checked=lambda wildcards, input: numbers(input.check),
        code=code("plot_fit"),
    script:
        "../scripts/plot_fit.py"


rule compare_models:
    input:
        summaries=lambda wildcards: fit_products(wildcards, "summary.json"),
        checks=lambda wildcards: fit_products(wildcards, "check.json"),
        images=lambda wildcards: [ancient(path) for path in fit_products(wildcards, "images.zarr")],
        truth=truth,
    output:
        table=report(
            "results/{galaxy}/fit/models.csv",
            caption="../report/models.rst",
            category="6. Black holes",
            subcategory="{galaxy}",
            labels={"galaxy": "{galaxy}", "mass model": "all", "shows": "black-hole mass by mass model"},
        ),
        figure=report(
            "results/{galaxy}/fit/models.svg",
            caption="../report/models.rst",
            category="6. Black holes",
            subcategory="{galaxy}",
            labels={"galaxy": "{galaxy}", "mass model": "all", "shows": "mass models side by side"},
        ),
    log:
        "logs/{galaxy}/compare_models.log",
    benchmark:
        "benchmarks/{galaxy}/compare_models.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime="10m",
        disk_mb=200,
    params:
        models=lambda wildcards: config["galaxies"][wildcards.galaxy]["mass_models"],
        title=lambda wildcards: config["galaxies"][wildcards.galaxy]["title"],
        code=code("compare_models"),
    script:
        "../scripts/compare_models.py"


rule summarise_black_holes:
    input:
        summaries=[f"results/{g}/fit/{m}/summary.json" for g, m in fits()],
        checks=[f"results/{g}/fit/{m}/check.json" for g, m in fits()],
        truths=[f"results/{g}/observation/truth.json" for g in simulated()],
    output:
        table=report(
            BLACK_HOLES,
            caption="../report/black_holes.rst",
            category="0. Headline numbers",
            labels={"shows": "black holes of all galaxies and mass models"},
        ),
    log:
        "logs/summarise_black_holes.log",
    benchmark:
        "benchmarks/summarise_black_holes.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(500),
        runtime="5m",
        disk_mb=100,
    params:
        fits=fits(),
        simulated=simulated(),
        code=code("summarise_black_holes"),
    script:
        "../scripts/summarise_black_holes.py"
