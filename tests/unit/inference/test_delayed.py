"""Surrogate-transition Metropolis-Hastings is exact whatever the surrogate: discrete balance, known distributions, a curved posterior."""

import math

import pytest
import torch
from scipy import stats

from galmass.errors import InputError
from galmass.inference import delayed, mixture, surrogate

torch.set_num_threads(1)
TRUTH = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)
CRUDE = torch.tensor([0.3, 0.1, 0.35, 0.25], dtype=torch.float64)


def _metropolis(proposal):
    """Transition matrix of Metropolis steps for CRUDE with a symmetric proposal."""
    moves = proposal * (CRUDE[None, :] / CRUDE[:, None]).clamp(max=1)
    moves.fill_diagonal_(0)
    return moves + torch.diag(1 - moves.sum(1))


RING = _metropolis(torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]], dtype=torch.float64) / 2)
PAIRS = _metropolis(torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=torch.float64))


def _flow(matrix):
    """Probability (4, 4) that a step from TRUTH goes from i to j, by the sampler's own step with inner chain `matrix`."""

    def density(z):
        return CRUDE[z[:, 0].long()].log()

    def kernel(z, log_prob, density, generator):
        z = torch.multinomial(matrix[z[:, 0].long()], 1, generator=generator).double()
        return z, density(z)

    generator = torch.Generator().manual_seed(5)
    start = torch.multinomial(TRUTH, N, replacement=True, generator=generator)[:, None].double()
    state = delayed.init(start, lambda z: TRUTH[z[:, 0].long()].log(), density)
    after, _ = delayed.step(state, lambda z: TRUTH[z[:, 0].long()].log(), density, kernel, generator)
    return torch.bincount((4 * start + after.z)[:, 0].long(), minlength=16).reshape(4, 4) / N


N = 400_000
ERROR = 4 * math.sqrt(2 * 0.1 / N)  # four standard errors of the difference of two frequencies of at most 0.1


def test_a_palindrome_is_in_detailed_balance_with_the_truth():
    flow = _flow(RING @ PAIRS @ RING)
    torch.testing.assert_close(flow, flow.T, atol=ERROR, rtol=0)
    torch.testing.assert_close(flow.sum(0), TRUTH.to(flow.dtype), atol=4 * math.sqrt(0.25 / N), rtol=0)


def test_a_product_is_not():
    """What the palindrome is for: the same kernels one after the other keep p~, but not p."""
    flow = _flow(RING @ PAIRS)
    assert (flow - flow.T).abs().max() > 3 * ERROR


class Line:
    """Exponential and Gumbel in two coordinates, seen through themselves."""

    names = ("a", "b")

    def log_prior(self, z):
        return -0.5 * (z**2).sum(-1) / 100

    def log_likelihood(self, z):
        return self.log_density(z) - self.log_prior(z)

    def log_density(self, z):
        return torch.where(z[..., 0] > 0, -z[..., 0], -math.inf) - z[..., 1] - torch.exp(-z[..., 1])

    def summary(self, z):
        return 1.0 * z


def test_a_bad_surrogate_changes_the_speed_and_not_the_result():
    problem, generator = Line(), torch.Generator().manual_seed(8)
    crude = surrogate.Surrogate(*(torch.tensor(v, dtype=torch.float64) for v in ([2.0, -1.0], 0.0, [0.0, 0.0], [[0.5, 0.3], [0.3, 0.4]])))
    density = surrogate.log_posterior(problem, crude)
    cloud = mixture.Mixture(crude.centre[None], 1.5 * torch.eye(2, dtype=torch.float64)[None], torch.zeros(1, dtype=torch.float64))
    kernel = delayed.Kernel(cloud.sample(200, generator), cloud, 4, 1)
    uniform = torch.rand(4000, 2, dtype=torch.float64, generator=generator)
    state = delayed.init(torch.stack([-torch.log(uniform[:, 0]), -torch.log(-torch.log(uniform[:, 1]))], 1), problem.log_density, density)
    accepted, start = [], state.z
    for _ in range(8):
        state, info = delayed.step(state, problem.log_density, density, kernel, generator)
        accepted.append(float(info.acceptance.mean()))
    assert 0.05 < sum(accepted) / 8 < 0.6
    assert (state.z != start).any(1).double().mean() > 0.8
    assert stats.kstest(state.z[:, 0].numpy(), stats.expon.cdf).pvalue > 1e-3  # a fixed seed: a failure is a change
    assert stats.kstest(state.z[:, 1].numpy(), stats.gumbel_r.cdf).pvalue > 1e-3
    torch.testing.assert_close(state.log_prob, problem.log_density(state.z))
    torch.testing.assert_close(state.log_surrogate, density(state.z))


