"""Architecture, closed-form parameter counts, and the mixture density against scipy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from galmass.contrastive.networks import MixtureEstimator, PhotometryNetwork, ResidualBlock

EDGES = torch.linspace(8.0, 12.0, 17)


def _linear_layers(module):
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


@pytest.fixture
def paper():
    torch.manual_seed(0)
    return PhotometryNetwork("paper", 5, 6, torch.linspace(6.0, 12.5, 521), {"main_latent": 8, "extra_latent": 8})


@pytest.fixture
def compact(options):
    torch.manual_seed(0)
    return PhotometryNetwork("compact", 3, 4, EDGES, options | {"main_latent": 3, "extra_latent": 2})


@pytest.mark.parametrize(("part", "n_in", "n_out"), [("encoder", 11, 16), ("decoder", 16, 5)])
def test_paper_network_has_twenty_hidden_layers_of_128(paper, part, n_in, n_out):
    stack = getattr(paper, part)
    shapes = [(m.in_features, m.out_features) for m in _linear_layers(stack)]
    assert shapes == [(n_in, 128), *[(128, 128)] * 19, (128, n_out)]
    assert [type(m) for m in stack] == [nn.Linear, nn.LeakyReLU] * 20 + [nn.Linear]


def test_paper_estimator_is_main_128_bins(paper):
    assert [(m.in_features, m.out_features) for m in _linear_layers(paper.estimator)] == [(8, 128), (128, 520)]


def test_paper_parameter_count(paper):
    def dense(*widths):
        return sum(a * b + b for a, b in pairwise(widths))

    hidden = [128] * 20
    expected = dense(11, *hidden, 16) + dense(16, *hidden, 5) + dense(8, 128, 520)
    assert sum(p.numel() for p in paper.parameters()) == expected


def test_compact_parameter_count(compact, options):
    w, d, k = options["width"], options["depth"], options["components"]
    block = 2 * w + 2 * (w * w + w)  # layer norm and two linear layers

    def stack(n_in, n_out):
        return n_in * w + w + d * block + 2 * w + w * n_out + n_out

    expected = stack(7, 5) + stack(5, 3) + (3 * w + w) + (w * 3 * k + 3 * k)
    assert sum(p.numel() for p in compact.parameters()) == expected


def test_shapes(compact):
    main, extra = compact.encode(torch.randn(6, 3), torch.randn(6, 4))
    assert (main.shape, extra.shape) == ((6, 3), (6, 2))
    assert compact.decode(main, extra).shape == (6, 3)
    assert compact.estimate(main).shape == (6, 16)


def test_only_main_feeds_the_estimator_and_both_the_decoder(compact):
    main, extra = compact.encode(torch.randn(6, 3), torch.randn(6, 4))
    last = compact.encoder[-1].weight  # rows: latents, main first
    gradient = torch.autograd.grad(compact.estimate(main)[:, 3].sum(), last, retain_graph=True)[0]
    assert (gradient[:3] != 0).any(1).all()
    assert (gradient[3:] == 0).all()
    gradient = torch.autograd.grad(compact.decode(main, extra).sum(), last)[0]
    assert (gradient != 0).any(1).all()


def test_context_and_values_both_reach_the_latent(compact):
    values, context = torch.randn(2, 3, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    gradients = torch.autograd.grad(compact.encode(values, context)[0].sum(), (values, context))
    assert all((g != 0).all() for g in gradients)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"'wide' is unknown; known: paper, compact"):
        PhotometryNetwork("wide", 5, 6, EDGES, {"main_latent": 8, "extra_latent": 8})


def test_residual_block_starts_as_the_identity_and_can_leave_it():
    torch.manual_seed(1)
    block, x = ResidualBlock(8), torch.randn(4, 8)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    assert (block.outer.weight.grad != 0).any()
    with torch.no_grad():
        block.outer.weight -= 0.1 * block.outer.weight.grad
    assert not torch.equal(block(x), x)


def _mixture(weights, means, scales, edges):
    """An estimator whose output does not depend on its input: given components, float64."""
    estimator = MixtureEstimator(2, edges.double(), 4, len(weights)).double()
    with torch.no_grad():
        estimator.parameters_of.weight.zero_()
        estimator.parameters_of.bias.copy_(torch.tensor(np.concatenate([np.log(weights), means, np.log(scales)])))
    return estimator


@pytest.mark.parametrize("edges", [torch.linspace(8.0, 12.0, 17), torch.tensor([8.0, 8.1, 9.0, 9.9, 10.0, 12.0])], ids=["even", "uneven"])
def test_mixture_probabilities_are_integrals_of_the_logistic_mixture(edges):
    weights, means, scales = [0.5, 0.3, 0.2], [-0.4, 0.8, 1.9], [0.05, 0.3, 1.0]
    probability = _mixture(weights, means, scales, edges)(torch.zeros(1, 2, dtype=torch.float64)).exp()[0].detach().numpy()
    centre = edges.double().mean().item()  # means are counted from the middle of the edges
    steps = sum(w * stats.logistic.cdf(edges.double().numpy(), centre + m, s) for w, m, s in zip(weights, means, scales, strict=True))
    n_bin, floor = len(edges) - 1, MixtureEstimator.FLOOR
    np.testing.assert_allclose(probability, np.diff(steps) * (1 - floor) + floor / n_bin, atol=1e-13)  # rounding in float64
    # what the probabilities lack to 1 is the mass of the mixture outside the edges
    assert 1 - probability.sum() == pytest.approx((1 - floor) * (1 - steps[-1] + steps[0]), abs=1e-13)


def test_a_mixture_inside_the_edges_adds_up_to_one():
    probability = _mixture([0.6, 0.4], [-0.3, 0.3], [0.03, 0.05], EDGES)(torch.zeros(3, 2, dtype=torch.float64)).exp()
    np.testing.assert_allclose(probability.sum(-1).detach(), 1, atol=1e-12)  # exp(-1.7 / 0.05) = 2e-15 lies outside


@pytest.mark.parametrize("mean", [-1e3, 1e3, 0.0])
def test_the_floor_holds(mean):
    estimator = _mixture([1.0], [mean], [1e-3], EDGES).float()
    density = estimator(torch.zeros(1, 2)).softmax(-1)[0]
    assert density.min() >= MixtureEstimator.FLOOR / 16 * (1 - 1e-6)  # float32
    assert density.sum().item() == pytest.approx(1, abs=1e-6)
    if mean:  # everything outside: nothing but the floor is left, the same in every bin
        np.testing.assert_allclose(density.detach(), 1 / 16, rtol=1e-6)


@pytest.mark.parametrize("parameters", [(1e6, -50.0), (-1e6, 50.0), (0.0, -50.0), (0.0, 50.0), (3.0, -20.0)])
def test_gradient_is_finite_in_the_far_wings(parameters):
    mean, log_scale = parameters
    estimator = _mixture([1.0], [mean], [1.0], EDGES).float()
    with torch.no_grad():
        estimator.parameters_of.bias[2] = log_scale
    for mass_bin in (0, 8, 15):
        estimator.zero_grad()
        loss = nn.functional.cross_entropy(estimator(torch.ones(1, 2)), torch.tensor([mass_bin]))
        loss.backward()
        # the floor bounds the loss
        assert loss.item() <= -np.log(MixtureEstimator.FLOOR / 16) + 1e-4
        assert all(torch.isfinite(p.grad).all() for p in estimator.parameters())


def test_scales_are_bounded():
    """A scale of e^-7 at the narrow end, e^3 at the wide end, however far the parameter goes."""
    for log_scale, bound in ((-50.0, -7.0), (50.0, 3.0)):
        one, two = (_mixture([1.0], [0.1], [np.exp(s)], EDGES)(torch.zeros(1, 2, dtype=torch.float64)) for s in (log_scale, bound))
        np.testing.assert_allclose(one.detach(), two.detach(), rtol=1e-12)  # rounding of exp(log(scale))


def test_mixture_gradients_equal_finite_differences():
    torch.manual_seed(2)
    estimator = MixtureEstimator(2, EDGES.double(), 4, 3).double()
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    # gradcheck: central differences with step 1e-6 in float64, tolerance 1e-5 absolute
    assert torch.autograd.gradcheck(estimator, (x,), eps=1e-6, atol=1e-5)


def test_new_mixtures_start_in_the_middle_from_narrow_to_wide():
    torch.manual_seed(3)
    estimator = MixtureEstimator(2, EDGES, 8, 3)
    weight, mean, log_scale = estimator.parameters_of.bias.detach().chunk(3)
    assert (weight == 0).all()
    assert (mean == 0).all()
    assert log_scale.tolist() == [-4.0, -2.5, -1.0]
    density = estimator(torch.randn(20, 2)).softmax(-1).mean(0)
    assert density.argmax() in (7, 8)
