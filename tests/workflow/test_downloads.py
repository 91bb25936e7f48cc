"""The rules that ask archives, run by Snakemake against a server on this machine that plays all of them, with faults.

Four galaxies in two fields are cut in two chunks. The first run is killed in the second of them; the next one ends it.
"""

import bz2
import io
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from clones import ROOT, Clone, clone_of
from playing_archives import IrsaPlayer, SkyServerPlayer, galaxies, sersic_files
from playing_files import whole
from playing_unwise import FLUX, packed
from pytest_httpserver import HTTPServer
from synthetic_frames import CAMCOL, FIELD, RUN, Source, hdus, wcs
from test_disks import needs_mount, on_disk
from werkzeug import Response

from galmass import stores
from galmass.images import store
from galmass.images.frames import FIELD_STEP
from galmass.integrity import Manifest

SAMPLE = yaml.safe_load((ROOT / "config" / "sdss_mgs.yaml").read_text())["samples"]["sdss_mgs"]
SMALL = SAMPLE | {
    "query": {"release": 17, "petro_r_max": 17.8, "ra_step_deg": 360.0, "dec_edges_deg": [-90.0, -0.1, 90.0]},
    "wise": SAMPLE["wise"] | {"batch": 3},
    "frames": SAMPLE["frames"] | {"n_pix": 16, "chunks": 2},
    "wise_cutouts": SAMPLE["wise_cutouts"] | {"n_pix": 16, "batch": 3},
}
TARGETS = [f"results/sdss_mgs/{name}" for name in ("catalogue/galaxies.parquet", "images/optical.json", "images/infrared.json")]
PLACES = [(60.0, 80.0), (190.4, 110.9), (75.0, 150.1), (200.0, 120.0)]  # x, y in the r frame; two galaxies in each field
R_FLUX = 100.0 * np.arange(1, 5)  # nanomaggies
ASKING = {"download_catalogue", "download_wise_matches", "download_sersic_fits", "download_frames", "download_wise_cutouts"}


def web_page() -> Response:
    return Response("<!DOCTYPE html><html>We are down for maintenance</html>", content_type="text/html")


@cache
def table() -> pd.DataFrame:
    """What SkyServer knows of the four galaxies."""
    made = galaxies(4).assign(run=RUN, camcol=CAMCOL, field=[FIELD, FIELD, FIELD + 1, FIELD + 1])
    x, y = np.transpose(PLACES)
    places = [wcs("r", FIELD_STEP * (number - FIELD)).wcs_pix2world(*place, 0) for place, number in zip(PLACES, made["field"], strict=True)]
    made["ra"], made["dec"] = np.round(np.array(places, float).T, 7)
    return made.assign(colc_r=x + 0.5, rowc_r=y + 0.5)  # the catalogue counts from the corner of the first pixel


@cache
def packed_frame(band: str, number: int) -> bytes:
    """A frame of the field of this number as the archive has it."""
    sources = [Source(*place) for place in zip(table()["ra"], table()["dec"], R_FLUX, strict=True)]
    content = io.BytesIO()
    hdus(band, sources, seed=number, row=FIELD_STEP * (number - FIELD), field=number).writeto(content)
    return bz2.compress(content.getvalue())


