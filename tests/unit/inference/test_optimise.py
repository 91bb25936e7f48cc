"""Modes of known densities, and climbs through places where the density is no number."""

import math

import pytest
import torch

from galmass.errors import InputError
from galmass.inference import fisher, optimise

torch.set_num_threads(1)


class Problem:
    """Data of unit errors that are `seen` of the summary, under a normal prior of width 3; both functions of one point (..., n)."""

    def __init__(self, summary, data, seen=lambda s: s, bent=(), width=3.0):
        self._summary, self.data, self.seen, self.bent, self.width = summary, torch.as_tensor(data, dtype=torch.float64), seen, list(bent), width
        self.n_predictions = self.n_looks = 0

    def summary(self, z):
        return self._summary(*z.unbind(-1))

    def log_prior(self, z):
        return -0.5 * (z / self.width).square().sum(-1)

    def predict_at_summary(self, s):
        self.n_predictions += 1
        return self.seen(s)

    def likelihood_at_summary(self, s):
        return -0.5 * (self.data - self.seen(s)).square().sum(-1)

    def log_density(self, z):
        self.n_looks += 1
        return self.log_prior(z) + self.likelihood_at_summary(self.summary(z))

    def score_and_weights(self, prediction):
        return self.data - prediction, torch.ones_like(prediction)


def _quadratic():
    """Three data, linear in two coordinates."""
    design = torch.tensor([[2.0, 0.3], [0.0, 5.0], [1.0, -1.0]], dtype=torch.float64)
    return Problem(lambda a, b: torch.stack([a, b], -1) @ design.T, [2.0, -5.0, 4.0]), design


def _rosenbrock():
    """Residuals 10 (y - x^2) and 1 - x and hardly a prior: a curved valley, its mode (1, 1)."""
    return Problem(lambda x, y: torch.stack([10 * (y - x**2), x], -1), [0.0, 1.0], width=1e4)


def _bimodal(bent=(0,)):
    """Data see x^2 and x + 10 y alone, and prefer neither sign of x; the prior prefers the y that is nearer to 0, that of x > 0."""
    return Problem(lambda x, y: torch.stack([20 * x**2, 10 * (x + 10 * y)], -1), [80.0, 40.0], bent=bent)


def _scouts(n, d, width, seed=0):
    return width * (2 * torch.quasirandom.SobolEngine(d, scramble=True, seed=seed).draw(n, dtype=torch.float64) - 1)


def _information(problem, z):
    return fisher.summary_information(problem, problem.summary(z))[0]


def _climb(problem, start, **options):
    start = torch.tensor(start, dtype=torch.float64)
    return optimise.climb(problem, start, _information(problem, start), **options)


def test_a_parabola_has_its_mode_curvature_and_height():
    problem, design = _quadratic()
    modes = optimise.search(problem, _scouts(16, 2, 5.0), n_starts=2, tolerance=1e-6)
    curvature = design.T @ design + torch.eye(2, dtype=torch.float64) / 9
    expected = torch.linalg.solve(curvature, design.T @ problem.data)
    assert len(modes) == 1
    assert modes[0].converged
    assert modes[0].weight == 1
    torch.testing.assert_close(modes[0].z, expected, atol=1e-6, rtol=0)  # slope of 1e-6 standard errors, at most 1 wide
    torch.testing.assert_close(modes[0].curvature, curvature, rtol=1e-6, atol=1e-6)  # differences of 1e-4 in float64
    assert modes[0].log_density == pytest.approx(float(problem.log_density(expected)), abs=1e-10)


def test_both_modes_are_found_with_weights_and_distance():
    problem = _bimodal()
    modes = optimise.search(problem, _scouts(64, 2, 5.0), n_starts=6, tolerance=1e-6)
    assert [round(float(mode.z[0])) for mode in modes] == [2, -2]
    assert all(mode.converged for mode in modes)
    # by the prior of y = 0.2 and 0.6, which hardly move the data
    assert modes[0].log_density - modes[1].log_density == pytest.approx((0.6**2 - 0.2**2) / 18, abs=1e-3)
    for mode in modes:
        hessian = -torch.autograd.functional.hessian(problem.log_density, mode.z)
        torch.testing.assert_close(mode.curvature, hessian, rtol=1e-2, atol=0)  # residuals of the prior's pull bend the data by less
    heights = torch.tensor([m.log_density - 0.5 * float(torch.logdet(m.curvature)) for m in modes], dtype=torch.float64)
    assert [m.weight for m in modes] == pytest.approx(torch.softmax(heights, 0).tolist())
    offset = modes[1].z - modes[0].z
    assert modes[0].distance == 0
    assert modes[1].distance == pytest.approx(max(float(offset @ m.curvature @ offset) for m in modes) ** 0.5)


