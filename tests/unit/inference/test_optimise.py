"""Modes of known densities, and climbs through places where the density is no number."""

import math
from types import SimpleNamespace

import pytest
import torch

from galmass.errors import InputError
from galmass.inference import optimise

torch.set_num_threads(1)
CENTRES = torch.tensor([[2.0, 0.0, 1.0], [-3.0, 1.0, 0.0]], dtype=torch.float64)
WIDTHS = torch.tensor([[0.5, 0.1, 1.0], [0.2, 0.3, 0.4]], dtype=torch.float64)
HEIGHTS = torch.tensor([0.0, 1.5], dtype=torch.float64)


def _two_gaussians():
    """Two Gaussians too far apart to overlap; curvature of the nearer."""

    def terms(z):
        return HEIGHTS - 0.5 * (((z - CENTRES) / WIDTHS) ** 2).sum(-1)

    return SimpleNamespace(log_density=lambda z: torch.logsumexp(terms(z), 0), curvature=lambda z: torch.diag(WIDTHS[terms(z).argmax()] ** -2))


def _rosenbrock():
    """``-(r1^2 + r2^2) / 2`` with r = (10 (y - x^2), 1 - x): a curved valley, its mode (1, 1); curvature of Gauss and Newton."""

    def residuals(z):
        return torch.stack([10 * (z[1] - z[0] ** 2), 1 - z[0]])

    def curvature(z):
        jacobian = torch.tensor([[-20 * float(z[0]), 10.0], [-1.0, 0.0]], dtype=torch.float64)
        return jacobian.T @ jacobian

    return SimpleNamespace(log_density=lambda z: -0.5 * residuals(z).square().sum(), curvature=curvature)


def _scouts(n, d, width, seed=0):
    return width * (2 * torch.quasirandom.SobolEngine(d, scramble=True, seed=seed).draw(n, dtype=torch.float64) - 1)


def test_both_modes_are_found_with_their_heights_weights_and_distance():
    modes = optimise.search(_two_gaussians(), _scouts(64, 3, 5.0), n_starts=6, tolerance=1e-6)
    assert len(modes) == 2
    assert all(m.converged for m in modes)
    for mode, k in zip(modes, (1, 0), strict=True):
        torch.testing.assert_close(mode.z, CENTRES[k], atol=1e-6, rtol=0)  # slope of 1e-6 standard errors, at most 1 wide
        assert mode.log_density == pytest.approx(float(HEIGHTS[k]), abs=1e-10)
    mass = torch.exp(HEIGHTS) * WIDTHS.prod(-1)
    assert modes[0].weight == pytest.approx(float(mass[1] / mass.sum()), abs=1e-6)
    assert sum(m.weight for m in modes) == pytest.approx(1)
    assert modes[0].distance == 0
    assert modes[1].distance == pytest.approx(float(((CENTRES[1] - CENTRES[0]) / WIDTHS).square().sum(-1).max().sqrt()), rel=1e-4)


def test_it_follows_a_curved_valley():
    mode = optimise.climb(_rosenbrock(), torch.tensor([-1.9, 2.0], dtype=torch.float64), tolerance=1e-8)
    assert mode.converged
    assert mode.n_iterations < 60
    torch.testing.assert_close(mode.z, torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_a_quadratic_takes_few_steps_and_an_exhausted_climb_says_so():
    start = torch.tensor([2.3, 0.2, -1.0], dtype=torch.float64)
    assert optimise.climb(_two_gaussians(), start, tolerance=1e-6).n_iterations < 12  # damping falls threefold a step from 0.01
    assert not optimise.climb(_two_gaussians(), start, tolerance=1e-6, max_iterations=1).converged


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_step_to_where_there_is_no_number_is_refused(bad):
    """ln p = ln x - x for x > 0, its mode 1; a curvature far too small throws every first step across 0."""
    problem = SimpleNamespace(
        log_density=lambda z: torch.where(z > 0, torch.log(z.clamp(min=1e-300)) - z, bad).sum(), curvature=lambda z: torch.full((1, 1), 1e-2, dtype=z.dtype)
    )
    mode = optimise.climb(problem, torch.tensor([3.0], dtype=torch.float64), tolerance=1e-4, max_iterations=500)
    assert mode.converged
    assert float(mode.z[0]) == pytest.approx(1, abs=1e-4)  # slope is 10 |1 / x - 1|


def test_a_density_that_jumps_is_climbed_by_its_slopes():
    """Steps of 0.3 in ln p, at irregular places, on a parabola: by values alone the climb ends on the first ledge."""

    def log_density(z):
        return -0.5 * (z**2).sum() + 0.3 * (torch.floor(7.3 * z.detach()).remainder(2)).sum()

    problem = SimpleNamespace(log_density=log_density, curvature=lambda z: 1.5 * torch.eye(2, dtype=z.dtype))
    mode = optimise.climb(problem, torch.tensor([3.0, -5.0], dtype=torch.float64), tolerance=1e-4)
    assert mode.converged
    torch.testing.assert_close(mode.z, torch.zeros(2, dtype=torch.float64), atol=2e-4, rtol=0)  # slope is |z| / sqrt(1.5)


def test_ends_at_one_place_are_one_mode():
    modes = optimise.search(_rosenbrock(), _scouts(32, 2, 2.0), n_starts=5, tolerance=1e-6)
    assert len(modes) == 1
    assert modes[0].weight == 1


def test_starts_lie_apart_and_the_better_of_two_neighbours_stays():
    scouts = torch.tensor([[0.0, 0.0], [0.01, 0.0], [5.0, 5.0], [-5.0, 5.0]], dtype=torch.float64)
    chosen = optimise.best_apart(scouts, torch.tensor([1.0, 2.0, math.nan, 0.0], dtype=torch.float64), 3)
    assert chosen.tolist() == [[0.01, 0.0], [-5.0, 5.0]]


def test_no_finite_scout_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match="none of 8 starting points has a finite"):
        optimise.search(SimpleNamespace(log_density=lambda z: z.sum() * math.nan), _scouts(8, 2, 1.0))


def test_of_two_ends_at_one_place_the_converged_one_stays():
    there = optimise.Mode(torch.zeros(1, dtype=torch.float64), 1.0, torch.eye(1, dtype=torch.float64), 0.01, 5, True)
    near = optimise.Mode(torch.full((1,), 0.1, dtype=torch.float64), 1.1, torch.eye(1, dtype=torch.float64), 0.2, 5, False)
    far = optimise.Mode(torch.full((1,), 9.0, dtype=torch.float64), 2.0, torch.eye(1, dtype=torch.float64), 0.2, 5, False)
    assert [m.z.item() for m in optimise.distinct([near, there, far])] == [9.0, 0.0]


def test_a_climb_ends_where_it_meets_a_known_mode():
    known = optimise.climb(_rosenbrock(), torch.tensor([-1.9, 2.0], dtype=torch.float64), tolerance=1e-8)
    met = optimise.climb(_rosenbrock(), torch.tensor([-1.5, 2.0], dtype=torch.float64), tolerance=1e-8, known=[known])
    assert not met.converged
    assert optimise.distance(met, known) < optimise.SAME
