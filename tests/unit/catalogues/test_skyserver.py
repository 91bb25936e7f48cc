"""The Main Galaxy Sample from a server on this machine that plays SkyServer, with its faults; recorded answers."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playing_archives import LIMITS, SkyServerPlayer, galaxies, matches
from pytest_httpserver import HTTPServer
from werkzeug import Response

from galmass.catalogues import skyserver
from galmass.errors import InputError
from galmass.integrity import Manifest
from galmass.transport import Policy, Transport

REAL = Path(os.environ.get("GALMASS_REAL_DATA", "/nowhere")) / "astroquery_recorded" / "astroquery" / "sdss" / "tests" / "data"
recorded = pytest.mark.skipif(not REAL.is_dir(), reason="GALMASS_REAL_DATA does not name a folder with astroquery_recorded")
SEARCH = "/dr17/en/tools/search/x_results.aspx"
TABLE = galaxies()


@pytest.fixture(scope="module")
def running():
    with HTTPServer(host="127.0.0.1", port=0) as server:
        yield server


@pytest.fixture
def server(running, monkeypatch):
    from astroquery.sdss import conf

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running.clear()
    with conf.set_temp("skyserver_baseurl", running.url_for("").rstrip("/")):
        yield running


def serving(server, handler, folder, release=17, **policy):
    server.clear()
    server.expect_request(SEARCH.replace("dr17", f"dr{release}")).respond_with_handler(handler)
    policy = {"jitter": 0.0, "requests_per_minute": float("inf"), "attempts": 2} | policy
    return skyserver.SkyServer(release, folder, Transport(Policy(**policy), sleep=lambda s: None))


# --- queries ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "edges"), [(10, [-90, 15, 35, 90]), (90, [-90, 90]), (7, [-90, -1.25, 0, 90])])
def test_chunks_cover_the_sky_once(step, edges):
    rng = np.random.default_rng(1)
    sky = pd.DataFrame({"ra": rng.uniform(0, 360, 3000), "dec": rng.uniform(-90, 90, 3000)})
    special = [(0, -90), (0, 90), (10, 15), (359.9999999, 90), (350, 35), (20, 0), (357, -1.25)]
    sky = pd.concat([sky, pd.DataFrame(special, columns=["ra", "dec"])], ignore_index=True)
    pieces = skyserver.chunks({"ra_step_deg": step, "dec_edges_deg": edges})
    np.testing.assert_array_equal(sum(SkyServerPlayer._inside(chunk.where, sky).astype(int) for chunk in pieces), 1)
    assert len({chunk.name for chunk in pieces}) == len(pieces) == -(-360 // step) * (len(edges) - 1)


@pytest.mark.parametrize("edges", [[-90, 0], [0, 90], [-90, 30, 20, 90], [-90, 0, 0, 90]])
def test_edges_that_leave_sky_out_are_refused(edges):
    with pytest.raises(InputError, match=r"query.dec_edges_deg is .*; it must rise from -90 to 90"):
        skyserver.chunks({"ra_step_deg": 10, "dec_edges_deg": edges})


def test_sql_has_the_limits_and_the_joins():
    text = skyserver.rows_sql(LIMITS, "AND s.ra >= 0")
    for part in ("s.z > 0.005 AND s.z < 0.4", "p.petroMag_r - p.extinction_r < 17.8", "AND s.ra >= 0", "galSpecExtra", "legacy_target1 & 448", "lgm_tot_p50"):
        assert part in text
    assert "{" not in text
    assert "wise" not in text
    assert "wise_xmatch" in skyserver.wise_sql(LIMITS)
    # all three queries are of the same galaxies
    tails = {t.split("WHERE")[1] for t in (text, skyserver.count_sql(LIMITS, "AND s.ra >= 0"), skyserver.wise_sql(LIMITS, "AND s.ra >= 0"))}
    assert len(tails) == 1


def test_columns_of_a_query():
    assert skyserver.columns_of("-- a, b\nSELECT\n  s.z, p.x AS other,\n  COUNT(*) AS n\nFROM t WHERE x") == ["z", "other", "n"]
    assert len(skyserver.columns_of(skyserver.rows_sql(LIMITS))) == len(set(skyserver.columns_of(skyserver.rows_sql(LIMITS)))) == 77


def test_every_column_has_its_label():
    from astropy.units import Unit

    labels = skyserver.labels(skyserver.rows_sql(LIMITS))
    assert list(labels) == list(TABLE)
    known = {
        "ra": "deg",
        "petroFlux_u": "nmgy",
        "petroFluxIvar_u": "nmgy-2",
        "lgm_tot_p2p5": "dex(solMass)",
        "specsfr_tot_p50": "dex(1/yr)",
        "rowc_z": "pixel",
        "z": "",
    }
    assert {name: labels[name].unit for name in known} == known
    for label in labels.values():
        Unit(label.unit)


def test_query_is_that_of_astroquery(server):
    from astroquery.sdss import SDSS

    server.expect_request(SEARCH).respond_with_handler(SkyServerPlayer(TABLE))
    table = SDSS.query_sql(skyserver.rows_sql(LIMITS), data_release=17, cache=False)
    assert len(table) == len(TABLE)
    np.testing.assert_array_equal(table["specobjid"], TABLE["specobjid"])
    sent = skyserver.query(skyserver.rows_sql(LIMITS), 17).request
    assert sent.url == server.url_for(SEARCH)
    assert sent.params["cmd"] == server.log[0][0].args["cmd"]
    with pytest.raises(InputError, match="data releases 12 and later"):
        skyserver.query("SELECT 1", 9)


# --- the sample -------------------------------------------------------------------------------------------------------------


def test_download_in_chunks(server, tmp_path):
    sources, steps = matches(TABLE), []
    player = SkyServerPlayer(TABLE, sources)
    asked = serving(server, player, tmp_path)
    frame, notes = skyserver.download(LIMITS, asked, steps.append)
    wise = skyserver.download_wise(LIMITS, asked)
    pd.testing.assert_frame_equal(frame, TABLE, check_exact=True)
    key = ["objid", "separation_arcsec"]
    pd.testing.assert_frame_equal(wise.sort_values(key, ignore_index=True), sources.sort_values(key, ignore_index=True), check_exact=True)
    assert steps == [1] * 8
    assert len(player.asked) == 1 + 8 * 4
    assert (notes["n"], notes["chunks"], notes["release"]) == (60, 8, "DR17")
    assert notes["sql"] == skyserver.rows_sql(LIMITS)
    entries = Manifest(tmp_path / "manifest.jsonl").entries()
    assert len(entries) == len(player.asked)
    assert {entry["release"] for entry in entries} == {"DR17"}


def test_what_came_is_not_asked_for_again(server, tmp_path):
    player = SkyServerPlayer(TABLE)
    first, _ = skyserver.download(LIMITS, serving(server, player, tmp_path))
    asked = len(player.asked)
    for policy in ({}, {"offline": True}):
        again, _ = skyserver.download(LIMITS, serving(server, player, tmp_path, **policy))
        pd.testing.assert_frame_equal(again, first)
    assert len(player.asked) == asked
    skyserver.download(LIMITS | {"petro_r_max": 17.7}, serving(server, player, tmp_path))  # another query
    assert len(player.asked) == 2 * asked
    with pytest.raises(InputError, match=r"is needed, and the configuration says archives\.offline"):
        skyserver.download(LIMITS | {"petro_r_max": 17.6}, serving(server, player, tmp_path, offline=True))


def test_a_download_killed_at_half_goes_on(server, tmp_path):
    player = SkyServerPlayer(TABLE)

    def dying(request):
        return player(request) if len(player.asked) < 9 else Response("down", 503)

    with pytest.raises(InputError, match="2 attempts failed, the last with: status 503"):
        skyserver.download(LIMITS, serving(server, dying, tmp_path))
    frame, _ = skyserver.download(LIMITS, serving(server, player, tmp_path))
    pd.testing.assert_frame_equal(frame, TABLE, check_exact=True)
    assert len(player.asked) == len(set(player.asked)) == 17


def test_chunks_without_galaxies(server, tmp_path):
    few = TABLE[(TABLE["ra"] < 90) & (TABLE["dec"] > 15)].reset_index(drop=True)
    player = SkyServerPlayer(few, matches(few).iloc[:0])
    asked = serving(server, player, tmp_path)
    pd.testing.assert_frame_equal(skyserver.download(LIMITS, asked)[0], few)
    assert len(player.asked) == 8 + 1 + 1  # counts, one table, the count of all
    assert len(skyserver.download_wise(LIMITS, asked)) == 0
    assert len(player.asked) == 8 + 1 + 1 + 8
    with pytest.raises(InputError, match="no galaxy within the limits"):
        skyserver.download(LIMITS, serving(server, SkyServerPlayer(TABLE.iloc[:0]), tmp_path / "none"))


# --- faults -----------------------------------------------------------------------------------------------------------------


def faulty(fault):
    """A player whose tables (not its counts) go through `fault`."""
    player = SkyServerPlayer(TABLE)

    def handler(request):
        response = player(request)
        if "COUNT(*)" in request.args["cmd"]:
            return response
        return fault(response.get_data(as_text=True))

    return handler


REFUSAL = "error_message\nConversion failed when converting the varchar value"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda text: "<html><body>SkyServer is being updated", "a web page came in place of the file"),
        (lambda text: "", "an empty answer came"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", r"\d+ of \d+ rows came"),
        (lambda text: text[:-30], "the last line is cut"),
        (lambda text: text.replace("#Table1\n", ""), "no table but b'specobjid"),
        (lambda text: "No objects have been found", "no table but b'No objects"),
    ],
    ids=["web page", "empty", "a row less", "cut", "no mark", "words"],
)
def test_answers_that_cannot_be_trusted(server, tmp_path, fault, message):
    with pytest.raises(InputError, match=f"2 attempts failed, the last with: {message}"):
        skyserver.download(LIMITS, serving(server, faulty(lambda text: Response(fault(text))), tmp_path))
    assert not list(tmp_path.glob("*galaxies*.csv"))
    frame, _ = skyserver.download(LIMITS, serving(server, SkyServerPlayer(TABLE), tmp_path))
    pd.testing.assert_frame_equal(frame, TABLE)


def test_refused_query_is_not_repeated(server, tmp_path):
    asked = []

    def refuse(text):
        asked.append(text)
        return Response(REFUSAL)

    with pytest.raises(InputError, match=r"SkyServer refused the query: error_message\nConversion failed .*choose smaller query.ra_step_deg"):
        skyserver.download(LIMITS, serving(server, faulty(refuse), tmp_path))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"petroR50_u": "petroRad50_u"}, "petroR50_u missing, petroRad50_u unasked for"),
        ({"lgm_tot_p50": "logMass"}, "lgm_tot_p50 missing, logMass unasked for"),
    ],
)
def test_release_with_other_columns(server, tmp_path, renamed, message):
    def other(text):
        return Response(text.replace(*next(iter(renamed.items())), 1))

    with pytest.raises(InputError, match=f"data release 16 answers with other columns: {message}; pin the release"):
        skyserver.download(LIMITS, serving(server, faulty(other), tmp_path, release=16))


def test_case_of_columns_does_not_matter(server, tmp_path):
    def shouting(text):
        mark, header, rest = text.split("\n", 2)
        return Response(f"{mark}\n{header.upper()}\n{rest}")

    frame, _ = skyserver.download(LIMITS, serving(server, faulty(shouting), tmp_path))
    pd.testing.assert_frame_equal(frame, TABLE)


def test_union_is_counted(server, tmp_path):
    player = SkyServerPlayer(TABLE)

    def more(request):  # the server knows one more than lies in the chunks
        response = player(request)
        counts_all = "COUNT(*)" in request.args["cmd"] and "s.ra" not in request.args["cmd"]
        return Response("#Table1\nn\n61\n") if counts_all else response

    with pytest.raises(InputError, match="the chunks hold 60 galaxies, SkyServer counts 61; delete the answers"):
        skyserver.download(LIMITS, serving(server, more, tmp_path))


def test_spectrum_in_two_chunks(server, tmp_path):
    twice = pd.concat([TABLE, TABLE.iloc[[4]].assign(ra=(TABLE["ra"].iloc[4] + 90) % 360)], ignore_index=True)
    with pytest.raises(InputError, match=f"1 spectra came in two chunks, the first {TABLE['specobjid'].iloc[4]}"):
        skyserver.download(LIMITS, serving(server, SkyServerPlayer(twice), tmp_path))


def test_chunk_beyond_the_limit_of_rows(server, tmp_path, monkeypatch):
    monkeypatch.setattr(skyserver, "MOST_ROWS", 5)
    with pytest.raises(InputError, match=r"galaxies in chunk ra.*, and SkyServer gives 5 rows; choose a smaller query.ra_step_deg"):
        skyserver.download(LIMITS, serving(server, SkyServerPlayer(TABLE), tmp_path))


def test_null_is_nan(tmp_path):
    path = tmp_path / "answer.csv"
    path.write_text("#Table1\nobjid,w1mpro\n1237652943176138868,null\n1237652943176138869,13.5\n")
    skyserver.check_answer(path, 2)
    frame = skyserver.read_answer(path, ["objid", "w1mpro"], 17)
    assert frame["objid"].tolist() == [1237652943176138868, 1237652943176138869]
    np.testing.assert_array_equal(frame["w1mpro"], [np.nan, 13.5])


@recorded
def test_recorded_answers():
    skyserver.check_answer(REAL / "xid_im.txt", 18)
    frame = skyserver.read_answer(REAL / "xid_im.txt", ["ra", "dec", "objid", "run", "rerun", "camcol", "field"], 17)
    assert frame["objid"].iloc[0] == 1237653651835781245  # all digits: no detour through a float
    assert frame["run"].tolist()[:3] == [1904, 1904, 1739]
    with pytest.raises(ValueError, match="18 of 19 rows came"):
        skyserver.check_answer(REAL / "xid_im.txt", 19)
    with pytest.raises(InputError, match="other columns: zErr missing, ra, dec"):
        skyserver.read_answer(REAL / "xid_sp.txt", ["zErr"], 17)


def test_load_of_the_full_sample():
    """A row of this form as the server prints it, against the estimate."""
    load = skyserver.expected_load({"ra_step_deg": 10, "dec_edges_deg": [-90, 15, 35, 90]})
    assert load["requests"] == 2 * 108 + 1
    row_bytes = len(SkyServerPlayer.csv(TABLE)) / len(TABLE)
    assert load["megabytes"] == pytest.approx(516_525 * row_bytes / 1e6, rel=0.1)
