"""galmass: why a network knows the stellar mass of a galaxy. The library knows nothing of Snakemake."""
