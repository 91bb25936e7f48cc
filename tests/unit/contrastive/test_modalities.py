"""What a network is fed: columns, logarithms, whitening on training galaxies, mass bins."""

import json

import numpy as np
import pandas as pd
import pytest

from galmass.contrastive.modalities import CLIP, Modality, Standardisation, bin_edges, bin_index
from galmass.errors import InputError


@pytest.fixture
def frame(catalogue):
    return catalogue(60, 0)


def test_from_config():
    entry = {"values": ["a", "b"], "errors": ["c"], "scalars": {"d": "log"}, "bin_width": 0.05}
    assert Modality.from_config("X", entry) == Modality("X", ("a", "b"), ("c",), {"d": "log"})
    assert Modality.from_config("X", entry).columns == ("a", "b", "c", "d")


def test_arrays_hold_the_columns_in_order(frame, modality):
    values, context = modality.arrays(frame)
    np.testing.assert_array_equal(values, np.column_stack([frame["mag_g"], frame["mag_r"]]))
    # errors as logarithms, then the scalars as they are declared
    np.testing.assert_array_equal(context, np.column_stack([np.log(frame["err_r"]), frame["ebv"], np.log(frame["z"])]))


def test_missing_columns_are_named(frame, modality):
    with pytest.raises(InputError, match=r"modality M needs the columns mag_r, z,"):
        modality.arrays(frame.drop(columns=["mag_r", "z"]))


