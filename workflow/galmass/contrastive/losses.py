"""Losses of the supervised contrastive model (Zhang et al. 2025, arXiv 2509.23901; CLAP, arXiv 2410.19390).

A mini-batch is two halves of equal size: galaxy i of the first half and galaxy i of the second are a
random pair of different galaxies. Every galaxy passes the network twice: as it is (pass 1) and as its
own reconstruction (pass 2, "cycle"); errors and scalars are fed unchanged in both. Images have a second
view besides, turned and mirrored, which passes once and gets no cross-entropy of the mass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, mse_loss, nll_loss, softplus

from galmass import devices


@dataclass(frozen=True)
class Pass:
    """What one pass of a mini-batch gives: main latent (n, n_main), log-probability of the bins (n, n_bin), reconstruction."""

    main: Tensor
    log_probability: Tensor
    reconstruction: Tensor


def run_pass(network, values: Tensor, context: Tensor) -> Pass:
    """One pass of a mini-batch through encoder, estimator and decoder."""
    main, extra = network.encode(values, context)
    return Pass(main, log_softmax(network.estimate(main), -1), network.decode(main, extra))


def rms_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the mini-batch of the root-mean-square difference of latents (n, n_main): a scalar."""
    # the gradient of a square root at zero is infinite: identical latents occur in tests and in collapse
    return ((a - b).square().mean(-1) + 1e-12).sqrt().mean()


def latent_contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """-ln[p / (p + n)] with p = exp(-positive), n = exp(-negative), both mean RMS distances."""
    return softplus(positive - negative)


def output_contrast(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Symmetric cross-entropy [nat] of two log-densities of the same galaxies; each target is detached."""
    towards_a = -(log_a.detach().exp() * log_b).sum(-1).mean()
    towards_b = -(log_b.detach().exp() * log_a).sum(-1).mean()
    return towards_a + towards_b


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two members of every pair."""
    n = len(x) // 2
    return x[:n], x[n : 2 * n]


def contrastive_losses(network, values: Tensor, context: Tensor, mass_bin: Tensor, view: Tensor | None = None) -> dict[str, Tensor]:
    """Every term of the loss of one mini-batch, unweighted.

    Parameters
    ----------
    network : PhotometryNetwork or ImageNetwork
    values : tensor (n, n_value) or (n, n_band, n_pix, n_pix)
        Standardised magnitudes, or images; n is even.
    context : tensor (n, n_context)
        Standardised errors and scalars.
    mass_bin : tensor (n,) of int64
        Index of the mass bin.
    view : tensor like `values`, optional
        The same galaxies in another orientation.

    Returns
    -------
    dict
        ``cross_entropy`` [nat, sum of both passes], ``reconstruction`` (sum of the passes and the view, mean
        squared error against the original), ``latent_contrast``, ``output_contrast`` (mean over the pairs pass 1 -
        pass 2 and view 1 - view 2). On several devices, of the share of this one, except the latent contrast, which is that of the
        whole mini-batch: the mean over devices of every gradient is that of the whole.
    """
    first = run_pass(network, values, context)
    second = run_pass(network, first.reconstruction, context)
    originals, passes = [values, values], [first, second]
    if view is not None:
        originals, passes = [*originals, view], [*passes, run_pass(network, view, context)]
    positive = torch.stack([rms_distance(first.main, other.main) for other in passes[1:]]).mean()
    negative = torch.stack([rms_distance(*halves(p.main)) for p in passes]).mean()
    return {
        "cross_entropy": nll_loss(first.log_probability, mass_bin) + nll_loss(second.log_probability, mass_bin),
        "reconstruction": sum(mse_loss(p.reconstruction, original) for p, original in zip(passes, originals, strict=True)),
        "latent_contrast": latent_contrast(devices.averaged(positive), devices.averaged(negative)),
        "output_contrast": torch.stack([output_contrast(first.log_probability, other.log_probability) for other in passes[1:]]).mean(),
    }
