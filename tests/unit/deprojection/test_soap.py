"""SOAP: faster than Adam where the problem is ill-conditioned, Adam itself for vectors, and it continues exactly."""

from itertools import pairwise

import pytest
import torch

from galmass.deprojection.soap import SOAP


def regression(seed=0):
    """Loss of a matrix W: |L (W - W*) R|^2 in turned axes with singular values over two decades on both sides."""
    g = torch.Generator().manual_seed(seed)

    def skewed(n):
        turn = torch.linalg.qr(torch.randn(n, n, generator=g))[0]
        return turn @ torch.diag(torch.logspace(-2, 0, n)) @ turn.T

    left, right, wanted = skewed(12), skewed(8), torch.randn(12, 8, generator=g)
    return lambda w: (left @ (w - wanted) @ right).square().sum()


def descend(optimiser_class, n_step, **options):
    loss, weight = regression(), torch.nn.Parameter(torch.zeros(12, 8))
    optimiser = optimiser_class([weight], **options)
    for step in range(n_step):
        for group in optimiser.param_groups:
            group["lr"] = options["lr"] * (1 - step / n_step)
        optimiser.zero_grad()
        value = loss(weight)
        value.backward()
        optimiser.step()
    return float(loss(weight.detach())), float(loss(torch.zeros(12, 8)))


def step(optimiser, parameters, g):
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=g)
    optimiser.step()


def test_beats_adam_on_an_ill_conditioned_problem():
    """At the better of three learning rates each."""
    rates = (0.01, 0.03, 0.1)
    adam = min(descend(torch.optim.Adam, 300, lr=lr, betas=(0.95, 0.95))[0] for lr in rates)
    soap = min(descend(SOAP, 300, lr=lr)[0] for lr in rates)
    start = descend(SOAP, 1, lr=0.01)[1]
    assert soap < adam / 10
    assert soap < 1e-4 * start


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), ()])
def test_everything_but_matrices_gets_adam(shape):
    """One step late: the first only starts."""
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    soap, adam = SOAP([ours], lr=0.01, beta=0.9), torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.9))
    g, h = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    step(soap, [ours], g)
    torch.randn(shape, generator=h)
    for _ in range(5):
        step(soap, [ours], g)
        step(adam, [theirs], h)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)  # float32, other order of operations


def test_turning_the_axes_turns_the_path():
    """The eigenbases turn with the problem, so the distance covered does not depend on the axes; Adam's does."""
    g = torch.Generator().manual_seed(2)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))[0] for n in (5, 4))
    plain, turned = (torch.nn.Parameter(torch.zeros(5, 4, dtype=torch.float64)) for _ in range(2))
    optimisers = SOAP([plain], lr=0.1), SOAP([turned], lr=0.1)
    for _ in range(30):
        gradient = torch.randn(5, 4, generator=g, dtype=torch.float64)
        plain.grad, turned.grad = gradient, left @ gradient @ right
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(left @ plain @ right, turned, rtol=0, atol=1e-8)  # eigenvectors of close eigenvalues round


def test_the_first_step_only_starts():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimiser = SOAP([weight], lr=1.0)
    g = torch.Generator().manual_seed(0)
    step(optimiser, [weight], g)
    assert torch.equal(weight.detach(), torch.ones(3, 2))
    assert optimiser.state[weight]["t"] == 0
    step(optimiser, [weight], g)
    assert not torch.equal(weight.detach(), torch.ones(3, 2))


def test_first_change_is_the_learning_rate_in_the_eigenbasis():
    """Mean and square are corrected for their start at zero, so every turned element is +-1 and the norm is lr sqrt(n)."""
    weight = torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.float64))
    optimiser, g = SOAP([weight], lr=0.5), torch.Generator().manual_seed(0)
    for _ in range(2):
        weight.grad = torch.randn(4, 4, generator=g, dtype=torch.float64)
        optimiser.step()
    assert float(torch.linalg.norm(weight.detach())) == pytest.approx(0.5 * 4, rel=1e-5)  # eps against turned gradients of 0.01


def test_eigenbases_are_renewed_and_stay_orthogonal():
    weight = torch.nn.Parameter(torch.zeros(4, 3))
    optimiser, g = SOAP([weight], lr=0.1, every=3), torch.Generator().manual_seed(0)
    bases = []
    for _ in range(8):
        step(optimiser, [weight], g)
        bases.append(optimiser.state[weight]["left_basis"].clone())
    changed = [not torch.equal(a, b) for a, b in pairwise(bases)]
    assert changed == [False, False, True, False, False, True, False]
    torch.testing.assert_close(bases[-1].T @ bases[-1], torch.eye(4), rtol=0, atol=1e-6)  # float32


def test_parameters_without_a_gradient_stay():
    used, unused = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    optimiser, g = SOAP([used, unused], lr=0.1), torch.Generator().manual_seed(0)
    for _ in range(3):
        step(optimiser, [used], g)
    assert torch.equal(unused.detach(), torch.ones(2, 2))


def test_continues_from_its_state_as_if_never_stopped(tmp_path):
    def fresh():
        parameters = [torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.ones(3))]
        return parameters, SOAP(parameters, lr=0.1, every=4)

    whole, optimiser = fresh()
    g = torch.Generator().manual_seed(3)
    for k in range(14):
        if k == 6:
            torch.save({"weights": [p.detach() for p in whole], "optimiser": optimiser.state_dict(), "g": g.get_state()}, tmp_path / "state")
        step(optimiser, whole, g)
    state = torch.load(tmp_path / "state", weights_only=True)
    resumed, again = fresh()
    again.load_state_dict(state["optimiser"])
    h = torch.Generator()
    h.set_state(state["g"])
    for p, value in zip(resumed, state["weights"], strict=True):
        p.data.copy_(value)
    for _ in range(8):
        step(again, resumed, h)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_a_closure_is_called_with_gradients_on():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimiser = SOAP([weight], lr=0.1)

    def closure():
        optimiser.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimiser.step(closure).item() == 4.0
