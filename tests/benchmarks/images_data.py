"""Data module, image networks, and estimates from images against estimates from photometry on the simulated sky."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from record import ROOT

from galmass import devices, stores
from galmass.contrastive import baselines, embeddings, metrics, models, training, windows
from galmass.contrastive.losses import contrastive_losses
from galmass.contrastive.modalities import Images, Modality, bin_edges, usable
from galmass.contrastive.sources import open_stores
from galmass.contrastive.stamps import ImageScaling, Stamps
from galmass.images import store
from galmass.provenance import code_version

BANDS = tuple("ugriz")
N_STREAMED, WINDOW = 8192, 2048
PAPER = {"main_latent": 16, "extra_latent": 512}
SEEDS = (1, 2, 3)


def row(value, unit: str, goal: str, met: bool, peer: str | None = None, **more) -> dict:
    return {"value": value, "unit": unit, "goal": goal, "met": bool(met), "peer": peer, **more}


def made_store(path: Path, n: int, n_pix: int) -> None:
    """Noise with a bright middle, which compresses as badly as real sky."""
    generator, centre = np.random.default_rng(0), np.hypot(*np.mgrid[:n_pix, :n_pix] - (n_pix - 1) / 2)
    form = np.exp(-centre / 4).astype(np.float32)
    with stores.replacing(path) as part:
        writer = store.create(part, n, BANDS, n_pix, 0.396)
        for start in range(0, n, 256):
            shape = (min(256, n - start), len(BANDS), n_pix, n_pix)
            image = generator.normal(0, 0.03, shape).astype(np.float32) + form * generator.lognormal(0, 1, (shape[0], len(BANDS), 1, 1)).astype(np.float32)
            names = [f"J{i:06d}" for i in range(start, start + shape[0])]
            writer.write(start, image, np.full(shape, 1111, np.float32), np.zeros(shape, np.uint8), names)
        writer.close()


def made_batches(path: Path, n_pix: int, window: int, readers: int) -> windows.ImageBatches:
    """Training galaxies of a made store, every one of them."""
    modality = Modality("Iopt", (), (), {"ebv": "linear"}, (Images("optical", BANDS, n_pix),))
    cutouts = open_stores(modality, {"optical": path})
    n = len(cutouts["optical"])
    frame = pd.DataFrame({"galaxy_id": cutouts["optical"].galaxy_id})
    stamps = Stamps(frame, modality, cutouts, ImageScaling([0.0] * 5, [0.03] * 5, [1.0] * 5), readers)
    order = windows.Order(stamps.chunk_of(), 64, window, seed=1)
    return windows.ImageBatches(stamps, torch.zeros(n, 1), torch.zeros(n, dtype=torch.int64), order)


def stream() -> dict:
    """Galaxies a second through the loader, stretched, mini-batch by mini-batch, over all windows; both views turned or not."""
    with tempfile.TemporaryDirectory(prefix="galmass-bench-") as folder:
        made_store(path := Path(folder) / "images.zarr", N_STREAMED, 64)
        rates = {}
        for name, turn, readers in (("one reader", False, 1), ("two readers", False, 2), ("two readers, both views", True, 2)):
            batches = made_batches(path, 64, WINDOW, readers)
            steps = N_STREAMED // 64 - 2
            loader = windows.loaders(batches, batches, steps, lambda: 0)[0]
            start, cpu = time.perf_counter(), time.process_time()
            for batch in loader:
                if turn:
                    windows.oriented(batch)
            rates[name] = {"wall": round(64 * steps / (time.perf_counter() - start)), "cpu": round(64 * steps / (time.process_time() - cpu))}
    best = max(rates[name]["wall"] for name in ("one reader", "two readers"))
    return row(best, "galaxies/s", ">= 5000 galaxies/s, 64 px, 5 bands, from Zarr", best >= 5000, None, rates_by_wall_and_cpu_time=rates)


def memory() -> dict:
    """Largest memory of a process that trains the compact network for 120 steps, each on another window of 128 galaxies.

    At 1000 galaxies the reader keeps all 20 MB, at 5000 as much as it ever does (64 MB).
    """
    peak = {}
    with tempfile.TemporaryDirectory(prefix="galmass-bench-") as folder:
        for n in (1000, 5000, 20_000):
            made_store(path := Path(folder) / "images.zarr", n, 32)
            code = f"import sys; sys.path[:0] = {sys.path!r}; import images_data; print(images_data.trained_peak({str(path)!r}))"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            peak[n] = int(done.stdout.split()[-1])
            shutil.rmtree(path)
    grown = {n: peak[20_000] - peak[n] for n in (1000, 5000)}
    goal = "20 000 galaxies (410 MB of images) take <= 50 MB more than 5000 (9 MB of it identifiers), and <= 150 MB more than 1000"
    return row(grown[1000], "MB more at 20 000 than at 1000 galaxies", goal, grown[1000] <= 150 and grown[5000] <= 50, None, peak_mb=peak)


def trained_peak(path: str) -> int:
    """Largest resident memory [MB] of this process after some steps that pass through every window."""
    torch.set_num_threads(1)
    network = compact(32)
    batches = made_batches(Path(path), 32, 128, 1)
    per_window = batches.order.size // 64
    for step in range(0, 120 * per_window, per_window):  # one of each window
        sum(contrastive_losses(network, *windows.oriented(batches[step])).values()).backward()
        network.zero_grad()
    # not getrusage: a child begins with the maximum of the process that started it
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) // 1000


@cache
def settings() -> dict:
    """Section ``contrastive`` of the default, and of the images in it."""
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["contrastive"]


def image_options() -> dict:
    """Options of the compact image network: those of the configuration, else the ones that this was written with."""
    return settings() | {"images": COMPACT | settings().get("images", {})}


COMPACT = {
    "main_latent": 16,
    "extra_latent": 32,
    "channels": 16,
    "depth": 1,
    "stretch": "noise",
    "batch_size": 64,
    "learning_rate": 0.002,
    "window": 8192,
    "readers": 1,
}


def compact(n_pix: int):
    modality = Modality("Iopt", (), (), {"ebv": "linear"}, (Images("optical", BANDS, n_pix),))
    return models.build_network(modality, bin_edges([6.0, 12.5], 0.05), models.options_of(modality, image_options()), 0)


def inception() -> dict:
    """Parameters of the paper's network, and its SCL steps a second: batch 2 on a CPU, 64 where there is a GPU."""
    device = devices.best_device()
    batch = 64 if device.type == "cuda" else 2
    modality = Modality("Iopt", (), (), {"ebv": "linear"}, (Images("optical", BANDS, 64),))
    network = models.build_network(modality, bin_edges([6.0, 12.5], 0.0125), PAPER | {"network": "paper"}, 0).to(device)
    counts = {part: sum(p.numel() for p in getattr(network, part).parameters()) for part in ("encoder", "decoder", "estimator")}
    images, context = torch.randn(batch, 5, 64, 64, device=device), torch.randn(batch, 1, device=device)
    bins, seconds = torch.zeros(batch, dtype=torch.int64, device=device), []
    for _ in range(3):
        start = time.perf_counter()
        losses = contrastive_losses(network, images, context, bins, images.flip(-1))
        sum(losses.values()).backward()
        losses["cross_entropy"].item()  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    met = [round(n / 1e6, 2) for n in counts.values()] == [5.98, 0.59, 0.55]
    speed = {"steps_per_second": float(f"{1 / min(seconds):.3g}"), "batch": batch, "device": device.type}
    return row(sum(counts.values()), "parameters", "encoder 5.98 M, decoder 0.59 M, estimator 0.55 M", met, None, **counts, **speed)


