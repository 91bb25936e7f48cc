"""What the mean of a uv cell may differ from the model by: Student's t from its scatter, a Gaussian from its weights, or the paper's.

A cell mean over its own estimated standard error follows Student's t with the degrees of freedom of `galmass.visibilities.gridding`. Cells that
are too thin for an estimate carry the error that the weights promise, and a Gaussian. Yantovski-Barth et al. 2025 take a Gaussian of twice the
estimated error, which is about right near nu = 3.5 only.

A wide gridding kernel correlates neighbouring cells. They are taken as independent all the same, with errors that are larger by the root of
`galmass.visibilities.gridding.information_factor`: what is smooth over a few cells then has the variance that it should.
"""

import math

import numpy as np
import torch

from galmass.errors import InputError

KINDS = ("student_t", "gaussian", "gaussian_x2")


class Noise:
    """Log density of data about a model, and its derivatives with respect to the model.

    Parameters
    ----------
    data, std : (n_data,) float64 tensor
        Measured values and their standard errors [Jy].
    nu : (n_data,) float64 tensor
        Degrees of freedom, above 2; infinity where the error is known.
    information_factor : float
        Data for each independent one, 1 or more; `std` is larger by its root than the errors of single data.
    """

    def __init__(self, data, std, nu, information_factor: float = 1.0):
        self.data, self.std, self.information_factor = data, std, information_factor
        self.known = torch.isinf(nu)
        self.nu = torch.where(self.known, torch.ones_like(nu), nu)
        self.constant = float(self._constants().sum())

    @property
    def n_independent(self) -> float:
        """Number of independent data: what the chi^2 of a true model adds up to."""
        return len(self.data) / self.information_factor

    def _constants(self):
        gaussian = torch.full_like(self.nu, -0.5 * math.log(2 * math.pi))
        student = torch.lgamma((self.nu + 1) / 2) - torch.lgamma(self.nu / 2) - 0.5 * torch.log(math.pi * self.nu)
        return torch.where(self.known, gaussian, student) - torch.log(self.std)

    def log_density(self, model):
        """Scalar, float64, for `model` (n_data,)."""
        square = ((self.data - model) / self.std) ** 2
        student = -0.5 * (self.nu + 1) * torch.log1p(square / self.nu)
        return torch.where(self.known, -0.5 * square, student).sum() + self.constant

    def score_and_weights(self, model):
        """Derivative of the log density by the model, and expected information, (n_data,) each [1/Jy, 1/Jy^2].

        The information of Student's t is (nu + 1) / ((nu + 3) std^2) (Lange, Little & Taylor 1989, appendix).
        """
        residual = self.data - model
        student = (self.nu + 1) / (self.nu * self.std**2 + residual**2)
        information = torch.where(self.known, torch.ones_like(self.nu), (self.nu + 1) / (self.nu + 3)) / self.std**2
        return residual * torch.where(self.known, 1 / self.std**2, student), information

    def replicate(self, model, rng):
        """Noise of the same kind about `model` instead of the data, by a numpy Generator: what a repeated observation would show."""
        draws = np.where(self.known, rng.standard_normal(len(self.data)), rng.standard_t(self.nu.numpy()))
        return Noise(model + self.std * torch.from_numpy(draws), self.std, torch.where(self.known, math.inf, self.nu), self.information_factor)

    def chi_squared(self, model):
        """Contribution of every datum, (n_data,), to chi^2, scaled to an expectation of 1 under the noise it was declared with.

        That of correlated data is 1 / information_factor.
        """
        square = ((self.data - model) / self.std) ** 2
        return torch.where(self.known, square, square * (self.nu - 2) / self.nu)


def of_cells(kind: str, mean, std, propagated, nu, real_only, information_factor: float = 1.0) -> tuple[Noise, torch.Tensor]:
    """Noise of uv cells, and which of the numbers Re, Im, Re, Im ... of the cells it speaks of.

    Parameters
    ----------
    kind : {"student_t", "gaussian", "gaussian_x2"}
    mean, std : (n_cell,) complex128 arrays
        Means, and the standard errors of their real and imaginary parts [Jy].
    propagated : (n_cell,) array
        Standard error of either part that the weights promise [Jy].
    nu : (n_cell,) array
        Degrees of freedom of `std`, infinite where it is by the weights; of student_t.
    real_only : (n_cell,) bool array
        Cells whose imaginary part says nothing: they are their own partners.
    information_factor : float
        Of `galmass.visibilities.gridding.information_factor`: numbers for each independent one, above 1 where a wide kernel correlates
        neighbours. Errors grow by its root.

    Raises
    ------
    InputError
        For an unknown kind, a factor below 1, or student_t where the degrees of freedom are not known.
    """
    if kind not in KINDS:
        raise InputError(f"config: fitting.likelihood is '{kind}'; known: {', '.join(KINDS)}")
    if not 1 <= information_factor < math.inf:
        raise InputError(f"grid: information_factor is {information_factor}; no kernel makes more independent numbers than there are: 1 or more is meant")
    nu = torch.as_tensor(nu, dtype=torch.float64)
    if kind == "student_t" and bool(torch.isnan(nu).any()):
        raise InputError("config: fitting.likelihood is student_t, and these visibilities came gridded without counts; set it to gaussian")
    data, errors = (torch.view_as_real(torch.as_tensor(v, dtype=torch.complex128)) for v in (mean, std))
    if kind == "gaussian":
        errors = torch.as_tensor(propagated, dtype=torch.float64)[:, None].expand(-1, 2)
    elif kind == "gaussian_x2":
        errors = 2 * errors
    errors = errors * math.sqrt(information_factor)
    nu = (nu if kind == "student_t" else torch.full_like(nu, math.inf))[:, None].expand(-1, 2)
    used = torch.ones_like(data, dtype=torch.bool)
    used[torch.as_tensor(real_only), 1] = False
    used = used.reshape(-1)
    return Noise(*(v.reshape(-1)[used].contiguous() for v in (data, errors, nu)), information_factor), used
