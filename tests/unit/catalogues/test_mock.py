"""The simulated survey: its columns, its selection, its errors, and that its equations do what their settings say."""

from math import factorial

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from mock_options import EFFECTS, OPTIONS
from scipy.optimize import brentq
from scipy.stats import kstest

from galmass.catalogues import mock, simulation, spectra
from galmass.catalogues.schema import CLASSES, LIMIT_SIGNAL_TO_NOISE, columns_of
from galmass.contrastive.modalities import Modality
from galmass.errors import InputError
from galmass.stores import Column

SETTINGS = simulation.settings_of(OPTIONS)


@pytest.fixture(scope="module")
def built():
    return simulation.build(OPTIONS)


@pytest.fixture(scope="module")
def values():
    return simulation.draw(4000, SETTINGS, 8)[0]


def test_the_catalogue_has_the_columns_of_the_schema_and_the_truth_its_own(built):
    frame, truth, notes = built
    assert list(frame.columns) == list(columns_of("mock"))
    assert list(truth.columns) == list(simulation.truth_columns())
    assert all(isinstance(label, Column) and "{" not in label.description for label in simulation.truth_columns().values())
    assert (frame["galaxy_id"] == truth["galaxy_id"]).all()
    assert frame["galaxy_id"].is_unique
    assert {"environment", "true_mag_u", "true_r50_z", "true_sersic_n_g", "axis_ratio", "position_angle"} <= set(truth.columns)
    assert frame["split"].value_counts().to_dict() == {"train": 825, "validation": 225, "test": 450}
    assert set(frame["galaxy_class"]) == set(CLASSES)
    assert notes["cuts"][0]["left"] == 1500
    assert notes["cuts"][0]["removed"] > 1500  # most of space is too faint


def test_only_wise_has_missing_values_and_each_has_a_limit(built):
    frame = built[0]
    missing = set(frame.columns[frame.isna().any()])
    assert missing <= {f"mag_w{i}{kind}" for i in (1, 2, 3) for kind in ("", "_err", "_limit")}
    assert 0.1 < frame["mag_w3"].isna().mean() < 0.9
    for band in ("w1", "w2", "w3"):
        assert (frame[f"mag_{band}"].isna() == frame[f"mag_{band}_limit"].notna()).all()
        assert not (frame[f"mag_{band}"] > mock._WISE_LIMIT[int(band[1]) - 1] + 1).any()


def test_a_limit_stands_for_two_standard_deviations_and_leaves_no_galaxy_out(built):
    frame = built[0]
    limit = frame["mag_w3_limit"].max()
    assert frame["mag_w3"].max() < limit
    # 1 mag for 2.5 log10(5 / 2): 0.5 % off
    assert 5 * 10 ** (-0.4 * (limit - mock._WISE_LIMIT[2])) == pytest.approx(LIMIT_SIGNAL_TO_NOISE, rel=0.01)
    wise = Modality("Wise", ("mag_w1", "mag_w2", "mag_w3"), ("mag_w1_err", "mag_w2_err"), {"ebv": "linear"})
    assert wise.complete(frame).all()
    assert wise.limits(frame)["mag_w3"] == frame["mag_w3"].isna().sum()


def test_a_measurement_without_its_noise_is_what_it_is_said_to_measure():
    measured = {name: one.measures for name, one in mock.sky.variables.items() if one.measures}
    assert measured.keys() >= {"petro_mag", "r50", "measured_sersic_n", "measured_axis_ratio", "ssfr"}
    noise = mock.sky.noise(50, [1])
    silent = {name: np.zeros_like(noise[name]) for name in (*measured, "sfr") if name in noise}
    values, drawn = mock.sky.table(mock.sky.evaluate(noise | silent, SETTINGS)), mock.sky.graph(SETTINGS)
    for name in measured:
        for column in mock.sky.variables[name].columns:
            np.testing.assert_allclose(values[column], values[drawn.nodes[column]["measures"]], atol=1e-12)


def test_the_same_seed_gives_the_same_galaxies_and_another_gives_others(built):
    again, other = simulation.build(OPTIONS)[0], simulation.build(OPTIONS | {"seed": 6})[0]
    assert built[0].equals(again)
    assert not np.isin(other["log_mass"], again["log_mass"]).any()


def test_fewer_galaxies_are_the_first_of_more(built):
    fewer = simulation.build(OPTIONS | {"max_galaxies": 400})[0]
    np.testing.assert_array_equal(fewer["petro_mag_g"], built[0]["petro_mag_g"][:400])


def test_the_flux_limit_holds_for_what_is_measured(built):
    frame = built[0]
    assert frame["petro_mag_dered_r"].max() < OPTIONS["flux_limit"]
    np.testing.assert_allclose(frame["petro_mag_r"] - frame["petro_mag_dered_r"], 2.285 * frame["ebv"], rtol=1e-6)
    assert frame["z"].between(*OPTIONS["redshift"]).all()


def test_a_limit_that_shows_nothing_is_refused():
    with pytest.raises(InputError, match=r"flux_limit 5\.0 mag .* show 0 of"):
        simulation.draw(10, SETTINGS | {"flux_limit": 5.0}, 1)


