"""The network about the break: places, windows, the endless system it learns from, continuity, the recipe of the paper."""

import math

import numpy as np
import pytest
import torch

from galmass.deprojection import direct, expansion, models, surrogate
from galmass.deprojection.basis import Basis
from galmass.deprojection.surrogate import Correction, PaperNetwork, Surrogate, endless_system, exact_corrections, features, place, symexp, whitening, window
from galmass.profiles import mge

from .conftest import column

RANGE = models.BOX["r_break"]


@pytest.fixture(scope="module")
def positions(basis):
    return window(basis, RANGE)


def system(basis, positions, alpha, beta, gamma, r_break):
    return endless_system(basis.step, positions, alpha, beta, gamma, place(basis, r_break)[1])


class Answers(torch.nn.Module):
    """A network that knows the exact corrections of these profiles."""

    def __init__(self, corrections):
        super().__init__()
        self.corrections = corrections

    def forward(self, _):
        return self.corrections


def knowing(basis, positions, parameters):
    module = Surrogate(basis, RANGE, 4, 1).double()
    module.network = Answers(exact_corrections(*system(basis, positions, *parameters), positions))
    return module


# --- place and window


def test_place_and_phase_make_up_the_break(basis, draw):
    r_break = draw(1000)[3]
    nearest, phase = place(basis, r_break)
    assert not nearest.is_floating_point()
    assert phase.abs().max() <= 0.5
    torch.testing.assert_close(basis.sigma_min * torch.exp(basis.step * (nearest + phase)), r_break, rtol=1e-12, atol=0)  # exp of up to ten


@pytest.mark.parametrize("k", [11, 30, 47])
def test_break_at_a_gaussian_has_no_phase(basis, k):
    nearest, phase = place(basis, torch.tensor([[basis.sigma[k]]]))
    assert nearest.item() == k
    assert abs(phase.item()) < 1e-12


def test_phase_follows_the_break_in_its_gradient(basis):
    r_break = column(100.0)[0].requires_grad_()
    (gradient,) = torch.autograd.grad(place(basis, r_break)[1].sum(), r_break)
    assert gradient.item() == pytest.approx(1 / (100 * basis.step), rel=1e-12)


def test_window_covers_the_core_for_every_break_and_is_no_longer(basis, positions):
    for end, r in ((0, RANGE[1]), (-1, RANGE[0])):
        nearest = place(basis, torch.tensor([[float(r)]]))[0].item()
        assert nearest + positions[end].item() == (0, basis.n_core - 1)[end]
    nearest = place(basis, torch.from_numpy(np.geomspace(*RANGE, 5001))[:, None])[0]
    assert (nearest + positions[0]).max() <= 0
    assert (nearest + positions[-1]).min() >= basis.n_core - 1
    assert positions.diff().eq(1).all()


@pytest.mark.parametrize("r_break", [RANGE[0], 61.0, RANGE[1]])
def test_each_gaussian_takes_its_correction_from_the_window(basis, positions, r_break):
    """A network that answers its own positions: the correction of Gaussian k is k minus the place of the break."""
    parameters = column(1.5, 1.6, 0.7, r_break)
    module = Surrogate(basis, RANGE, 4, 1).double()
    module.network = Answers(torch.zeros(1, len(positions), dtype=torch.float64))
    without = module(*parameters)
    module.network = Answers(positions.double()[None])
    density = torch.exp(direct.nuker.log_surface_density(torch.from_numpy(basis.sigma[:-1]), *parameters))
    expected = torch.from_numpy(basis.index[:-1]) - place(basis, parameters[3])[0]
    expected = torch.where((expected >= positions[0]) & (expected <= positions[-1]), expected, 0)  # wings outside the window stay
    assert (expected[:, :64] != 0).sum() >= 63
    torch.testing.assert_close((module(*parameters) - without)[:, :-1] / density, expected.double(), rtol=1e-9, atol=1e-9)  # a difference
    assert module(*parameters)[:, -1] == without[:, -1]


# --- the endless system