@pytest.mark.parametrize(("bent", "n_modes"), [((0,), 2), ((), 1)])
def test_the_surrogate_shows_the_mode_of_another_shape(bent, n_modes):
    """One climb ends in one mode; the other is seen about it, where the coordinate is known to be bent."""
    problem = _bimodal(bent)
    modes = optimise.search(problem, _scouts(32, 2, 4.0, seed=1), n_starts=1, tolerance=1e-6)
    assert len(modes) == n_modes
    assert {round(abs(float(mode.z[0]))) for mode in modes} == {2}


def test_other_shapes_cost_no_likelihood():
    problem = _bimodal()
    best = optimise.place(problem, torch.tensor([2.0, 0.2], dtype=torch.float64))
    information = _information(problem, best.z)
    problem.n_looks = problem.n_predictions = 0
    found = optimise.others(problem, best, information, _scouts(64, 2, 5.0))
    assert problem.n_looks == problem.n_predictions == 0
    signs = sorted(round(float(z[0])) for z in found)
    assert signs == [-2, 2]


def test_it_follows_a_curved_valley_in_a_few_steps():
    """The valley is straight in the summary: what the prior leaves is Newton's method."""
    mode = _climb(_rosenbrock(), [-1.9, 2.0], tolerance=1e-8)
    assert mode.converged
    assert mode.n_iterations < 15
    torch.testing.assert_close(mode.z, torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_information_of_elsewhere_is_corrected_on_the_way():
    """Data that saturate: at the start they see 25 times less, and with H as it is there no step is ever right."""
    problem = Problem(lambda x, y: torch.stack([x, y + x**2], -1), [0.0, 3.0], lambda s: 30 * torch.tanh(s / 3))
    start = torch.tensor([4.0, -3.0], dtype=torch.float64)
    mode = optimise.climb(problem, start, 0.04 * torch.eye(2, dtype=torch.float64), 1e-6, 60)
    assert mode.converged
    z = mode.z.clone().requires_grad_()
    assert float(torch.autograd.grad(problem.log_density(z), z)[0].norm()) < 1e-3  # slope of 1e-6 of errors of about 1 / 10, curvatures below 1000


def test_learned_information_is_that_along_the_step_and_stays_positive():
    true = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    step = torch.tensor([0.3, -0.7], dtype=torch.float64)
    learned = optimise._learned(torch.eye(2, dtype=torch.float64), step, true @ step)
    torch.testing.assert_close(learned @ step, true @ step)
    upwards = optimise._learned(true, step, -5 * step)
    assert bool((torch.linalg.eigvalsh(upwards) > 0).all())


def test_a_quadratic_takes_few_steps_and_an_exhausted_climb_says_so():
    problem, _ = _quadratic()
    assert _climb(problem, [2.3, 4.0], tolerance=1e-6).n_iterations < 8  # damping falls fivefold a step from 0.01
    assert not _climb(problem, [2.3, 4.0], tolerance=1e-6, max_iterations=1).converged


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_step_to_where_there_is_no_number_is_refused(bad):
    """ln L = n ln s - n s for s > 0, its mode 1; an information far too small throws every first step across 0."""

    class Scale(Problem):
        def likelihood_at_summary(self, s):
            return torch.where(s > 0, 50 * (torch.log(s.clamp(min=1e-300)) - s), bad).sum(-1)

    problem = Scale(lambda x: x[..., None], [0.0], width=1e4)
    mode = optimise.climb(problem, torch.tensor([3.0], dtype=torch.float64), torch.full((1, 1), 1e-2, dtype=torch.float64), 1e-4)
    assert mode.converged
    assert float(mode.z[0]) == pytest.approx(1, abs=1e-4)


def test_a_density_that_jumps_is_climbed_by_its_slopes():
    """Steps of 0.3 in ln p, at irregular places, on a parabola: by values alone the climb ends on the first ledge."""

    class Jumping(Problem):
        def likelihood_at_summary(self, s):
            return super().likelihood_at_summary(s) + 0.3 * torch.floor(7.3 * s.detach()).remainder(2).sum(-1)

    problem = Jumping(lambda x, y: torch.stack([x, y], -1), [0.0, 0.0])
    information = 1.5 * torch.eye(2, dtype=torch.float64)
    mode = optimise.climb(problem, torch.tensor([3.0, -5.0], dtype=torch.float64), information, tolerance=1e-4)
    assert mode.converged
    torch.testing.assert_close(mode.z, torch.zeros(2, dtype=torch.float64), atol=2e-4, rtol=0)  # errors of about 1


def test_ends_at_one_place_are_one_mode():
    modes = optimise.search(_rosenbrock(), _scouts(32, 2, 2.0), n_starts=5, tolerance=1e-6)
    assert len(modes) == 1
    assert modes[0].weight == 1


def test_starts_lie_apart_and_the_better_of_two_neighbours_stays():
    scouts = torch.tensor([[0.0, 0.0], [0.01, 0.0], [5.0, 5.0], [-5.0, 5.0]], dtype=torch.float64)
    chosen = optimise.best_apart(scouts, torch.tensor([1.0, 2.0, math.nan, 0.0], dtype=torch.float64), 3)
    assert chosen.tolist() == [[0.01, 0.0], [-5.0, 5.0]]


def test_no_finite_scout_is_an_error_with_a_remedy():
    problem, _ = _quadratic()
    problem.data = problem.data * math.nan
    with pytest.raises(InputError, match="none of 8 starting points has a finite"):
        optimise.search(problem, _scouts(8, 2, 1.0))


def test_of_two_ends_at_one_place_the_converged_one_stays():
    there = optimise.Mode(torch.zeros(1, dtype=torch.float64), 1.0, torch.eye(1, dtype=torch.float64), 0.01, 5, True)
    near = optimise.Mode(torch.full((1,), 0.1, dtype=torch.float64), 1.1, torch.eye(1, dtype=torch.float64), 0.2, 5, False)
    far = optimise.Mode(torch.full((1,), 9.0, dtype=torch.float64), 2.0, torch.eye(1, dtype=torch.float64), 0.2, 5, False)
    assert [m.z.item() for m in optimise.distinct([near, there, far])] == [9.0, 0.0]


def test_a_climb_ends_where_it_meets_a_known_mode():
    known = _climb(_rosenbrock(), [-1.9, 2.0], tolerance=1e-8)
    met = _climb(_rosenbrock(), [-1.5, 2.0], tolerance=1e-8, known=[known])
    assert not met.converged
    assert optimise.distance(met, known) < optimise.SAME


class Angle(Problem):
    """Data of unit errors see (20 cos a, 20 sin a) and b, at the direction a = pi where the coordinate begins anew; z[0] is the angle."""

    periodic = (0,)

    def __init__(self):
        super().__init__(lambda a, b: torch.stack([20 * torch.cos(a), 20 * torch.sin(a), b], -1), [-20.0, 0.0, 1.0])

    def log_prior(self, z):
        return -0.5 * (z[..., 1] / self.width).square() + 0 * z[..., 0]


def test_one_place_a_turn_apart_is_one_mode():
    modes = optimise.search(Angle(), _scouts(32, 2, math.pi), n_starts=6, tolerance=1e-6)
    assert len(modes) == 1
    assert float(modes[0].z[0].cos()) == pytest.approx(-1, abs=1e-8)


def test_scouts_on_either_side_of_the_edge_of_a_turn_are_close():
    scouts = torch.tensor([[3.1, 0.0], [-3.1, 0.0], [0.0, 0.0]], dtype=torch.float64)
    values = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    assert optimise.apart(scouts, values, 3, (0,)) == [0, 2]
    assert optimise.apart(scouts, values, 3) == [0, 1, 2]


def test_modes_lie_within_half_a_turn_of_the_best():
    """Where the surrogate, which knows no turns, is asked about them."""
    best, other, same = ([3.1, 0.0], [-3.1, 5.0], [3.1 - 2 * math.pi, 0.1])
    modes = [
        optimise.Mode(torch.tensor(z, dtype=torch.float64), p, 4 * torch.eye(2, dtype=torch.float64), 0.0, 1, True, periodic=(0,))
        for z, p in ((best, 3.0), (other, 2.0), (same, 1.0))
    ]
    found = optimise.distinct(modes)
    assert len(found) == 2
    torch.testing.assert_close(found[1].z, torch.tensor([-3.1 + 2 * math.pi, 5.0], dtype=torch.float64))
    assert found[1].distance == pytest.approx(2 * math.hypot(2 * math.pi - 6.2, 5))
    assert torch.equal(found[0].z, modes[0].z)
