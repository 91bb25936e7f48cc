"""Long rules killed at random moments and run again: make bench AREA=kills

Fewer trials than twenty of each, and some rules alone: bench_kills.py 2 cut_frames grid_visibilities
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import yaml
from clones import GPU_TOKENS, TINY, Clone, clone_of, kill_group
from record import ROOT, measure

from galmass import stores
from galmass.catalogues import main_sample

sys.path.append(str(ROOT / "tests" / "unit" / "images"))
from synthetic_frames import Source, hdus, wcs, write

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
BANDS, FIELDS = ("g", "r", "i"), range(122, 130)
BYTES_PER_SECOND = 400_000  # of the archive, so that its download takes seconds
# rule -> what is asked for, and more words for snakemake
LONG = {
    "download_frames": ("resources/sdss_mgs/frames/0000.json", ["--allowed-rules", "download_frames"]),
    "cut_frames": ("results/frames/images/chunks/0000.json", []),
    "train_encoder": ("results/gst10k/contrastive/Mopt/model.safetensors", []),
    "train_deprojection": ("results/deprojection/surrogate.safetensors", []),
    "grid_visibilities": ("results/ngc4697_mock/visibilities/grid.json", []),
    "fit_visibilities": ("results/ngc4697_mock/fit/mge/posterior.nc", []),
}
CHOSEN = sys.argv[2:] or list(LONG)


class Archive(BaseHTTPRequestHandler):
    """Frames of a folder, whatever the path before their names, slowly."""

    folder = Path()

    def do_GET(self):
        path = self.folder / Path(self.path).name
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for start in range(0, len(content), 20_000):
            self.wfile.write(content[start : start + 20_000])
            time.sleep(20_000 / BYTES_PER_SECOND)

    def handle(self):
        with contextlib.suppress(ConnectionError):  # who asked was killed
            super().handle()

    def log_message(self, *words):
        pass


def sky(i: int) -> list[Source]:
    """Thirty stars and two galaxies of the i-th field."""
    places = [(x, y, 16.5 + 0.1 * n, 0.5) for n, (x, y) in enumerate((x, y) for x in range(35, 260, 40) for y in range(45, 220, 40))]
    places += [(60.2, 70.9, 18.0, 1.0), (140.7, 120.1, 16.5, 1.0)]
    celestial = wcs("r", 2000.0 * i)
    return [Source(*celestial.wcs_pix2world(x, y, 0), 10 ** (0.4 * (22.5 - m)), sigma) for x, y, m, sigma in places]


def make_frames(folder: Path) -> None:
    folder.mkdir(parents=True)
    for i, field in enumerate(FIELDS):
        for j, band in enumerate(BANDS):
            write(folder, band, hdus(band, sky(i), 10 * i + j, 2000.0 * i, field), field, packed=True)


def prepared(folder: Path) -> tuple[Clone, str]:
    """A clone with the inputs of all long rules and these run once, and its configuration."""
    clone = clone_of(ROOT, folder / "clone")
    Archive.folder = clone.path / "resources" / "frames"
    make_frames(Archive.folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = configuration(folder, f"http://127.0.0.1:{server.server_port}")
    made = [LONG[rule][0] for rule in CHOSEN if rule != "download_frames"]
    clone.snakemake("results/frames/catalogue/galaxies.parquet", *made, "--cores", "2", config=config)
    choose(clone, stores.read_table(clone.path / "results" / "frames" / "catalogue" / "galaxies.parquet"))
    return clone, config


def configuration(folder: Path, mirror: str) -> str:
    """The tiny workflow with a sample of frames that lie here, and one whose frames come from the address `mirror`: words behind --configfile."""
    cuts = {"bands": list(BANDS), "n_pix": 32, "sub_pixel": True, "max_missing": 0.1, "chunks": 1, "keep": True}
    found = {"mag_range": [15.0, 19.5], "min_size": 1.3, "edge": 20}
    sdss = yaml.safe_load((ROOT / "config" / "sdss_mgs.yaml").read_text())["samples"]["sdss_mgs"] | {"frames": cuts, "modalities": ["Mopt"]}
    frames = {"source": "frames", "modalities": [], "folder": "resources/frames", "detection": found, "frames": cuts}
    overlay = {"samples": {"frames": frames, "sdss_mgs": sdss}, "archives": {"mirror": mirror}}
    (folder / "kills.yaml").write_text(yaml.safe_dump(overlay))
    return f"{TINY} {folder / 'kills.yaml'}"


def choose(clone: Clone, galaxies: pd.DataFrame) -> None:
    """The galaxies that were found in the frames are those that the other sample chose."""
    places = galaxies.assign(rerun=301, row=range(len(galaxies)))[list(main_sample.PLACES)]
    stores.write_table(clone.path / "results" / "sdss_mgs" / "catalogue" / "places.parquet", places, main_sample.PLACES)


def products(clone: Clone) -> dict[str, bytes]:
    """Results, and frames that came; manifests tell when, and are left out."""
    frames = clone.path / "resources" / "sdss_mgs"
    return clone.files() | {str(p.relative_to(clone.path)): p.read_bytes() for p in sorted(frames.rglob("*.bz2"))}


def clean(clone: Clone, rule: str) -> None:
    """No trace of the download: the others are forced to run."""
    if rule == "download_frames":
        shutil.rmtree(clone.path / "resources" / "sdss_mgs", ignore_errors=True)


def started(clone: Clone, rule: str, config: str) -> tuple[subprocess.Popen, Path]:
    """Snakemake that runs the rule again, and the log of its job, which is there when the job is."""
    target, more = LONG[rule]
    clean(clone, rule)
    for log in (clone.path / "logs").rglob(f"{rule}.log"):
        log.unlink()
    command = [sys.executable, "-m", "snakemake", target, *more, "--cores", "1", "--forcerun", rule, *GPU_TOKENS, "--configfile", *config.split()]
    process = subprocess.Popen(command, cwd=clone.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (logs := list((clone.path / "logs").rglob(f"{rule}.log"))):
        if process.poll() is not None:
            raise AssertionError(f"{rule} did not start: {' '.join(command)}")
        time.sleep(0.01)
    return process, logs[0]


def peaceful(clone: Clone, rule: str, config: str) -> float:
    """Seconds of the job alone."""
    process, log = started(clone, rule, config)
    start = time.monotonic()
    assert process.wait() == 0, log.read_text()
    return time.monotonic() - start


def recovers(clone: Clone, rule: str, config: str, number: signal.Signals, pause: float, expected: dict[str, bytes]) -> bool:
    """A kill after a pause, the same command again, the same bytes? No flag helps it but the --unlock of `make demo`."""
    process, _ = started(clone, rule, config)
    time.sleep(pause)
    if process.poll() is None:
        os.killpg(process.pid, number)
    with contextlib.suppress(subprocess.TimeoutExpired):  # SIGTERM: jobs may end in their own time
        process.wait(60)
    kill_group(process)
    target, more = LONG[rule]
    clone.snakemake("--unlock", config=config)
    again = clone.snakemake(target, *more, "--cores", "1", config=config, check=False)
    found = products(clone)
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if again.returncode or differing:
        print(f"{rule}, {number.name} after {pause:.2f} s: {differing[:5]}\n{again.stdout[-2000:]}", file=sys.stderr, flush=True)
        clone.snakemake(target, *more, "--cores", "1", "--forcerun", rule, config=config)  # for the trials to come
    return not again.returncode and not differing


def kills(clone: Clone, rule: str, config: str, number: signal.Signals) -> dict:
    seconds, expected, chance = peaceful(clone, rule, config), products(clone), random.Random(f"{rule} {number.name}")
    recovered = sum(recovers(clone, rule, config, number, chance.uniform(0, seconds), expected) for _ in range(TRIALS))
    return {"value": recovered, "unit": f"of {TRIALS} trials", "goal": "all", "met": recovered == TRIALS, "peer": None, "job_s": round(seconds, 1)}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="galmass-kills-"))
    try:
        clone, config = prepared(folder)
        for rule in CHOSEN:
            for number in (signal.SIGKILL, signal.SIGTERM):
                measure(f"kills: {rule}, {number.name}, {TRIALS} trials", lambda r=rule, n=number: kills(clone, r, config, n))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
