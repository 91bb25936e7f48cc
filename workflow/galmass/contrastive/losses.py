"""Losses of the supervised contrastive model (Zhang et al. 2025, arXiv 2509.23901; CLAP, arXiv 2410.19390).

A mini-batch is two halves of equal size: galaxy i of the first half and galaxy i of the second are a
random pair of different galaxies. Every galaxy passes the network twice: as it is (pass 1) and as its
own reconstruction (pass 2, "cycle"); errors and scalars are fed unchanged in both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, mse_loss, softplus


@dataclass(frozen=True)
class Pass:
    """What one pass of a mini-batch gives: main latent (n, n_main), logits (n, n_bin), reconstruction."""

    main: Tensor
    logits: Tensor
    reconstruction: Tensor


def run_pass(network, values: Tensor, context: Tensor) -> Pass:
    """One pass of a mini-batch through encoder, estimator and decoder."""
    main, extra = network.encode(values, context)
    return Pass(main, network.estimate(main), network.decode(main, extra))


def rms_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the mini-batch of the root-mean-square difference of latents (n, n_main): a scalar."""
    # the gradient of a square root at zero is infinite: identical latents occur in tests and in collapse
    return ((a - b).square().mean(-1) + 1e-12).sqrt().mean()


def latent_contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """-ln[p / (p + n)] with p = exp(-positive), n = exp(-negative), both mean RMS distances."""
    return softplus(positive - negative)


def output_contrast(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Symmetric cross-entropy [nat] of two densities of the same galaxies; each target is detached."""
    log_a, log_b = log_softmax(logits_a, -1), log_softmax(logits_b, -1)
    towards_a = -(log_a.detach().exp() * log_b).sum(-1).mean()
    towards_b = -(log_b.detach().exp() * log_a).sum(-1).mean()
    return towards_a + towards_b


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two members of every pair."""
    n = len(x) // 2
    return x[:n], x[n : 2 * n]


def contrastive_losses(network, values: Tensor, context: Tensor, mass_bin: Tensor) -> dict[str, Tensor]:
    """Every term of the loss of one mini-batch, unweighted.

    Parameters
    ----------
    network : PhotometryNetwork
    values : tensor (n, n_value)
        Standardised magnitudes; n is even.
    context : tensor (n, n_context)
        Standardised errors and scalars.
    mass_bin : tensor (n,) of int64
        Index of the mass bin.

    Returns
    -------
    dict
        ``cross_entropy`` [nat, sum of both passes], ``reconstruction`` (sum of both passes, mean
        squared error against the original), ``latent_contrast``, ``output_contrast``.
    """
    first = run_pass(network, values, context)
    second = run_pass(network, first.reconstruction, context)
    positive = rms_distance(first.main, second.main)
    negative = torch.stack([rms_distance(*halves(p.main)) for p in (first, second)]).mean()
    return {
        "cross_entropy": cross_entropy(first.logits, mass_bin) + cross_entropy(second.logits, mass_bin),
        "reconstruction": mse_loss(first.reconstruction, values) + mse_loss(second.reconstruction, values),
        "latent_contrast": latent_contrast(positive, negative),
        "output_contrast": output_contrast(first.logits, second.logits),
    }
