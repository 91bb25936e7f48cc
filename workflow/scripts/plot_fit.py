"""Chains, posterior, misfit, images, position-velocity diagram and rotation curve of a fit."""

from galmass import logs, stores
from galmass.figures import fits, style, visibilities
from galmass.inference import samples
from galmass.visibilities import imaging

with logs.recording(snakemake.log[0]):
    p, found, out = snakemake.params, snakemake.input, snakemake.output
    drawn, summary, checked = samples.read(found.posterior), stores.read_json(found.summary), stores.read_json(found.check)
    arrays, _ = stores.read_arrays(found.images)
    title = p.title if summary["converged"] else f"{p.title} (NOT CONVERGED)"
    known = stores.read_json(found.truth[0]) if found.truth else {}
    labels = [fits.label(name, drawn.units[name]) for name in drawn.names]
    truth = drawn.beside(known)
    style.save(fits.corner_plot(drawn.flat, labels, truth, title), out.corner)
    style.save(fits.traces(drawn.chains, labels, title), out.traces)
    style.save(fits.prior_and_posterior(drawn.prior, drawn.flat, labels, truth, title), out.prior)
    style.save(fits.misfit(stores.read_csv(found.channels), stores.read_csv(found.baselines), title), out.chi2)
    cell, beam = checked["cell_arcsec"], imaging.Beam(**checked["beam"])
    style.save(fits.moment_maps(arrays["moments_data"], arrays["moments_model"], cell, visibilities.BEAMS * beam.size, title, beam), out.moments)
    maps = [arrays[name] for name in ("residual", "noise", "velocity")]
    style.save(visibilities.channel_maps(*maps, cell, f"{title}: data - model", beam=beam, like=arrays["data"]), out.residuals)
    style.save(fits.position_velocity(arrays, checked, title), out.position_velocity)
    curve = stores.read_csv(found.truth[1]) if found.truth else None
    style.save(fits.rotation_curve(arrays, checked["beam_pc"], title, curve), out.rotation)
