"""Every term of the loss against its definition in numpy, and its gradients by finite differences."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax
from torch import nn

from galmass.contrastive.losses import contrastive_losses, halves, latent_contrast, output_contrast, rms_distance, run_pass


class TinyNetwork(nn.Module):
    """Encoder tanh(x A), main | extra of 2 | 1 dimensions, linear estimator (5 bins) and decoder (2 values); float64."""

    def __init__(self, seed=0):
        super().__init__()
        g = np.random.default_rng(seed)
        shapes = {"encoder": (4, 3), "estimator": (2, 5), "decoder": (3, 2)}
        self.weights = nn.ParameterDict({name: nn.Parameter(torch.tensor(g.normal(size=shape))) for name, shape in shapes.items()})

    def encode(self, values, context):
        latent = torch.tanh(torch.cat([values, context], -1) @ self.weights["encoder"])
        return latent[:, :2], latent[:, 2:]

    def estimate(self, main):
        return main @ self.weights["estimator"]

    def decode(self, main, extra):
        return torch.cat([main, extra], -1) @ self.weights["decoder"]


class PerfectNetwork(TinyNetwork):
    """Gives its input back exactly, so that both passes are identical."""

    def encode(self, values, context):
        return values, context

    def decode(self, main, extra):
        return main + 0 * extra.sum()


@pytest.fixture
def batch():
    g = np.random.default_rng(1)
    return torch.tensor(g.normal(size=(6, 2))), torch.tensor(g.normal(size=(6, 2))), torch.tensor([0, 4, 2, 2, 1, 3])


def _numpy_passes(weights, values, context):
    """Main latents, logits and reconstruction of both passes."""
    passes = []
    for _ in range(2):
        latent = np.tanh(np.hstack([values, context]) @ weights["encoder"])
        reconstruction = latent @ weights["decoder"]
        passes.append((latent[:, :2], latent[:, :2] @ weights["estimator"], reconstruction))
        values = reconstruction
    return passes


def _numpy_losses(weights, values, context, mass_bin, targets=None):
    """The four terms as the design document defines them; `targets`: densities held fixed in the output contrast."""
    (main_1, logits_1, out_1), (main_2, logits_2, out_2) = _numpy_passes(weights, values, context)

    def rms(a, b):
        return np.mean([np.sqrt(np.mean((x - y) ** 2)) for x, y in zip(a, b, strict=True)])

    p = np.exp(-rms(main_1, main_2))
    n = np.exp(-(rms(main_1[:3], main_1[3:]) + rms(main_2[:3], main_2[3:])) / 2)
    target_1, target_2 = targets or (softmax(logits_1, 1), softmax(logits_2, 1))
    rows = np.arange(6)
    return {
        "cross_entropy": sum(np.mean(logsumexp(logits, axis=1) - logits[rows, mass_bin]) for logits in (logits_1, logits_2)),
        "reconstruction": sum(np.mean((out - values) ** 2) for out in (out_1, out_2)),
        "latent_contrast": -np.log(p / (p + n)),
        "output_contrast": -np.mean(np.sum(target_1 * log_softmax(logits_2, 1) + target_2 * log_softmax(logits_1, 1), 1)),
    }


def _numpy(network, *tensors):
    return {name: w.detach().numpy().copy() for name, w in network.weights.items()}, *(t.numpy() for t in tensors)


def test_every_term_is_what_the_paper_says(batch):
    network = TinyNetwork()
    got = contrastive_losses(network, *batch)
    expected = _numpy_losses(*_numpy(network, *batch))
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        # float64; the 1e-12 under the square root of the RMS changes distances near 1 by 1e-12
        assert got[name].item() == pytest.approx(value, abs=1e-10), name
        assert got[name].shape == ()


@pytest.mark.parametrize("term", ["cross_entropy", "reconstruction", "latent_contrast", "output_contrast"])
def test_gradients_equal_finite_differences(batch, term):
    """In the output contrast the targets do not move with the weights: they are detached."""
    network = TinyNetwork()
    weights, *data = _numpy(network, *batch)
    passes = _numpy_passes(weights, *data[:2])
    targets = tuple(softmax(logits, 1) for _, logits, _ in passes)
    contrastive_losses(network, *batch)[term].backward()
    moved, step = 0, 1e-5
    for name, parameter in network.weights.items():
        gradient = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        for index in np.ndindex(gradient.shape):
            values = []
            for sign in (1, -1):
                changed = {k: w.copy() for k, w in weights.items()}
                changed[name][index] += sign * step
                values.append(_numpy_losses(changed, *data, targets=targets)[term])
            # central differences: step^2 from the third derivative, 1e-16 / step from rounding
            assert gradient[index] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7)
            moved += abs(gradient[index]) > 1e-4
    assert moved >= 12  # the encoder's twelve weights at least: no vacuous zeros


def test_rms_distance_small_example():
    a, b = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64), torch.tensor([[3.0, 4.0], [1.0, 3.0]], dtype=torch.float64)
    # sqrt(25 / 2) and sqrt(4 / 2), their mean
    assert rms_distance(a, b).item() == pytest.approx((np.sqrt(12.5) + np.sqrt(2)) / 2, abs=1e-11)  # the 1e-12 under the root


@pytest.mark.parametrize(("positive", "negative"), [(0.3, 1.2), (1.2, 0.3), (0.0, 0.0), (0.0, 30.0), (30.0, 0.0)])
def test_latent_contrast_is_minus_log_share(positive, negative):
    p, n = np.exp(-positive), np.exp(-negative)
    got = latent_contrast(torch.tensor(positive, dtype=torch.float64), torch.tensor(negative, dtype=torch.float64)).item()
    # softplus hands over to its argument at 20: exp(-20) = 2e-9
    assert got == pytest.approx(-np.log(p / (p + n)), abs=1e-8)


def test_latent_contrast_does_not_overflow():
    assert latent_contrast(torch.tensor(1e4), torch.tensor(0.0)).item() == 1e4  # exp(-1e4) is 0 in any float


def test_latent_contrast_pulls_passes_together_and_galaxies_apart():
    positive, negative = (torch.tensor(x, requires_grad=True) for x in (0.5, 0.7))
    latent_contrast(positive, negative).backward()
    assert positive.grad > 0 > negative.grad


def test_output_contrast_detaches_its_targets():
    """The gradient towards each density is softmax - target over n: no term from being a target."""
    g = np.random.default_rng(2)
    a, b = (torch.tensor(g.normal(size=(4, 5)), requires_grad=True) for _ in range(2))
    output_contrast(a.log_softmax(-1), b.log_softmax(-1)).backward()
    density_a, density_b = softmax(a.detach().numpy(), 1), softmax(b.detach().numpy(), 1)
    np.testing.assert_allclose(a.grad, (density_a - density_b) / 4, atol=1e-14)  # rounding only
    np.testing.assert_allclose(b.grad, (density_b - density_a) / 4, atol=1e-14)


def test_output_contrast_is_symmetric():
    a, b = torch.tensor([[0.0, 2.0, 1.0]]).log_softmax(-1), torch.tensor([[1.0, 0.0, 0.5]]).log_softmax(-1)
    assert output_contrast(a, b) == output_contrast(b, a)


def test_output_contrast_of_a_density_with_itself_is_twice_its_entropy():
    logits = torch.tensor(np.random.default_rng(3).normal(size=(4, 5)), requires_grad=True)
    loss = output_contrast(logits.log_softmax(-1), logits.detach().log_softmax(-1))
    p = softmax(logits.detach().numpy(), 1)
    assert loss.item() == pytest.approx(-2 * np.mean(np.sum(p * np.log(p), 1)), abs=1e-13)  # rounding only
    loss.backward()
    np.testing.assert_allclose(logits.grad, 0, atol=1e-15)  # agreement is the minimum


def test_identical_passes(batch):
    """A perfect reconstruction: both passes agree, and every gradient is finite all the same."""
    values, context, mass_bin = (batch[0].clone().requires_grad_(), *batch[1:])
    network = PerfectNetwork()
    losses = contrastive_losses(network, values, context, mass_bin)
    logits = values.detach().numpy() @ network.weights["estimator"].detach().numpy()
    p = softmax(logits, 1)
    x = values.detach().numpy()
    apart = np.mean(np.sqrt(np.mean((x[:3] - x[3:]) ** 2, 1)))
    assert losses["reconstruction"].item() == 0
    assert losses["cross_entropy"].item() == pytest.approx(-2 * np.mean(np.log(p[np.arange(6), mass_bin.numpy()])), abs=1e-12)
    assert losses["output_contrast"].item() == pytest.approx(-2 * np.mean(np.sum(p * np.log(p), 1)), abs=1e-12)
    # p = exp(-1e-6): the root of the 1e-12 that keeps the gradient finite
    assert losses["latent_contrast"].item() == pytest.approx(-np.log(1 / (1 + np.exp(-apart))), abs=2e-6)
    sum(losses.values()).backward()
    assert torch.isfinite(values.grad).all()


def test_collapsed_latents_have_finite_gradients(batch):
    network = TinyNetwork()
    with torch.no_grad():
        network.weights["encoder"].zero_()
    sum(contrastive_losses(network, *batch).values()).backward()
    assert all(torch.isfinite(w.grad).all() for w in network.weights.values())


def test_errors_and_scalars_are_fed_unchanged_in_the_second_pass(batch):
    network, seen = TinyNetwork(), []
    encode = network.encode
    network.encode = lambda values, context: (seen.append((values, context)), encode(values, context))[1]
    contrastive_losses(network, *batch)
    (values_1, context_1), (values_2, context_2) = seen
    assert torch.equal(context_1, batch[1])
    assert torch.equal(context_2, batch[1])
    assert torch.equal(values_1, batch[0])
    assert torch.equal(values_2, run_pass(network, *batch[:2]).reconstruction)


def test_halves():
    a, b = halves(torch.arange(6))
    assert (a.tolist(), b.tolist()) == ([0, 1, 2], [3, 4, 5])
    a, b = halves(torch.arange(5))
    assert (a.tolist(), b.tolist()) == ([0, 1], [2, 3])
