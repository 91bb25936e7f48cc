"""Options of a simulated sample as the configuration would give them."""

EFFECTS = {
    "mass_of_environment": 0.25,
    "quenching_of_environment": 0.5,
    "attenuation_of_inclination": 1.5,
    "sersic_n_of_mass": 0.35,
    "size_of_mass": 0.25,
    "gradients_of_mass": 0.2,
    "morphology_of_ssfr": 1.0,
    "thickness_of_sersic_n": 0.12,
}
OPTIONS = {
    "source": "mock",
    "max_galaxies": 1500,
    "seed": 5,
    "split": {"train": 0.55, "validation": 0.15, "test": 0.30},
    "redshift": [0.02, 0.25],
    "flux_limit": 17.77,
    "class_limits": [-10.8, -11.4],
    "effects": EFFECTS,
}