def test_exact_corrections_reproduce_the_profile(basis, positions, draw):
    relative, left = system(basis, positions, *draw(300))
    corrections = exact_corrections(relative, left, positions)
    rest = (left - (relative @ corrections[..., None])[..., 0]).abs().amax(1)
    assert left.abs().max() > 0.05, "the local expansion alone fails at sharp breaks"
    assert rest.median() < 1e-5
    assert rest.quantile(0.99) < 2e-3  # the ridge and the sharpest breaks, between two Gaussians
    assert rest.max() < 4e-3


def test_endless_system_does_not_know_where_the_break_is(basis, positions):
    """Exactly one step further, the same system: by place and phase."""
    near = system(basis, positions, *column(3.0, 2.0, 0.5, 20.0))
    far = system(basis, positions, *column(3.0, 2.0, 0.5, 20.0 * math.exp(17 * basis.step)))
    for a, b in zip(near, far, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8)  # phases agree to 1e-14; ratios up to 1e6 multiply it


def test_endless_system_moves_with_the_phase(basis, positions):
    """Phases 0.5 and -0.5 are the same break seen from two Gaussians: solutions one place apart."""
    parameters = column(3.0, 2.0, 0.5)
    low, high = (exact_corrections(*endless_system(basis.step, positions, *parameters, *column(p)), positions)[0] for p in (-0.5, 0.5))
    middle = slice(35, 65)
    assert low[middle].abs().max() > 0.05, "ten times the tolerance"
    torch.testing.assert_close(high[1:][middle], low[:-1][middle], rtol=0, atol=5e-3)  # the ridge rises from another centre


def test_what_is_left_is_the_error_of_the_local_expansion(basis, positions):
    """Against the expansion with many wings, at a break on a Gaussian."""
    wide = Basis(n_inner=100, n_outer=100)
    parameters = column(2.0, 1.9, 0.6, basis.sigma[30])
    _, left = system(basis, positions, *parameters)
    offsets = torch.arange(2 * (int(positions[0]) - surrogate.MARGIN), 2 * (int(positions[-1]) + surrogate.MARGIN) + 1) / 2
    radii = parameters[3][0] * torch.exp(basis.step * offsets)
    amplitudes = surrogate.local_expansion(wide, *parameters)[0]
    found = -direct.relative_error(wide, amplitudes, radii, *parameters)
    torch.testing.assert_close(left[:, 20:-20], found[:, 20:-20], rtol=0, atol=1e-6)  # the endless grid ends, too: 60 steps away


def test_whitening_makes_the_mean_normal_matrix_one(basis, positions, draw):
    chunks = list(zip(*(p.split(50) for p in draw(200)), strict=True))
    aligned = [(*c[:3], place(basis, c[3])[1]) for c in chunks]
    factor = whitening(basis.step, positions, lambda: aligned)
    relative = torch.cat([endless_system(basis.step, positions, *c)[0] for c in aligned])
    normal = (relative.mT @ relative).mean(0) + surrogate.FLOOR * torch.eye(len(positions))
    torch.testing.assert_close(factor @ normal @ factor.T, torch.eye(len(positions), dtype=torch.float64), rtol=0, atol=1e-5)  # condition 1e10


def test_a_unit_whitened_correction_changes_the_profile_by_one(basis, positions, draw):
    """Mean square over profiles, summed over radii: corrections = whitened @ factor."""
    parameters = draw(200)
    aligned = (*parameters[:3], place(basis, parameters[3])[1])
    factor = whitening(basis.step, positions, lambda: [aligned])
    change = endless_system(basis.step, positions, *aligned)[0] @ factor.T
    sizes = change.square().sum(1).mean(0)
    assert sizes.max() <= 1 + 1e-5
    assert sizes.median() > 0.9  # less only where FLOOR is all there is


# --- the module


def test_exact_corrections_in_place_of_the_network_give_the_direct_solution(basis, positions, draw, surface_radii):
    parameters = draw(200)
    found = knowing(basis, positions, parameters)(*parameters)
    both = [mge.surface_density(surface_radii, a, torch.from_numpy(basis.sigma)) for a in (found, direct.solve(basis, *parameters))]
    ratio = (both[0] / both[1] - 1).abs()
    assert ratio.max() < 3e-3  # both are within about 0.2 % of the profile at the sharpest breaks
    assert ratio.amax(1).median() < 1e-5


