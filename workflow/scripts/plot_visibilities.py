"""The uv coverage, the line on short baselines beside the check of the weights, and the channel maps."""

from galmass import logs, stores
from galmass.figures import style, visibilities
from galmass.visibilities import gridding, imaging

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    gridded = gridding.read(snakemake.input.grid, stores.read_json(snakemake.input.notes)["sha256"])
    style.save(visibilities.coverage(*imaging.coverage(gridded), f"{p.title}: middle channel"), snakemake.output.coverage)
    channels = stores.read_csv(snakemake.input.channels)
    channels["flux_jy"], channels["flux_error_jy"], _ = imaging.short_spacing_spectrum(gridded)
    style.save(visibilities.spectrum(channels, p.title), snakemake.output.spectrum)
    cube, noise = imaging.dirty_cube(gridded, gridded.mean, p.n_pix)
    maps = visibilities.channel_maps(cube, noise, channels["velocity_km_s"], gridded.cell_arcsec, p.title, beam=imaging.beam(gridded))
    style.save(maps, snakemake.output.maps)
