"""Surrogate-transition Metropolis-Hastings is exact whatever the surrogate: discrete balance, known distributions, a curved posterior."""

import math

import pytest
import torch
from conftest import Bowl
from scipy import stats

from galmass.errors import InputError
from galmass.inference import conditional, delayed, mixture, population, straight, surrogate
from galmass.inference.conditional import Points
from galmass.inference.diagnostics import diagnose

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


def _points(z, log_prob):
    """Of chains that a kernel of one's own moves."""
    return Points(z, z, log_prob, log_prob)


def _flow(matrix):
    """Probability (4, 4) that a step from TRUTH goes from i to j, by the sampler's own step with inner chain `matrix`."""

    def kernel(points, generator):
        z = torch.multinomial(matrix[points.z[:, 0].long()], 1, generator=generator).double()
        return _points(z, CRUDE[z[:, 0].long()].log())

    def truth(z):
        return TRUTH[z[:, 0].long()].log()

    generator = torch.Generator().manual_seed(5)
    start = torch.multinomial(TRUTH, N, replacement=True, generator=generator)[:, None].double()
    state = delayed.State(_points(start, CRUDE[start[:, 0].long()].log()), truth(start))
    after, _ = delayed.step(state, truth, kernel, generator)
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


def test_acceptance_by_hand():
    """p(y) p~(x) / (p(x) p~(y)) and at most 1; places that are none are left alone, and not gone to."""
    inf, nan = math.inf, math.nan
    here = torch.tensor([[0.0, 0.0], [0.0, -1.0], [-3.0, 1.0], [0.0, 0.0], [0.0, 0.0], [2.0, 1.0]], dtype=torch.float64)  # ln p, ln p~
    there = torch.tensor([[-1.0, 1.0], [5.0, 0.0], [-2.0, 2.5], [-inf, 0.0], [nan, 0.0], [2.0, 1.0]], dtype=torch.float64)
    state = delayed.State(_points(torch.zeros(6, 1).double(), here[:, 1]), here[:, 0])
    moved = _points(torch.ones(6, 1).double(), there[:, 1])
    accepted = []
    for seed in range(2000):
        after, info = delayed.step(state, lambda z: there[:, 0], lambda points, generator: moved, torch.Generator().manual_seed(seed))
        accepted.append(info.accepted)
    wanted = torch.tensor([math.exp(-2), 1, math.exp(-0.5), 0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(info.acceptance, wanted)
    assert info.n_likelihoods == 6
    assert torch.equal(after.z[:, 0] == 1, info.accepted)
    assert torch.equal(after.log_prob, torch.where(info.accepted, there[:, 0], here[:, 0]))
    assert torch.equal(after.points.log_prob, torch.where(info.accepted, there[:, 1], here[:, 1]))
    torch.testing.assert_close(torch.stack(accepted).double().mean(0), wanted, atol=4 * math.sqrt(0.25 / 2000), rtol=0)


def test_what_stays_where_it_is_has_not_moved():
    z = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    points = _points(z, torch.zeros(3, dtype=torch.float64))
    there = _points(z + torch.tensor([[0.0, 1e-9], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64), points.log_prob)
    state = delayed.State(points, points.log_prob)
    _, info = delayed.step(state, lambda z: torch.zeros(3, dtype=torch.float64), lambda points, generator: there, torch.Generator())
    assert info.moved.tolist() == [True, False, True]


@pytest.mark.parametrize(("n", "power", "told"), [(4000, 1.0, False), (1001, 1.0, False), (999, 1.0, True), (150, 0.9, True)])
def test_few_effective_points_are_told(n, power, told):
    """Equal weights: as many effective points as there are."""
    found = population.Population(None, torch.zeros(n, dtype=torch.float64), None, 0.5, power)
    notes = delayed._shortfall(found, delayed.DEFAULTS | {"n_effective": 3000})
    assert len(notes) == told
    assert not told or f"{n} effective points, to be 3000" in notes[0]


def test_a_density_that_is_no_number_is_none():
    values = delayed.batched(lambda z: z.sum())(torch.tensor([[1.0, 2.0], [math.nan, 0.0], [math.inf, 0.0]]))
    assert values.tolist() == [3.0, -math.inf, -math.inf]
    assert values.dtype == torch.float64


WIDE = (0.5, 0.8, 30.0)  # neither sinh z0, sinh z1 nor z0^2 is straight on these widths


def _wrong(problem):
    """Setup of a surrogate beside the truth, too wide in some directions and too narrow in another, and of proposals to match."""
    shape = problem.inverse.T @ torch.diag(torch.tensor([0.5, 0.7, 1.3], dtype=torch.float64)) @ problem.inverse
    centre = problem.mean + problem.root @ torch.tensor([0.4, -0.5, 0.3], dtype=torch.float64)
    crude = surrogate.Surrogate(centre, torch.tensor(7.0, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), shape)
    archive = straight.Deviates().straight(problem.exact(500, 1)[:, :1])[0]
    cloud = mixture.fit(archive, torch.zeros(500, dtype=torch.float64), 3, torch.Generator().manual_seed(2))
    pilot = problem.exact(32, 3)
    return delayed.Setup(crude, torch.tensor([0.3, -0.2, 1.0]).double(), [0], cloud, 4, archive, pilot, torch.zeros(32).double(), 0, [])


def _is_normal(values):
    for column in values.T.numpy():
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-3  # a fixed seed: a failure is a change
    assert stats.kstest(values.square().sum(1).numpy(), stats.chi2(3).cdf).pvalue > 1e-3
    assert float((torch.corrcoef(values.T) - torch.eye(3)).abs().max()) < 4 / math.sqrt(len(values))


def _walk(problem, z, n):
    setup, generator, accepted = _wrong(problem), torch.Generator().manual_seed(8), []
    target = setup.target(problem)
    kernel, truth = setup.kernel(problem), torch.func.vmap(problem.log_density)
    state = delayed.State(target.at(z), truth(z))
    for _ in range(n):
        state, info = delayed.step(state, truth, kernel, generator)
        accepted.append(float(info.acceptance.mean()))
    return state, sum(accepted) / n, target


def test_a_bad_surrogate_changes_the_speed_and_not_the_result():
    problem = Bowl(WIDE)
    start = problem.exact(3000, 9)
    state, acceptance, target = _walk(problem, start, 5)
    assert 0.3 < acceptance < 0.8
    assert (state.z != start).any(1).double().mean() > 0.7
    _is_normal(problem.normal(state.z))
    torch.testing.assert_close(state.log_prob, torch.func.vmap(problem.log_density)(state.z))
    torch.testing.assert_close(state.points.log_prob, target.at(state.z).log_prob)


def test_draws_of_the_bad_surrogate_alone_would_be_seen():
    """The power of the test above: what the kernel does without the second choice is far from the truth."""
    problem = Bowl(WIDE)
    setup, generator = _wrong(problem), torch.Generator().manual_seed(8)
    points, kernel = setup.target(problem).at(problem.exact(3000, 9)), setup.kernel(problem)
    for _ in range(5):
        points = kernel(points, generator)
    assert stats.kstest(problem.normal(points.z)[:, 0].numpy(), stats.norm.cdf).pvalue < 1e-20


def test_chains_come_from_elsewhere_to_the_truth_in_spite_of_a_bad_surrogate():
    problem = Bowl(WIDE)
    state, _, _ = _walk(problem, torch.tensor([[0.8, 0.3, 1.5]], dtype=torch.float64).repeat(1200, 1), 25)
    _is_normal(problem.normal(state.z))


class Curve:
    """A rotation curve of 12 radii from four parameters through logistic bounds, and three more; data bend with what they see; Student's t."""

    names = ("mass", "scale", "slope", "hole", "a", "b", "c")
    bent, direct = [0, 1, 2, 3], ([4, 5, 6], [12, 13, 14])
    TRUTH = torch.tensor([0.3, -0.2, 0.4, 0.1, 0.5, -0.5, 0.2], dtype=torch.float64)

    def __init__(self, nu=6.0, bend=0.1, n_data=150):
        generator = torch.Generator().manual_seed(4)
        self.radius, self.nu, self.bend = torch.logspace(-1, 1, 12, dtype=torch.float64), nu, bend
        self.design = 0.5 * torch.randn(n_data, 15, dtype=torch.float64, generator=generator)
        self.reference = self.design @ self.summary(self.TRUTH)
        student = torch.randn(n_data, dtype=torch.float64, generator=generator)
        self.data = self.reference + student * torch.sqrt(nu / torch.randn(n_data, int(nu), dtype=torch.float64, generator=generator).square().sum(-1))

    def straight(self, bent):
        return straight.Deviates()

    def unit(self, z):
        return None

    def summary(self, z, unit=None):
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


OPTIONS = delayed.DEFAULTS | {"n_points": 2000, "n_effective": 2000, "n_components": 12}


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
    problem, setup = prepared
    z, acceptance = _run(problem, setup, 16, 60)
    assert acceptance > 0.6
    assert diagnose(z).bulk_ess.min() > 0.35 * 16 * 60  # 0.5 to 0.9 of the draws in trials; chains of 60 leave 20 % of it uncertain


def test_the_posterior_of_a_curve_agrees_with_importance_sampling(prepared):
    """From a mixture wide enough, by weights: no Markov chain and no surrogate in it."""
    problem, setup = prepared
    z = _run(problem, setup, 16, 100)[0].reshape(-1, 7)
    wide = mixture.fit(z, torch.zeros(len(z), dtype=z.dtype), 8, torch.Generator().manual_seed(3))
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
    assert sum("Pareto k" in note for note in setup.notes) == 1
    assert not any("mode" in note for note in setup.notes)
    shift = torch.tensor([0, 0, 0, 0, 1.0, 0, 0], dtype=torch.float64)
    modes = torch.stack([problem.TRUTH, problem.TRUTH + shift, problem.TRUTH + 1e-3 * shift])

    def truth(z):
        """Another mode that is e^1 lower, where the surrogate has next to nothing."""
        return torch.logaddexp(problem.log_density(z), problem.log_density(z - shift) - 1)

    assert float(problem.log_density(modes[0]) - problem.log_density(modes[1])) > 1.5 * delayed.NEAR
    lost = delayed.unseen(setup.target(problem), delayed.batched(truth), modes)
    assert len(lost) == 1
    assert lost[0].startswith("mode 2, 1.0 below the best")
    assert delayed.unseen(setup.target(problem), delayed.batched(problem.log_density), modes) == []  # not a mode of the truth


@pytest.mark.parametrize(("shape", "verdict"), [(0.2, "no heavy tail"), (2.0, "a heavy tail: the posterior is wider")])
def test_the_verdict_on_importance_weights(shape, verdict):
    """Weights e^(k x) of exponential x have a Pareto tail of shape k."""
    exponential = -torch.log(torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    note = delayed._check(shape * exponential, 0.5)
    assert verdict in note
    assert float(note.split("k = ")[1].split(",")[0]) == pytest.approx(
        shape, abs=4 * (1 + shape) / math.sqrt(3 * math.sqrt(2000))
    )  # of the tail that is fitted
    assert "50.0% of the inner proposals" in note


def test_the_expansion_moves_to_the_mean():
    """From a mode three standard errors away; the likelihood bends, so that the expansion there is another one."""
    problem = Bowl()
    away = torch.tensor([[0.6, 0.3, 1.0]], dtype=torch.float64)
    setup = delayed.prepare(problem, away, OPTIONS | {"n_pilot": 16}, torch.Generator().manual_seed(1))
    start = problem.normal(away[0])
    assert float(start.square().sum()) > 4 * delayed.FAR
    offset = (setup.surrogate.centre - problem.mean) @ problem.inverse.T
    assert float(offset.square().sum()) < 0.1 * delayed.FAR
    assert not any("still lies" in note for note in setup.notes)
    normal = problem.normal(setup.reference)
    assert float(normal.square().sum()) < delayed.FAR


def test_prepare_survives_places_of_no_summary():
    """The summary is no number beyond z0 = 0.5: no weight, no part in any mean."""

    class Edge(Bowl):
        def summary(self, z, unit=None):
            return torch.where(z[..., :1] > 0.5, math.nan, super().summary(z, unit))

    setup = delayed.prepare(Edge(), torch.tensor([[0.1, 0.0, 0.7]], dtype=torch.float64), OPTIONS | {"n_pilot": 16}, torch.Generator().manual_seed(1))
    assert bool(setup.reference.isfinite().all())
    assert bool(setup.log_weights.isfinite().all())
    assert float(setup.pilot[:, 0].max()) <= 0.5


def test_the_inner_chain_is_a_palindrome(prepared, monkeypatch):
    problem, setup = prepared
    order = []
    monkeypatch.setattr(conditional, "difference_step", lambda points, *_: order.append("difference") or points)
    monkeypatch.setattr(conditional, "resampling_step", lambda points, *_: order.append("resampling") or points)
    setup.kernel(problem)(None, None)
    assert order == order[::-1]
    assert order.count("resampling") == 1
    assert order.count("difference") == 2 * delayed.N_DIFFERENCE


def test_the_number_of_proposals_follows_what_they_are_worth(prepared):
    _, setup = prepared
    share = float(setup.notes[-1].split("; ")[1].split("%")[0]) / 100
    assert setup.n_proposals == pytest.approx(max(delayed.PROPOSALS[0], delayed.WANTED / share), abs=1.1)
    assert setup.archive.shape == (delayed.N_ARCHIVE, 4)
    assert setup.pilot.shape == (OPTIONS["n_pilot"], 7)


def test_pilots_have_their_importance_weights(prepared):
    problem, setup = prepared
    known = problem.log_prior(setup.pilot) + setup.surrogate(problem.summary(setup.pilot))
    torch.testing.assert_close(setup.log_weights, torch.func.vmap(problem.log_density)(setup.pilot) - known)


def test_chains_begin_at_pilots_or_where_they_are_told(prepared):
    problem, setup = prepared
    scheme = delayed.Delayed(problem, OPTIONS)
    state = scheme.begin(setup, None, 16, torch.Generator().manual_seed(1))
    rows = [int((setup.pilot == row).all(1).nonzero()) for row in state.z]
    assert len(set(rows)) == 16
    there = scheme.begin(setup, setup.pilot[:5], 5, torch.Generator())
    assert torch.equal(there.z, setup.pilot[:5])
    torch.testing.assert_close(there.log_prob - there.points.log_prob, setup.log_weights[:5])


def test_no_draw_counts_more_than_e_squared_times_the_median():
    log_weights = torch.tensor([50.0] + [0.0] * 31, dtype=torch.float64)
    first = torch.cat([delayed.different(log_weights, 1, torch.Generator().manual_seed(seed)) for seed in range(4000)])
    share = math.exp(2) / (math.exp(2) + 31)
    assert float((first == 0).double().mean()) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


def test_chains_begin_at_different_draws():
    chosen = delayed.different(torch.tensor([50.0] + [0.0] * 31, dtype=torch.float64), 16, torch.Generator().manual_seed(0))
    assert len(set(chosen.tolist())) == 16


def test_chains_begin_only_where_there_is_a_density():
    weights = torch.tensor([-math.inf] * 20 + [0.0] * 12, dtype=torch.float64)
    assert min(delayed.different(weights, 12, torch.Generator().manual_seed(0)).tolist()) == 20
    with pytest.raises(InputError, match="only 12 of 32 draws"):
        delayed.different(weights, 16, torch.Generator().manual_seed(0))