@pytest.mark.parametrize("name", ["mag_r", "err_r", "ebv", "z"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_named(frame, modality, name, value):
    frame.loc[7, name] = value
    with pytest.raises(InputError, match=f"column {name} holds NaN or infinity"):
        modality.arrays(frame)


@pytest.mark.parametrize("name", ["err_r", "z"])
@pytest.mark.parametrize("value", [0.0, -0.1])
def test_logarithm_of_non_positive_is_named(frame, modality, name, value):
    frame.loc[7, name] = value
    with pytest.raises(InputError, match=f"column {name} has values <= 0"):
        modality.arrays(frame)


def test_a_linear_scalar_may_be_negative(frame, modality):
    frame.loc[7, "ebv"] = -0.1
    assert modality.arrays(frame)[1][7, 1] == -0.1


def test_complete_masks_what_is_not_measured(frame, modality):
    frame.loc[3, "mag_g"] = np.nan
    frame.loc[5, "z"] = np.inf
    frame.loc[8, "log_mass"] = np.nan  # no input
    assert np.flatnonzero(~modality.complete(frame)).tolist() == [3, 5]


def with_limits(frame):
    """Galaxies 3 and 5 have a limit in r and no magnitude, 7 has neither."""
    frame = frame.rename(columns={"err_r": "mag_r_err"}).assign(mag_r_limit=np.nan)
    frame.loc[[3, 5, 7], ["mag_r", "mag_r_err"]] = np.nan
    frame.loc[[3, 5], "mag_r_limit"] = [21.5, 22.0]
    return frame, Modality("M", ("mag_g", "mag_r"), ("mag_r_err",), {"z": "log"})


def test_what_was_not_detected_is_given_as_its_limit(frame):
    frame, modality = with_limits(frame)
    assert np.flatnonzero(~modality.complete(frame)).tolist() == [7]
    assert modality.limits(frame) == {"mag_r": 2}
    values, context = modality.arrays(frame.drop(index=7))
    assert values[[3, 5], 1].tolist() == [21.5, 22.0]
    # the error of a magnitude is 1.0857 over the signal-to-noise, 2
    np.testing.assert_allclose(np.exp(context[[3, 5], 0]), 1.0857 / 2, rtol=1e-4)
    detected = [0, 1, 2, 4, 6]
    np.testing.assert_array_equal(values[detected], frame.loc[detected, ["mag_g", "mag_r"]])
    np.testing.assert_array_equal(context[detected, 0], np.log(frame.loc[detected, "mag_r_err"]))


def test_a_limit_is_given_without_an_error_and_as_a_scalar_too(frame):
    frame, _ = with_limits(frame)
    for modality in (Modality("M", ("mag_g", "mag_r"), (), {}), Modality("M", ("mag_g",), (), {"mag_r": "linear"})):
        assert np.hstack(modality.arrays(frame.drop(index=7)))[[3, 5], 1].tolist() == [21.5, 22.0]
        assert modality.limits(frame) == {"mag_r": 2}


def test_limits_of_other_columns_and_of_what_was_detected_are_not_given(frame, modality):
    frame = frame.assign(mag_r_limit=25.0, mag_i_limit=25.0)
    np.testing.assert_array_equal(modality.arrays(frame)[0], frame[["mag_g", "mag_r"]])
    assert modality.limits(frame) == {}


def test_the_error_without_its_magnitude_is_not_made_up(frame):
    frame, _ = with_limits(frame)
    assert np.flatnonzero(~Modality("M", ("mag_g",), ("mag_r_err",), {}).complete(frame)).tolist() == [3, 5, 7]


def test_whitening_gives_identity_covariance_on_training_rows(catalogue, modality):
    raw = modality.arrays(catalogue(2000, 1))
    values, context = Standardisation.fit(*raw, modality).apply(*raw)
    assert values.dtype == context.dtype == np.float32
    assert max(np.abs(values).max(), np.abs(context).max()) < CLIP  # nothing was clipped
    # float32 of numbers up to 5: 2e-7 each
    np.testing.assert_allclose(np.cov(values, rowvar=False), np.eye(2), atol=1e-5)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(context.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(context.std(0), 1, atol=1e-5)


def test_first_values_are_colours_and_last_the_brightness(catalogue, modality):
    """Principal axes in order of growing variance, each with its largest component positive."""
    frame = catalogue(500, 1)
    fitted = Standardisation.fit(*modality.arrays(frame), modality)
    whitening = np.array(fitted.value_whitening)
    colour, brightness = whitening.T
    assert colour[0] * colour[1] < 0
    assert brightness[0] * brightness[1] > 0
    largest = whitening[np.abs(whitening).argmax(0), [0, 1]]
    assert (largest > 0).all()
    # so that the order of the galaxies does not matter but for rounding
    other = Standardisation.fit(*modality.arrays(frame.iloc[::-1]), modality)
    np.testing.assert_allclose(other.value_whitening, whitening, rtol=1e-9)


def test_other_galaxies_are_seen_with_the_eyes_of_the_training_galaxies(catalogue, modality):
    raw = modality.arrays(catalogue(200, 1))
    fitted = Standardisation.fit(*raw, modality)
    shifted = raw[0] + 0.5 * raw[0].std(0), raw[1] + 2.0 * raw[1].std(0)
    values, context = fitted.apply(*shifted)
    # the mean is not taken away again; float32
    np.testing.assert_allclose(context.mean(0), 2.0, atol=1e-5)
    np.testing.assert_allclose(values.mean(0), 0.5 * raw[0].std(0) @ np.array(fitted.value_whitening), atol=1e-5)
    # nor does a galaxy depend on its company
    for i in (0, 7):
        np.testing.assert_allclose(fitted.apply(shifted[0][i : i + 1], shifted[1][i : i + 1])[0][0], values[i], rtol=1e-5)


def test_far_out_is_clipped(catalogue, modality):
    raw = modality.arrays(catalogue(200, 1))
    fitted = Standardisation.fit(*raw, modality)
    values, context = fitted.apply(raw[0] + [100.0, -100.0], raw[1] - 100 * raw[1].std(0))
    assert set(np.abs(values[:, 0])) == {CLIP}  # the colour axis, 200 mag off
    assert set(context.ravel()) == {-CLIP}


@pytest.mark.parametrize("name", ["mag_r", "err_r", "ebv", "z"])
def test_constant_column_is_named(frame, modality, name):
    frame[name] = 0.02
    with pytest.raises(InputError, match=rf"constant among the training galaxies: {name}$"):
        Standardisation.fit(*modality.arrays(frame), modality)


@pytest.mark.parametrize("dependent", [lambda f: f["mag_g"], lambda f: 3 * f["mag_g"] - 1, lambda f: f["mag_g"] + f["mag_r"]], ids=["same", "scaled", "sum"])
def test_collinear_values_are_named(frame, dependent):
    frame["mag_i"] = dependent(frame)
    collinear = Modality("M", ("mag_g", "mag_r", "mag_i"), ("err_r",), {})
    with pytest.raises(InputError, match="mag_g, mag_r, mag_i are linearly dependent"):
        Standardisation.fit(*collinear.arrays(frame), collinear)


def test_nearly_collinear_values_are_not_refused(frame):
    frame["mag_i"] = frame["mag_g"] + np.random.default_rng(0).normal(0, 1e-3, len(frame))  # a millimagnitude of colour
    close = Modality("M", ("mag_g", "mag_r", "mag_i"), ("err_r",), {})
    raw = close.arrays(frame)
    values, _ = Standardisation.fit(*raw, close).apply(*raw)
    # the smallest axis is 1e-3 of the largest, 1e-6 in variance: eigh loses 1e-10 of that; float32 1e-6
    np.testing.assert_allclose(np.cov(values, rowvar=False), np.eye(3), atol=1e-4)


def test_standardisation_survives_json(catalogue, modality):
    raw = modality.arrays(catalogue(50, 1))
    fitted = Standardisation.fit(*raw, modality)
    again = Standardisation(**json.loads(json.dumps(fitted.to_dict())))
    for a, b in zip(fitted.apply(*raw), again.apply(*raw), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("width", "n_bin"), [(0.05, 130), (0.0125, 520), (0.00625, 1040), (0.5, 13)])
def test_bin_edges(width, n_bin):
    edges = bin_edges([6.0, 12.5], width)
    assert len(edges) == n_bin + 1
    assert (edges[0], edges[-1]) == (6.0, 12.5)
    np.testing.assert_allclose(np.diff(edges), width, atol=1e-12)  # rounding only


@pytest.mark.parametrize(("mass_range", "width"), [([6.0, 12.5], 0.3), ([6.0, 12.5], 6.5), ([6.0, 12.5], 20.0), ([12.5, 6.0], 0.5)])
def test_bin_edges_refuses(mass_range, width):
    with pytest.raises(InputError, match="do not divide the range"):
        bin_edges(mass_range, width)


def test_bin_index_at_borders_and_outside():
    edges = np.array([8.0, 9.0, 10.0, 12.0])
    mass = np.array([8.0, 8.999, 9.0, 10.0, 11.9, 12.0, 7.999, 12.001, np.nan, np.inf, -np.inf])
    index = bin_index(mass, edges)
    assert index.dtype == np.int64
    assert index.tolist() == [0, 0, 1, 2, 2, 2, -1, -1, -1, -1, -1]


def test_a_modality_may_do_without_errors_and_scalars():
    generator = np.random.default_rng(3)
    frame = pd.DataFrame({"a": generator.normal(size=40), "b": generator.normal(size=40)})
    modality = Modality("bare", ("a", "b"), (), {})
    values, context = Standardisation.fit(*modality.arrays(frame), modality).apply(*modality.arrays(frame))
    assert (values.shape, context.shape) == ((40, 2), (40, 0))