class Curve:
    """A rotation curve of 12 radii from four parameters through logistic bounds, and three more; data bend with what they see; Student's t."""

    names = ("mass", "scale", "slope", "hole", "a", "b", "c")
    TRUTH = torch.tensor([0.3, -0.2, 0.4, 0.1, 0.5, -0.5, 0.2], dtype=torch.float64)

    def __init__(self, nu=6.0, bend=0.1, n_data=150):
        generator = torch.Generator().manual_seed(4)
        self.radius, self.nu, self.bend = torch.logspace(-1, 1, 12, dtype=torch.float64), nu, bend
        self.design = 0.5 * torch.randn(n_data, 15, dtype=torch.float64, generator=generator)
        self.reference = self.design @ self.summary(self.TRUTH)
        student = torch.randn(n_data, dtype=torch.float64, generator=generator)
        self.data = self.reference + student * torch.sqrt(nu / torch.randn(n_data, int(nu), dtype=torch.float64, generator=generator).square().sum(-1))

    def summary(self, z):
        mass, scale, slope, hole = (torch.sigmoid(z[..., i, None]) for i in range(4))
        stars = 10 ** (2 * mass) * self.radius / (self.radius + 10 ** (2 * scale - 1)) ** (1 + slope)
        return torch.cat([3 * torch.sqrt(stars + 10 ** (3 * hole - 2) / self.radius), z[..., 4:]], -1)

    def predict_at_summary(self, s):
        seen = self.design @ s - self.reference
        return self.reference + seen + self.bend * seen**2 / (1 + 0.1 * seen**2)

    def likelihood_at_summary(self, s):
        return -0.5 * (self.nu + 1) * torch.log1p((self.data - self.predict_at_summary(s)) ** 2 / self.nu).sum()

    def score_and_weights(self, prediction):
        residual = self.data - prediction
        return (self.nu + 1) * residual / (self.nu + residual**2), torch.full_like(residual, (self.nu + 1) / (self.nu + 3))

    def log_prior(self, z):
        bounded = z[..., :4]
        return (torch.nn.functional.logsigmoid(bounded) + torch.nn.functional.logsigmoid(-bounded)).sum(-1) - 0.5 * (z[..., 4:] ** 2).sum(-1)

    def log_likelihood(self, z):
        return self.likelihood_at_summary(self.summary(z))

    def log_density(self, z):
        return self.log_prior(z) + self.log_likelihood(z)


OPTIONS = delayed.DEFAULTS | {"n_walkers": 500, "n_rounds": 12, "n_components": 8, "n_proposals": 64}


@pytest.fixture(scope="module")
def prepared():
    problem = Curve()
    return problem, delayed.prepare(problem, problem.TRUTH[None], OPTIONS, torch.Generator().manual_seed(1))


def _run(problem, setup, n_chain, n, seed=2):
    scheme, generator = delayed.Delayed(problem, OPTIONS), torch.Generator().manual_seed(seed)
    state, kept, accepted = scheme.begin(setup, None, n_chain, generator), [], []
    for _ in range(n):
        state, info = scheme.step(setup, state, generator)
        kept.append(state.z)
        accepted.append(float(info.acceptance.mean()))
    return torch.stack(kept, 1), sum(accepted) / n


def test_a_good_surrogate_gives_nearly_independent_draws(prepared):
    from galmass.inference.diagnostics import diagnose

    problem, setup = prepared
    z, acceptance = _run(problem, setup, 16, 60)
    assert acceptance > 0.6
    assert diagnose(z).bulk_ess.min() > 0.35 * 16 * 60  # 0.5 to 0.9 of the draws in trials; chains of 60 leave 20 % of it uncertain


def test_the_posterior_of_a_curve_agrees_with_importance_sampling(prepared):
    """From a mixture wide enough, by weights: no Markov chain and no surrogate in it."""
    problem, setup = prepared
    z = _run(problem, setup, 16, 100)[0].reshape(-1, 7)
    wide = mixture.fit(z, 8, torch.Generator().manual_seed(3))
    wide = mixture.Mixture(wide.centres, 1.2 * wide.factors, wide.log_weights)
    points = wide.sample(20000, torch.Generator().manual_seed(4))
    log_weights = torch.func.vmap(problem.log_density)(points) - wide.log_density(points)
    weights = torch.softmax(log_weights, 0)
    n_effective = float(1 / (weights**2).sum())
    assert n_effective > 1000
    mean = weights @ points
    width = torch.sqrt(weights @ (points - mean) ** 2)
    error = width * math.sqrt(1 / n_effective + 1 / 600)  # at least 600 of the 1600 draws are effective
    assert ((z.mean(0) - mean).abs() < 4 * error).all()
    torch.testing.assert_close(z.std(0), width, rtol=4 * math.sqrt(1 / n_effective + 1 / 600), atol=0)


def test_the_notes_hold_pareto_k_and_lost_modes(prepared):
    problem, setup = prepared
    assert any("Pareto k" in note for note in setup.notes)
    far = torch.stack([problem.TRUTH, problem.TRUTH + torch.tensor([0, 0, 0, 0, 1.0, 0, 0], dtype=torch.float64)])
    hidden = Curve()
    hidden.log_density = lambda z: torch.logaddexp(problem.log_density(z), problem.log_density(z - far[1] + far[0]) - 1)
    lost = delayed.unseen(hidden, setup.surrogate, far, surrogate.log_posterior(problem, setup.surrogate))
    assert len(lost) == 1
    assert "mode 2" in lost[0]


def test_memory_is_a_rank_correlation():
    z = torch.randn(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert delayed.memory(z, torch.exp(z)) == pytest.approx(1)
    assert delayed.memory(z, z.flip(0)) < 0.15


def test_chains_begin_at_different_draws():
    chosen = delayed.different(torch.tensor([50.0] + [0.0] * 31, dtype=torch.float64), 16, torch.Generator().manual_seed(0))
    assert len(set(chosen.tolist())) == 16


def test_chains_begin_only_where_there_is_a_density():
    weights = torch.tensor([-math.inf] * 20 + [0.0] * 12, dtype=torch.float64)
    assert min(delayed.different(weights, 12, torch.Generator().manual_seed(0)).tolist()) == 20
    with pytest.raises(InputError, match="only 12 of 32 draws"):
        delayed.different(weights, 16, torch.Generator().manual_seed(0))
