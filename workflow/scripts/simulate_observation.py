"""Visibilities of a model galaxy by KinMS and finufft at baselines of a real observation, and an optical MGE of its stars and nucleus."""

from galmass import logs, stores
from galmass.discs import optical
from galmass.visibilities import coverage, io, simulation

with logs.recording(snakemake.log[0]):
    p, options = snakemake.params, snakemake.params.options
    truth = {**options["truth"], "distance": p.galaxy["distance_mpc"]}
    cells = coverage.thinned(coverage.read(snakemake.input.coverage), options["merge_cells"], options["keep_cells"], options["average_channels"], p.seed)
    visibilities, drawn = simulation.simulate(
        truth,
        cells,
        p.seed,
        options["clouds"],
        rest_frequency=p.galaxy["rest_frequency_hz"],
        dish_diameter_m=p.galaxy["dish_diameter_m"],
        primary_beam_coefficient=p.galaxy["primary_beam_coefficient"],
        median_count=options["baselines_per_cell"],
        signal_to_noise=options["signal_to_noise"],
    )
    print("\n".join(visibilities.metadata["notes"]))
    io.write(snakemake.output.visibilities, visibilities)
    curve = drawn.pop("rotation_curve")
    stores.write_csv(snakemake.output.velocity, simulation.velocity_rows(curve, truth["distance"]))
    stores.write_json(snakemake.output.truth, drawn)
    agn = options["agn"]
    table = optical.mock_table(truth, truth["distance"], agn["mass_to_light"], agn["fraction"], agn["sigma_arcsec"])
    optical.write_table(snakemake.output.mge, table)
