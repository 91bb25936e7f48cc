"""What the causes of a simulated sky imply: graph, independences, answers to the local tests, information of an ideal network."""

from galmass import logs, stores
from galmass.catalogues import mock_information, simulation, truth
from galmass.contrastive.modalities import Modality

with logs.recording(snakemake.log[0]):
    p = snakemake.params
    settings, wanted = simulation.settings_of(p.options), p.options["information"]
    graph = truth.graph(settings)
    stores.write_json(snakemake.output.graph, truth.to_json(graph))
    stores.write_json(snakemake.output.independences, truth.implied_independences(settings))
    modalities = [Modality.from_config(name, entry) for name, entry in p.modalities.items()]
    shown = {m.name: [c for i in m.images for c in truth.image_columns(i.bands, i.normalise == "none")] for m in modalities}
    blocks = {m.name: [*m.values, *m.errors, *m.scalars, *shown[m.name]] for m in modalities}  # no network is fed the flux that divides its images
    stores.write_csv(snakemake.output.answers, truth.answers(truth.with_pixels(graph), blocks, p.queries))
    values, _ = simulation.draw(wanted["galaxies"], settings, p.options["seed"] + 1)
    found = [{"columns": name} | mock_information.information(values, columns, settings, wanted["draws"]) for name, columns in wanted["blocks"].items()]
    for row in found:
        print(f"{row['columns']}: {row['nats']:.3f} +- {row['nats_error']:.3f} nat, bias {row['nats_bias']:+.3f}, sigma_MAD {row['sigma_mad']:.3f} dex")
    stores.write_csv(snakemake.output.information, found)