def sky(folder: Path) -> pd.DataFrame:
    """The mock sample of the benchmark: 8000 galaxies at 32 pixels, with the survey's noise; its images in the folder."""
    from galmass.catalogues import simulation
    from galmass.images import rendering

    frame, truth, _ = simulation.build(SAMPLE)
    if not (folder / "images.zarr").is_dir():
        rendering.write(folder / "images.zarr", truth, INSTRUMENT, seed=7, processes=2)
    return frame


SAMPLE = {
    "max_galaxies": 8000,
    "seed": 5,
    "split": {"train": 0.6, "validation": 0.12, "test": 0.28},
    "redshift": [0.02, 0.25],
    "flux_limit": 17.77,
    "class_limits": [-10.8, -11.4],
    "effects": {
        "mass_of_environment": 0.25,
        "quenching_of_environment": 0.5,
        "attenuation_of_inclination": 1.5,
        "sersic_n_of_mass": 0.35,
        "size_of_mass": 0.25,
        "gradients_of_mass": 0.2,
        "morphology_of_ssfr": 1.0,
        "thickness_of_sersic_n": 0.12,
    },
}
INSTRUMENT = {
    "bands": list(BANDS),
    "n_pix": 32,
    "pixel_scale_arcsec": 0.792,
    "psf_fwhm_arcsec": {"u": 1.5, "g": 1.4, "r": 1.3, "i": 1.2, "z": 1.25},
    "sky_noise": {"u": 0.1, "g": 0.036, "r": 0.048, "i": 0.07, "z": 0.22},
    "electrons": {"u": 500.0, "g": 850.0, "r": 800.0, "i": 550.0, "z": 110.0},
    "neighbours_per_arcmin2": 8.0,
}
PHOTOMETRY = {
    "values": [f"petro_mag_{b}" for b in BANDS],
    "errors": [f"petro_mag_err_{b}" for b in BANDS],
    "scalars": {"ebv": "linear"},
}
COMPARED = {
    "Mopt": PHOTOMETRY,
    "Iopt": {"values": [], "errors": [], "scalars": {"ebv": "linear"}, "images": {"store": "optical", "bands": list(BANDS), "n_pix": 32}},
}
STEPS = {"Mopt": 900, "Iopt": 3000}  # each to where its validation likelihood no longer improves


