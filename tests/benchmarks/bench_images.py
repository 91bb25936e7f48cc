"""Speed and accuracy of cutouts, of the rendered sky and of the data module: make bench AREA=images

One part alone: PYTHONPATH=workflow python tests/benchmarks/bench_images.py cutouts
Frames of full size are made; GALMASS_REAL_DATA=folder, with sdss_frames_2820-3-0122/ in it, adds real ones.
"""

import sys
from importlib import import_module

from record import measure
from threadpoolctl import threadpool_limits

PARTS = {"cutouts": "images_cutouts", "sky": "images_sky", "data": "images_data"}  # each has ROWS: name of the measurement -> callable


def main(names: list[str]) -> None:
    rows = {name: run for part in names or PARTS for name, run in import_module(PARTS[part]).ROWS.items()}
    with threadpool_limits(1):
        found = [measure(f"images: {name}", run) for name, run in rows.items()]
    print(f"{sum(r['met'] for r in found)} of {len(found)} goals met")


if __name__ == "__main__":
    main(sys.argv[1:])