def test_features_are_of_order_one_over_the_box(draw):
    alpha, beta, gamma, r_break = draw(2000)
    seen = features(alpha, beta - gamma, gamma, place(Basis(), r_break)[1])
    assert seen.shape == (2000, surrogate.N_FEATURE)
    assert seen.abs().max() <= 1 + 1e-12
    assert seen.std(0).min() > 0.2, "none is constant"


def test_features_tell_profiles_apart():
    base = column(1.5, 0.9, 0.7, 0.2)
    rows = [features(*base)] + [features(*(p + 0.01 * (i == k) for k, p in enumerate(base))) for i in range(4)]
    assert len({tuple(r[0].tolist()) for r in rows}) == 5


def test_phase_is_not_periodic():
    low, high = (features(*column(1.5, 0.9, 0.7, p)) for p in (-0.5, 0.5))
    assert (low - high).abs().max() > 1


def test_correction_has_the_shape_of_the_window():
    network = Correction(102, 16, 3)
    assert network(torch.zeros(7, surrogate.N_FEATURE)).shape == (7, 102)
    assert sum(isinstance(m, torch.nn.Linear) for m in network.modules()) == 4


@pytest.fixture(scope="module")
def committed():
    return expansion.load()


def at_switches(basis):
    """Break radii halfway between two Gaussians, just below and just above."""
    places = torch.arange(12, 46, 3, dtype=torch.float64)[:, None] + 0.5
    return [basis.sigma_min * torch.exp(basis.step * (places + e)) for e in (-1e-9, 1e-9)]


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [(0.3, 1.5, 0.5), (1.45, 1.17, 0.77), (5.0, 2.5, 0.2), (9.5, 3.5, 0.9)])
def test_profile_hardly_jumps_where_the_window_moves(committed, basis, surface_radii, alpha, beta, gamma):
    """At a switch of the phase the network starts anew; its profile may jump by twice its error (0.6 % at the most, 0.02 % in the median)."""
    profiles = []
    for r_break in at_switches(basis):
        amplitudes = committed(*(torch.full_like(r_break, v) for v in (alpha, beta, gamma)), r_break)
        profiles.append(mge.surface_density(surface_radii, amplitudes[:, 0], committed.sigma))
    jump = (profiles[1] / profiles[0] - 1).abs()
    assert jump.max() < (4e-3 if alpha > 2 else 1e-3)
    assert jump.median() < 4e-4


# --- the recipe of the paper


def test_symexp_spans_the_paper_and_keeps_the_sign():
    x = torch.tensor([15.0, 12.0, 1.0, 0.0, -12.0], dtype=torch.float64)
    np.testing.assert_allclose(symexp(x), [1e3, 1.0, 9e-12, 0.0, -1.0], rtol=1e-11)  # 1e-12 subtracted
    torch.testing.assert_close(symexp(x), -symexp(-x), rtol=0, atol=0)


def test_symexp_has_no_step_at_zero():
    x = torch.tensor([-1e-6, 1e-6], dtype=torch.float64)
    np.testing.assert_allclose(symexp(x) / x, 1e-12 * np.log(10), rtol=1e-5)


@pytest.mark.parametrize("output", ["symexp", "linear"])
def test_paper_network(output, draw):
    basis = Basis(64, 1.0, 1e4, n_inner=0, n_outer=0)
    torch.manual_seed(0)
    module = PaperNetwork(basis, output)
    found = module(*(p.float() for p in draw(50)))
    assert found.shape == (50, 64)
    found.sum().backward()
    gradients = [p.grad.abs().max() for p in module.parameters()]
    assert min(gradients) > 1e-4, "nothing vanishes at the start"
    assert all(torch.isfinite(g) for g in gradients)


def test_paper_network_starts_in_the_range_of_amplitudes(draw):
    """symexp would start at 1e-12, without a slope, were its bias not set."""
    basis = Basis(64, 1.0, 1e4, n_inner=0, n_outer=0)
    torch.manual_seed(0)
    found = PaperNetwork(basis, "symexp")(*(p.float() for p in draw(50)))
    assert 1e-4 < found.detach().abs().median() < 10
