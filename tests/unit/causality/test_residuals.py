"""Residuals of a local linear regression against least squares, one neighbourhood at a time."""

import numpy as np
import pytest

from galmass.causality import residuals
from galmass.causality.independence import residual_statistics

N, K = 20, 60


def reference(values, latent, given, valid):
    """Least squares by numpy on a constant, the leading directions of the latent (singular vectors) and what is given."""
    left = np.full(values.shape, np.nan)
    for i, there in enumerate(valid):
        points = latent[i, there] - latent[i, there].mean(0)
        directions = np.linalg.svd(points)[2][: values.shape[1] // residuals.PER_DIRECTION]
        design = np.column_stack([np.ones(there.sum()), points @ directions.T, given[i, there]])
        left[i, there] = values[i, there] - design @ np.linalg.lstsq(design, values[i, there])[0]
    return left


def drawn(d: int, seed: int = 1):
    generator = np.random.default_rng(seed)
    latent, given = 3 + generator.normal(size=(N, K, d)) * np.arange(d, 0, -1), 18 + 0.02 * generator.normal(size=(N, K, 2))
    return latent, given, 10.5 + latent[..., 0] ** 2 + 10 * given[..., 0] + generator.normal(size=(N, K)), generator.random((N, K)) < 0.8


@pytest.mark.parametrize("d", [1, 4, 6, 16])  # up to 6 directions of 60 galaxies are taken out
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "with gaps"])
def test_residuals_are_those_of_least_squares(d, whole):
    latent, given, values, valid = drawn(d)
    valid |= whole
    found = residuals.taken_out(values, residuals.basis(latent, given, valid), valid)
    np.testing.assert_allclose(found, reference(values, latent, given, valid), atol=1e-9)


def test_the_basis_is_orthonormal_of_mean_zero_and_nothing_at_gaps():
    latent, given, _, valid = drawn(4)
    basis = residuals.basis(latent, given, valid)
    np.testing.assert_allclose(basis.transpose(0, 2, 1) @ basis, np.broadcast_to(np.eye(6), (N, 6, 6)), atol=1e-10)
    np.testing.assert_allclose(basis.sum(1), 0, atol=1e-10)
    assert (basis[~valid] == 0).all()


@pytest.mark.filterwarnings("error")
def test_columns_that_say_nothing_new_change_nothing():
    latent, given, values, valid = drawn(4)
    idle = np.concatenate([given, given[..., :1] * 2 + 1, latent[..., :1], np.full((N, K, 1), 18.3)], axis=2)
    once, again = (residuals.taken_out(values, residuals.basis(latent, columns, valid), valid) for columns in (given, idle))
    np.testing.assert_allclose(again, once, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_of_what_the_latent_determines_nothing_is_left():
    latent, given, _, valid = drawn(4)
    basis = residuals.basis(latent, given, valid)
    for values in (18 + latent @ [1.0, 2, 3, 4] - given[..., 0], np.full((N, K), 1 / 3)):
        left = residuals.taken_out(values, basis, valid)
        assert (left[valid] == 0).all()
        assert np.isnan(left[~valid]).all()


def test_given_columns_hold_a_condition_and_its_square_whatever_its_units():
    estimate, condition = np.random.default_rng(2).normal(size=(2, 200))
    condition[3] = np.nan
    assert residuals.given_columns(estimate).shape == (200, 1)
    found = residuals.given_columns(estimate, condition)
    np.testing.assert_allclose(found, residuals.given_columns(estimate, 1e4 * condition + 5e4), atol=1e-9)
    np.testing.assert_allclose(found[:, 2], found[:, 1] ** 2)
    assert np.isnan(found[3, 1:]).all()


# --- statistics of residuals ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    """700 galaxies on a latent of 3 dimensions, which determines mass and queries up to noise; 300 of them tested, more than a block."""
    generator = np.random.default_rng(3)
    latent = generator.normal(size=(700, 3))
    mass = 10.5 + latent[:, 0] + 0.3 * generator.normal(size=700)
    patchy = latent[:, 0] + generator.normal(size=700)
    patchy[generator.random(700) < 0.2] = np.nan
    queries = {"whole": latent[:, 0] - latent[:, 1] + 0.5 * generator.normal(size=700), "patchy": patchy, "linked": mass + latent[:, 2]}
    neighbours = np.argsort(((latent[:300, None] - latent) ** 2).sum(-1), axis=1)[:, 1:41]
    return mass, queries, latent, residuals.given_columns(latent @ [1.0, 0.1, 0.0], patchy), neighbours


def test_residual_statistics_are_those_of_least_squares_one_galaxy_at_a_time(sample):
    mass, queries, latent, given, neighbours = sample
    found = residual_statistics(mass, queries, latent, given, neighbours)
    for name, x in queries.items():
        valid = np.isfinite(given[neighbours]).all(2) & np.isfinite(x[neighbours])
        y_left, x_left = (reference(v[neighbours], latent[neighbours], given[neighbours], valid) for v in (mass, x))
        for i in range(0, 300, 17):
            there = valid[i]
            if name == "patchy":  # the condition itself: nothing is left of it
                assert np.isnan(found[name]["residual_correlation"][i])
                assert np.isnan(found[name]["residual_efficiency"][i])
                continue
            a, b = y_left[i, there], x_left[i, there]
            rest = a - np.polyval(np.polyfit(b / b.std(), a, 2), b / b.std())
            assert found[name]["residual_correlation"][i] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
            assert found[name]["residual_efficiency"][i] == pytest.approx(1 - rest.var() / a.var(), abs=1e-6)


def test_residuals_lose_what_the_width_of_the_neighbourhood_brings(sample):
    mass, queries, latent, _, neighbours = sample
    given = residuals.given_columns(latent[:, 0])
    found = {name: row["residual_correlation"].mean() for name, row in residual_statistics(mass, queries, latent, given, neighbours).items()}
    # spread of a local correlation of 35 degrees of freedom is 0.17; neighbourhoods overlap about 300 * 40 / 700 = 17 times
    assert abs(found["whole"]) < 4 * 0.17 / np.sqrt(700 / 40)
    assert found["linked"] > 0.99
