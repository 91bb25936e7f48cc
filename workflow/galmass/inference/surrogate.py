"""The expansion of ln L to second order in a summary of the parameters.

The data see the parameters through a summary s(z) alone, cheap and exact (here the rotation curve and the geometry of the disc):

    ln L~(s) = ln L0 + g.(s - s0) - (s - s0)^T H (s - s0) / 2,    ln p~(z) = ln prior(z) + ln L~(s(z)).
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from galmass.inference import fisher

CHUNK = 512  # points at a time: a summary may need a megabyte for each


class Problem(Protocol):
    """What the samplers ask of a fit; all tensors float64 on one device, z of d unconstrained coordinates, their priors about 2 wide."""

    names: tuple[str, ...]  # (d,)
    bent: list[int]  # places of the coordinates that the summary is far from linear in, or that the data may leave to the prior
    direct: tuple[list[int], list[int]]  # places in z and in the summary of coordinates that pass into it one by one; perhaps none

    # A problem may also have `periodic`, a list of places of angles whose z and z + 2 pi are the same place, and `reported(z)`, (..., d) -> (..., d):
    # what is told of draws, and what has to converge; without it that is z.

    def straight(self, bent):
        """Map of the coordinates `bent` to those in which to propose them: see `straight`."""

    def log_prior(self, z):
        """(..., d) -> (...): log density in z, differentiable, batched."""

    def log_likelihood(self, z):
        """(d,) -> (): the expensive truth, differentiable; -inf or NaN where there is none."""

    def log_density(self, z):
        """(d,) -> (): `log_prior` + `log_likelihood`."""

    def curvature(self, z):
        """(d,) -> (d, d): Fisher information of the data plus curvature of the prior, positive definite (`fisher.posterior_curvature`)."""

    def unit(self, z):
        """(..., d) -> what of the summary costs most and depends on the bent coordinates alone; None where there is no such thing."""

    def summary(self, z, unit=None):
        """(..., d) -> (..., m): cheap, exact, differentiable, batched; `unit` of (n, ...) as of points (..., n, d) with the same bent coordinates."""

    def predict_at_summary(self, s):
        """(m,) -> (n_data,): the model of all data, real and imaginary parts one after the other."""

    def likelihood_at_summary(self, s):
        """(m,) -> (): ``log_likelihood(z) == likelihood_at_summary(summary(z))``."""

    def score_and_weights(self, prediction):
        """(n_data,) -> (n_data,), (n_data,): d ln L / d prediction, and the expected information of each datum."""


@dataclass(frozen=True)
class Surrogate:
    """ln L to second order about a summary."""

    centre: torch.Tensor  # (m,)
    log_likelihood: torch.Tensor  # () at the centre
    gradient: torch.Tensor  # (m,)
    information: torch.Tensor  # (m, m)

    def __call__(self, s):
        """ln L~ (...) at summaries (..., m)."""
        offset = s - self.centre
        return self.log_likelihood + offset @ self.gradient - 0.5 * ((offset @ self.information) * offset).sum(-1)


def expand(problem: Problem, centre, step=None) -> tuple[Surrogate, torch.Tensor]:
    """Surrogate about the summary `centre` (m,), and the steps (m,) of its differences; 2 to 4 m predictions."""
    with torch.no_grad():
        score, weights = (v.double() for v in problem.score_and_weights(problem.predict_at_summary(centre)))
        value = problem.likelihood_at_summary(centre).double()
    jacobian, step = fisher.summary_jacobian(problem, centre, weights, step)
    return Surrogate(centre, value, jacobian.mT @ score, fisher.information(jacobian, weights)), step