def test_errors_are_what_they_say(values):
    """Pulls of standard normal noise: variance 1 with a standard error of sqrt(2 / 4000) = 0.022; five of those.

    Not in r, where the limit selects by the noise, nor where the error is at its cap.
    """
    for measured, error, bands in (("petro_mag", "petro_mag_err", range(5)), ("wise_mag", None, range(3))):
        for i in bands:
            true = values["true_mag"][:, i + (0 if error else 5)]
            sigma = values[error][:, i] if error else mock.wise_error(values["true_mag"][:, 5:])[:, i]
            chosen = sigma < 0.1
            if i == 2 and error:
                continue
            assert np.var((values[measured][:, i] - true)[chosen] / sigma[chosen]) == pytest.approx(1, abs=5 * np.sqrt(2 / chosen.sum()) + 0.02)


def test_redshifts_fill_space_evenly_and_axes_point_anywhere():
    """Before selection: cumulative z^3, and uniform cos(inclination); n = 4000, Kolmogorov-Smirnov at 1e-4."""
    values = mock.sky.evaluate(mock.sky.noise(4000, [2]), SETTINGS, wanted=["z", "inclination"])
    low, high = OPTIONS["redshift"]
    assert kstest((values["z"] ** 3 - low**3) / (high**3 - low**3), "uniform").pvalue > 1e-4
    assert kstest(np.cos(np.radians(values["inclination"])), "uniform").pvalue > 1e-4


def test_distances_are_astropys():
    redshift = np.array([0.0123, 0.1, 0.3])
    np.testing.assert_allclose(spectra.luminosity_distance(redshift), FlatLambdaCDM(H0=70, Om0=0.3).luminosity_distance(redshift).value, rtol=1e-5)


def test_a_nearby_dust_free_galaxy_has_its_absolute_magnitudes_at_the_distance_modulus():
    n = 3
    do = {"z": np.full(n, 1e-3), "ebv": np.zeros(n), "attenuation": np.zeros(n)}
    values = mock.sky.evaluate(mock.sky.noise(n, [1]), SETTINGS, do, wanted=["true_mag", "abs_mag"])
    modulus = 5 * np.log10(spectra.luminosity_distance(1e-3)) + 25
    # z = 0.001 moves a band by 0.1 % in wavelength: below 0.01 mag
    np.testing.assert_allclose(values["true_mag"][:, :5] - values["abs_mag"], modulus, atol=0.02)


def test_the_concentration_of_an_exponential_disc():
    """R90 / R50 of Sersic profiles with n = 1 and 4, whose light within R is a sum of 2 n terms."""
    n = 2
    do = {"true_sersic_n": np.repeat([[1.0], [4.0]], 5, axis=1)}
    noise = {name: 0 * array for name, array in mock.sky.noise(n, [1]).items()}
    values = mock.sky.evaluate(noise, SETTINGS, do, wanted=["r90"])
    np.testing.assert_allclose((values["r90"] / values["r50"])[:, 2], [_concentration(1), _concentration(4)], rtol=1e-9)


def _concentration(n: int) -> float:
    def within(t):
        return 1 - np.exp(-t) * sum(t**k / factorial(k) for k in range(2 * n))

    ends = [brentq(lambda t, f=fraction: within(t) - f, 1e-3, 40, xtol=1e-13, rtol=1e-14) for fraction in (0.5, 0.9)]
    return (ends[1] / ends[0]) ** n


@pytest.mark.parametrize(
    ("effect", "cause", "changed", "ends"),
    [
        ("attenuation_of_inclination", "inclination", "attenuation", (20.0, 70.0)),
        ("sersic_n_of_mass", "log_mass", "sersic_n", (10.2, 10.8)),
        ("gradients_of_mass", "log_mass", "size_gradient", (10.2, 10.8)),
        ("morphology_of_ssfr", "log_ssfr", "log_size", (-10.5, -12.0)),
        ("thickness_of_sersic_n", "sersic_n", "axis_ratio", (1.0, 4.0)),
        ("mass_of_environment", "environment", "log_mass", (-1.0, 1.0)),
    ],
)
def test_an_effect_is_an_effect_and_zero_is_none(effect, cause, changed, ends):
    noise, n = mock.sky.noise(40, [9]), 40
    for strength, differs in ((EFFECTS[effect], True), (0.0, False)):
        settings = SETTINGS | {effect: strength}
        do = {name: mock.sky.evaluate(noise, settings)[name] for name in mock.sky.variables[changed].causes}
        low, high = (mock.sky.evaluate(noise, settings, do | {cause: np.full(n, value)}, wanted=[changed])[changed] for value in ends)
        assert (not np.allclose(low, high)) == differs
        assert mock.sky.graph(settings).has_edge(cause, changed) == differs


def test_heavier_galaxies_are_more_concentrated_at_one_colour(values):
    """The image knows what the colours do not: among galaxies of one star formation the Sersic index follows the mass."""
    forming = np.abs(values["log_ssfr"] + 10.1) < 0.1
    slope = np.polyfit(values["log_mass"][forming], np.log10(values["sersic_n"][forming]), 1)[0]
    assert slope == pytest.approx(EFFECTS["sersic_n_of_mass"], abs=0.03)