@dataclass
class Archives:
    """SkyServer, IRSA, the science archive, NYU-VAGC and unWISE in one server.

    Answers in `first` come before all others of an archive. Where it `kills`, the job that asks for frames of a second field
    dies when it has two of them and half of the third.
    """

    server: HTTPServer
    folder: Path
    clone: Clone
    first: dict[str, list[Response]] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)  # archive, query or file, range
    kills: bool = False

    def __post_init__(self):
        self.server.expect_request(re.compile("/.*")).respond_with_handler(self)
        self.sersic = sersic_files(table(), self.folder / "vagc")
        self.irsa = IrsaPlayer(
            table()[["ra", "dec"]].iloc[:3].assign(w1mpro=[13.0, 13.1, 13.2], w1sigmpro=0.02, w2mpro=13.5, w2sigmpro=0.03, w3mpro=12.0, w3sigmpro=np.nan)
        )

    def __call__(self, request) -> Response:
        _, archive, *rest = request.path.split("/")
        self.asked.append((archive, request.args.get("cmd") or request.args.get("ra") or rest[-1], request.headers.get("Range")))
        if self.first.get(archive):
            return self.first[archive].pop(0)
        return getattr(self, archive)(request)

    def skyserver(self, request) -> Response:
        answer = SkyServerPlayer(table())(request)
        if request.path.startswith("/skyserver/dr16"):
            return web_page()
        renamed = answer.get_data(as_text=True).replace("petroR50_u", "petroRad50_u")
        return Response(renamed) if request.path.startswith("/skyserver/dr18") else answer

    def nyu(self, request) -> Response:
        return Response((self.sersic / Path(request.path).name).read_bytes())

    def unwise(self, request) -> Response:
        known = request.args
        return Response(packed(float(known["ra"]), float(known["dec"]), int(known["size"]), known["bands"], tiles=(((38.3, -0.1), "0383m001"),)))

    def sas(self, request) -> Response:
        name = Path(request.path).name
        band, number = re.fullmatch(r"frame-(.)-\d+-\d-(\d{4})\.fits\.bz2", name).groups()
        answer = whole(request, packed_frame(band, int(number)))
        fields = [what[-13:-9] for archive, what, _ in self.asked if archive == "sas"]
        if not self.kills or len(set(fields)) < 2 or fields.count(number) < 3:
            return answer
        content = answer.get_data()
        return Response(self._until_it_dies(name, content), headers={**answer.headers, "Content-Length": str(len(content))})

    def _until_it_dies(self, name: str, content: bytes):
        half = len(content) // 2
        yield content[:half]
        end = time.monotonic() + 30
        parts = self.clone.path / "resources" / "sdss_mgs" / "frames"
        while not any(part.stat().st_size > half // 2 for part in parts.glob(f"*/{name}.*.part")):
            assert time.monotonic() < end
            time.sleep(0.02)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.cwd() == str(self.clone.path) and any(word.endswith("download_frames.py") for word in process.cmdline()):
                    process.kill()

    def overlay(self, name: str, samples: dict, **policy) -> str:
        """Configuration of samples whose archives are all here."""
        addresses = {archive: {"address": self.server.url_for(f"/{archive}")} for archive in ("skyserver", "irsa", "nyu", "sas", "unwise")}
        addresses["skyserver"]["requests_per_minute"] = 6000.0
        addresses["sas"]["parallel"] = 1
        path = self.folder / f"{name}.yaml"
        content = {"run": {"samples": list(samples)}, "samples": samples, "archives": {"requests_per_minute": 6000.0, **addresses, **policy}}
        path.write_text(yaml.safe_dump(content))
        return f"config/sdss_mgs.yaml {path}"


@dataclass(frozen=True)
class Runs:
    """The run that was killed and the one after it, each with what the archives were asked for meanwhile."""

    archives: Archives
    killed: str
    asked_before: list
    ended: str
    asked_after: list

    @property
    def clone(self) -> Clone:
        return self.archives.clone


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    clone = clone_of(ROOT, tmp_path_factory.mktemp("archives") / "clone")
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield Archives(server, clone.path.parent, clone)


@pytest.fixture(scope="module")
def runs(archives) -> Runs:
    config = archives.overlay("small", {"sdss_mgs": SMALL})
    archives.first = {"skyserver": [Response("busy", 503)], "unwise": [web_page()]}
    archives.asked, archives.kills = [], True
    killed = archives.clone.snakemake(*TARGETS, "--cores", "1", config=config, check=False)
    assert killed.returncode != 0
    before, archives.asked, archives.kills = archives.asked, [], False
    ended = archives.clone.snakemake(*TARGETS, "--cores", "1", config=config)
    return Runs(archives, killed.stdout, before, ended.stdout, archives.asked)


@pytest.fixture(scope="module")
def faulty(archives) -> str:
    """Configuration of two samples of releases that do not answer as they should."""
    samples = {name: SMALL | {"query": SMALL["query"] | {"release": release}} for name, release in (("newer", 18), ("older", 16))}
    return archives.overlay("faulty", samples, attempts=1)


def events(output: str) -> list[tuple[str, str]]:
    """('starts', 'ends' or 'fails', rule) in the order in which Snakemake tells it."""
    words = {"localrule": "starts", "rule": "starts", "Finished": "ends", "Error in rule": "fails"}
    lines = re.findall(r"^(localrule|rule|Finished|Error in rule)(?: jobid: \d+ \(Rule:)? (\w+)[:)]$", output, re.MULTILINE)
    return [(words[word], rule) for word, rule in lines]


def jobs(output: str, what: str) -> Counter:
    """How many jobs of each rule started, ended or failed."""
    return Counter(rule for happened, rule in events(output) if happened == what)


def at_once(output: str) -> int:
    """Most jobs that ask archives at the same time."""
    changes = [1 if what == "starts" else -1 for what, rule in events(output) if rule in ASKING]
    return int(np.cumsum(changes).max())


def test_a_chunk_killed_at_half_goes_on_and_nothing_else_is_done_again(runs):
    assert jobs(runs.killed, "fails") == {"download_frames": 1}
    assert "died with <Signals.SIGKILL" in runs.killed
    done = jobs(runs.killed, "ends")
    assert done["cut_frames"] == done["download_frames"] == 1
    once = dict.fromkeys(ASKING | {"select_galaxies", "build_sdss_catalogue", "join_cutouts"}, 1)
    assert done + jobs(runs.ended, "ends") == once | {"download_frames": 2, "cut_frames": 2}
    before, after = ([(name, start) for archive, name, start in asked if archive == "sas"] for asked in (runs.asked_before, runs.asked_after))
    assert len(before) == 5 + 3
    assert [start for _, start in before] == [None] * 8
    (torn, start), *rest = after
    assert torn == before[-1][0]
    assert int(re.fullmatch(r"bytes=(\d+)-", start)[1]) > 0
    assert [start for _, start in rest] == [None, None]
    assert len({name for name, _ in before + after}) == 10


def test_each_archive_is_asked_once_for_each_thing_and_again_after_a_fault(runs):
    asked = Counter(archive for archive, _, _ in runs.asked_before + runs.asked_after)
    assert asked == {"skyserver": 1 + 5, "irsa": 2, "nyu": 2, "unwise": 1 + 4, "sas": 5 + 3 + 3}
    assert runs.archives.first == {"skyserver": [], "unwise": []}


def test_what_came_is_what_was_there(runs):
    results, resources = (runs.clone.path / name / "sdss_mgs" for name in ("results", "resources"))
    catalogue = stores.read_table(results / "catalogue" / "galaxies.parquet")
    assert catalogue["objid"].tolist() == table()["objid"].tolist()
    np.testing.assert_array_equal(catalogue["log_mass"], table()["lgm_tot_p50"])
    np.testing.assert_array_equal(catalogue["mag_w1"], [13.0, 13.1, 13.2, np.nan])
    np.testing.assert_allclose(catalogue["sersic_n_g"], [1.01, 1.11, 1.21, np.nan], rtol=1e-6)  # float32
    notes = stores.read_json(resources / "galaxies.json")
    assert (notes["n"], notes["chunks"], notes["release"]) == (4, 2, "DR17")
    optical, infrared = (store.open(results / "images" / f"{name}.zarr") for name in ("optical", "infrared"))
    for cutouts, band, flux in ((optical, "r", R_FLUX), (infrared, "w1", FLUX[1])):
        assert set(cutouts.galaxy_id) == set(catalogue["galaxy_id"])
        order = [cutouts.galaxy_id.tolist().index(name) for name in catalogue["galaxy_id"]]
        # noise of 0.03 nanomaggies in each of 256 pixels; a Gaussian of 2.6 pixels loses 0.4 % beyond 8
        np.testing.assert_allclose(cutouts.image(order, [band]).sum((1, 2, 3)), flux, rtol=0.02)
    assert len(Manifest(resources / "answers" / "manifest.jsonl").entries()) == 5 + 2
    for chunk in ("0000", "0001"):
        assert [path.name for path in (resources / "frames" / chunk).iterdir()] == ["manifest.jsonl"]  # frames are deleted
        assert len(Manifest(resources / "frames" / chunk / "manifest.jsonl").entries()) == 5


def test_frames_are_cut_before_more_are_fetched(runs):
    told = events(runs.killed)
    assert told[told.index(("ends", "download_frames")) + 1] == ("starts", "cut_frames")


# keys, and the rules that read them; `places.parquet` stays as it is
EDITS = {
    "catalogue": (
        {
            "classes": {"ssfr_star_forming": -10.7, "ssfr_passive": -11.7},
            "split": {"train": 0.5, "validation": 0.2, "test": 0.3},
            "wise": SMALL["wise"] | {"radius_arcsec": 2.0},
        },
        {"download_wise_matches", "build_sdss_catalogue"},
    ),
    "optical images": ({"frames": SMALL["frames"] | {"max_missing": 0.1}}, {"download_frames", "cut_frames", "join_cutouts"}),  # frames are not kept
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_leaves_the_places_as_they_are_fetches_no_other_image(runs, name):
    changes, rules = EDITS[name]
    config = runs.archives.overlay("edited", {"sdss_mgs": SMALL | changes}, timeout_s=30.0)
    assert runs.clone.planned(*TARGETS, config=config) == rules


@pytest.mark.parametrize("allowed", [1, 2])
def test_no_more_jobs_ask_archives_than_are_allowed_and_releases_that_differ_are_named(archives, faulty, allowed):
    targets = [f"resources/{name}/galaxies.parquet" for name in ("newer", "older")]
    resources = [] if allowed == 1 else [f"archive={allowed}"]
    done = archives.clone.snakemake(*targets, "--cores", "4", "--keep-going", config=faulty, check=False, resources=resources)
    assert jobs(done.stdout, "fails") == {"download_catalogue": 2}
    assert at_once(done.stdout) == allowed
    assert re.search(r"data release 18 answers with other columns: petroR50_u missing, petroRad50_u unasked for; pin the release", done.stdout)
    assert re.search(r"dr16/\S+: 1 attempts failed, the last with: a web page came in place of the file: b'<!DOCTYPE html><html>We are down", done.stdout)
    assert "Traceback" not in done.stdout
    assert not [path for target in targets for path in (archives.clone.path / target).parent.glob("galaxies.*")]


@needs_mount
def test_full_disk(archives, faulty):
    done = on_disk(archives.clone, "size=16k", "resources/newer/sersic_fits.parquet", folder="resources", config=faulty)
    assert done.returncode != 0
    assert "cannot be written (No space left on device); free space, then run again: what was downloaded is kept" in done.stdout
    assert "Traceback" not in done.stdout
