"""One interface to both ways of turning a Nuker profile into Gaussians."""

import copy
import warnings
from functools import lru_cache

import torch

from galmass.deprojection import direct, models
from galmass.deprojection.basis import Basis
from galmass.errors import InputError
from galmass.profiles import nuker

METHODS = ("surrogate", "direct")
CHUNK = 512  # profiles at a time: what a core keeps in its cache
UNITS = {"alpha": "", "gamma": "", "beta_minus_gamma": "", "r_break": " pc"}


class Deprojection:
    """Nuker parameters -> amplitudes of fixed Gaussians per unit Sigma_b.

    Parameters
    ----------
    basis : Basis
    box : mapping of name -> pair
        Ranges that are answered.
    solve : callable
        (alpha, beta, gamma, r_break), tensors (n, 1) -> amplitudes (n, n_gauss); differentiable.
    extrapolate : {"error", "clamp"}
        What happens outside the box: refuse, or take the nearest parameters inside and warn with the count.

    Attributes
    ----------
    sigma : (n_gauss,) float64 tensor
        Dispersions [pc] along the projected major axis: the core first, then the wings.
    n_core : int
        Gaussians of the core, 64.
    """

    def __init__(self, basis: Basis, box, solve, extrapolate: str = "error"):
        self.basis, self.box, self.extrapolate, self._solve = basis, box, extrapolate, solve
        self.sigma, self.n_core = torch.from_numpy(basis.sigma), basis.n_core

    def __call__(self, alpha, beta, gamma, r_break):
        """Observed peak surface densities (..., n_gauss) per unit Sigma_b; parameters of any shapes that broadcast, r_break [pc].

        Raises
        ------
        InputError
            For NaN, beta <= gamma, or parameters outside the box (unless clamped).
        """
        parameters = nuker.of_one_kind(alpha, beta, gamma, r_break)
        parameters = torch.broadcast_tensors(*(torch.as_tensor(p) for p in parameters))
        nuker.check(*parameters)
        shape = parameters[0].shape
        inside = self._inside(*(p.reshape(-1, 1) for p in parameters))
        return self.amplitudes(*inside).reshape(*shape, len(self.sigma))

    def amplitudes(self, alpha, beta, gamma, r_break):
        """The same for tensors (n, 1) that are inside the box, without checks: for likelihoods and ``torch.func``."""
        if len(alpha) <= CHUNK:
            return self._solve(alpha, beta, gamma, r_break)
        chunks = zip(*(p.split(CHUNK) for p in (alpha, beta, gamma, r_break)), strict=True)
        return torch.cat([self._solve(*chunk) for chunk in chunks])

    def _inside(self, alpha, beta, gamma, r_break):
        values = {"alpha": alpha, "gamma": gamma, "beta_minus_gamma": beta - gamma, "r_break": r_break}
        outside = torch.zeros_like(alpha, dtype=torch.bool)
        for name, value in values.items():
            low, high = self.box[name]
            margin = 1e-5 * (high - low) if value.dtype == torch.float64 else 1e-5 * high  # beta - gamma rounds
            beyond = (value < low - margin) | (value > high + margin)
            if self.extrapolate == "error" and bool(beyond.any()):
                raise InputError(
                    f"{name} is {float(value[beyond][0]):g}{UNITS[name]}, outside the box of the deprojection, {low:g} to {high:g}{UNITS[name]}; "
                    "narrow the prior, or set deprojection.extrapolate: clamp to take the nearest profile inside"
                )
            outside |= beyond
            values[name] = value.clamp(low, high) if self.extrapolate == "clamp" else value
        if bool(outside.any()):
            warnings.warn(f"{int(outside.sum())} of {len(alpha)} Nuker profiles lie outside the box and were moved to its edge", stacklevel=3)
        return values["alpha"], values["gamma"] + values["beta_minus_gamma"], values["gamma"], values["r_break"]


def load(path=None, method: str = "surrogate", extrapolate: str = "error") -> Deprojection:
    """A deprojection by the committed weights (`path` None), by weights that `train_deprojection` wrote, or by exact least squares.

    Parameters
    ----------
    path : path, optional
        Weights; `direct` takes none.
    method : {"surrogate", "direct"}
        A network (float32 or float64, 5 us a profile in batches), or the exact solution (float64 inside, 100 us in batches).
    extrapolate : {"error", "clamp"}

    Raises
    ------
    InputError
        For a method or file that is none, or weights of another version.
    """
    if method not in METHODS:
        raise InputError(f"deprojection.method is {method!r}; it is one of {', '.join(METHODS)}")
    if extrapolate not in ("error", "clamp"):
        raise InputError(f"deprojection.extrapolate is {extrapolate!r}; it is error or clamp")
    if method == "direct":
        if path is not None:
            raise InputError(f"deprojection.method direct takes no weights, but {path} is given")
        basis = Basis()
        return Deprojection(basis, models.BOX, lambda *parameters: direct.solve(basis, *parameters), extrapolate)
    module, header = models.load(models.COMMITTED if path is None else path)

    @lru_cache
    def network(dtype, device):
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"Nuker parameters are {dtype}; float32 or float64 is needed")
        with torch.inference_mode(False):
            return copy.deepcopy(module).to(dtype=dtype, device=device)

    return Deprojection(module.basis, header["box"], lambda *p: network(p[0].dtype, p[0].device)(*p), extrapolate)