def estimate(name: str, frame, folder: Path, seed: int) -> dict:
    """Estimate minus truth of the test galaxies [dex], and notes of the training, which goes on where an earlier one was killed."""
    modality, edges = Modality.from_config(name, COMPARED[name]), bin_edges([6.0, 12.5], 0.05)
    cutouts = open_stores(modality, {"optical": folder / "images.zarr"})
    options = image_options()
    length = {"max_steps": STEPS[name], "validate_every": 50, "patience": 20}
    options = options | length | {"images": options["images"] | length}
    frame = frame[usable(frame, modality, edges, cutouts)[0]]
    parts = [frame[frame["split"] == split] for split in ("train", "validation", "test")]
    start = time.process_time()
    model, _ = training.train(*parts[:2], modality, edges, options, seed, folder / f"{name}_{seed}", cutouts=cutouts)
    notes = {"cpu_s_of_last_sitting": round(time.process_time() - start), "best_step": model.notes["best_step"]}
    table, _, _ = embeddings.embed(parts[2], *model.predict(parts[2], cutouts), edges, {"method": "none"}, None)
    shutil.rmtree(folder / f"{name}_{seed}")
    return {"offset": (table["mass_mean"].to_numpy() - parts[2]["log_mass"].to_numpy()).tolist(), "notes": notes}


def boosted(name: str, frame, folder: Path) -> dict:
    """sigma_MAD of boosting on the same inputs [dex]."""
    train, test = (frame[frame["split"] == split] for split in ("train", "test"))
    modality = Modality.from_config(name, COMPARED[name])
    table, _ = baselines.table(train, test, modality, 1, 1, open_stores(modality, {"optical": folder / "images.zarr"}))
    return {"sigma_mad": round(float(metrics.sigma_mad(table["boosting_colours_mean"].to_numpy() - test["log_mass"].to_numpy())), 4)}


def images_against_photometry() -> dict:
    """sigma_MAD of the network fed with images against the one fed with magnitudes, galaxies resampled together, mean of the seeds' estimates.

    Images and every network are kept as they are done: a killed run goes on, also in several sittings.
    """
    from mocks import kept  # it brings all that fits need

    devices.use_threads(1)
    version = f"{code_version(__file__, ROOT / 'workflow' / 'galmass')}{image_options()}"
    folder = ROOT / "results" / "bench" / stores.digest(version.encode())[:12]
    frame = sky(folder)
    found = {name: [kept(folder / f"{name}_{seed}.json", partial(estimate, name, frame, folder, seed)) for seed in SEEDS] for name in COMPARED}
    peers = {name: kept(folder / f"{name}_boosted.json", partial(boosted, name, frame, folder))["sigma_mad"] for name in COMPARED}
    each = {name: [round(float(metrics.sigma_mad(np.array(run["offset"]))), 4) for run in runs] for name, runs in found.items()}
    mean = {name: np.mean([run["offset"] for run in runs], axis=0) for name, runs in found.items()}
    generator = np.random.default_rng(0)

    def ratio(a, b):
        return metrics.sigma_mad(a) / metrics.sigma_mad(b)

    low, high = metrics.bootstrap_interval(ratio, (mean["Iopt"], mean["Mopt"]), generator)
    return row(
        {name: round(float(metrics.sigma_mad(d)), 4) for name, d in mean.items()},
        "dex, sigma_MAD of the mean estimate of 3 seeds",
        "Iopt < Mopt beyond the 95 % bootstrap interval",
        high < 1,
        "boosting with colours: of magnitudes, and of aperture magnitudes on the images",
        ratio=round(float(ratio(mean["Iopt"], mean["Mopt"])), 3),
        interval=[round(low, 3), round(high, 3)],
        of_each_seed=each,
        peer_sigma_mad_dex=peers,
        n_test=len(mean["Iopt"]),
        training={name: [run["notes"] for run in runs] for name, runs in found.items()},
    )


ROWS = {
    "data module": stream,
    "memory of training": memory,
    "Inception network": inception,
    "Iopt against Mopt on the mock": images_against_photometry,
}
