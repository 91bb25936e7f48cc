"""Chains, posterior, misfit, images, position-velocity diagram and rotation curve of a fit."""

from galmass import logs, stores
from galmass.figures import fits, style, visibilities
from galmass.inference import samples

with logs.recording(snakemake.log[0]):
    p, found, out = snakemake.params, snakemake.input, snakemake.output
    drawn, summary, checked = samples.read(found.posterior), stores.read_json(found.summary), stores.read_json(found.check)
    arrays, _ = stores.read_arrays(found.images)
    title = p.title if summary["converged"] else f"{p.title} (NOT CONVERGED)"
    known = stores.read_json(found.truth[0]) if found.truth else {}
    labels = [fits.label(name, drawn.units[name]) for name in drawn.names]
    truth = [known.get(name) for name in drawn.names]
    style.save(fits.corner_plot(drawn.flat, labels, truth, title), out.corner)
    style.save(fits.traces(drawn.chains, labels, title), out.traces)
    style.save(fits.prior_and_posterior(drawn.prior, drawn.flat, labels, truth, title), out.prior)
    style.save(fits.misfit(stores.read_csv(found.channels), stores.read_csv(found.baselines), title), out.chi2)
    cell = checked["cell_arcsec"]
    width = 8 * checked["best"]["scale_length"] if "scale_length" in checked["best"] else len(arrays["data"][0]) * cell
    style.save(fits.moment_maps(arrays["moments_data"], arrays["moments_model"], cell, width, title), out.moments)
    residuals = visibilities.channel_maps(arrays["residual"], arrays["noise"], arrays["velocity"], cell, f"{title}: data - model", like=arrays["data"])
    style.save(residuals, out.residuals)
    style.save(fits.position_velocity(arrays, checked, title), out.position_velocity)
    curve = stores.read_csv(found.truth[1]) if found.truth else None
    style.save(fits.rotation_curve(arrays, checked["beam_pc"], title, curve), out.rotation)
