"""Fisher information of a fit, from Jacobians by central differences."""

import torch

FIRST_STEP = 1e-3  # of a summary, relative to 1 + |s|: only a guess of its size
WANTED = 0.5  # step in standard errors: small against the width of the posterior, large against the rounding of float32
TOLERATED = (0.1, 1.0)  # steps between these need no second try
MOST = 100.0  # growth of a first step at most: the data may say nothing about this summary
DIFFERENCE = 1e-4  # of unconstrained coordinates, whose priors are about 1 wide: float64 leaves 1e-8 of a derivative


def central_jacobian(function, x, step):
    """Derivatives (n_out, n_in) of `function` ((n_in,) -> (n_out,)) at `x` by central differences of `step` (n_in,), without gradients."""
    with torch.no_grad():
        columns = [(function(x + shift) - function(x - shift)).double() / (2 * h) for shift, h in zip(torch.diag(step), step, strict=True)]
    return torch.stack(columns, dim=-1)


def information(jacobian, weights):
    """``J^T W J``: Fisher matrix (n, n) of a Jacobian (n_data, n) and the expected information `weights` (n_data,) of each datum."""
    return jacobian.mT @ (weights[:, None] * jacobian)


def summary_jacobian(problem, centre, weights, step=None):
    """Jacobian of the data with respect to the summary, each step about half a standard error.

    Parameters
    ----------
    problem : galmass.inference.surrogate.Problem
    centre : (m,) tensor
        Summary at which to expand.
    weights : (n_data,) tensor
        Expected information of each datum.
    step : (m,) tensor, optional
        First guess. Where it is far from half a standard error the column is taken again: 2 m predictions at best, 4 m at worst.

    Returns
    -------
    (n_data, m) tensor, (m,) tensor
        Jacobian, and the steps used.
    """
    step = FIRST_STEP * (1 + centre.abs()) if step is None else step
    jacobian = central_jacobian(problem.predict_at_summary, centre, step)
    size = step * torch.sqrt((weights[:, None] * jacobian**2).sum(0))
    for i in torch.nonzero((size < TOLERATED[0]) | (size > TOLERATED[1]))[:, 0].tolist():
        step = step.clone()
        step[i] *= (WANTED / size[i]).clamp(max=MOST)
        jacobian[:, i] = _column(problem.predict_at_summary, centre, i, step[i])
    return jacobian, step


def _column(function, x, i, h):
    shift = torch.zeros_like(x)
    shift[i] = h
    with torch.no_grad():
        return (function(x + shift) - function(x - shift)).double() / (2 * h)


def gradients(function, z):
    """Derivatives (n, d) of a batched function ((n, d) -> (n,)), each row by itself."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(function(z).sum(), z)[0]


def summary_information(problem, centre, step=None):
    """Information (m, m) of the data about the summary at `centre` (m,), and the steps (m,) of its differences; arguments as of `summary_jacobian`."""
    with torch.no_grad():
        _, weights = problem.score_and_weights(problem.predict_at_summary(centre))
    jacobian, step = summary_jacobian(problem, centre, weights.double(), step)
    return information(jacobian, weights.double()), step


def summary_gradient(problem, z):
    """Jacobian (m, d) of the summary at `z` (d,)."""
    return summary_slopes(problem, z)[1]


def summary_slopes(problem, z):
    """Summary (m,) and its Jacobian (m, d) at `z` (d,), by central differences: one batch of summaries costs less than one pass backwards."""
    with torch.no_grad():
        middle, above, below = problem.summary(_neighbours(z)).tensor_split([1, 1 + len(z)])
    # beyond the edge of what can be: no slope
    return middle[0], torch.nan_to_num((above - below).mT / (2 * DIFFERENCE), 0.0, 0.0, 0.0)


def prior_curvature(problem, z):
    """Minus the Hessian (d, d) of the log prior at `z` (d,), made positive semi-definite."""
    return prior_slopes(problem, z)[1]


def prior_slopes(problem, z):
    """Gradient (d,) of the log prior at `z` (d,), and `prior_curvature`, by central differences of the gradient."""
    middle, above, below = gradients(problem.log_prior, _neighbours(z)).tensor_split([1, 1 + len(z)])
    hessian = torch.nan_to_num((above - below) / (2 * DIFFERENCE), 0.0, 0.0, 0.0)
    return middle[0], positive(-0.5 * (hessian + hessian.mT))


def _neighbours(z):
    """Points (1 + 2 d, d): `z` (d,), then one DIFFERENCE above it in each coordinate, then below."""
    shifts = DIFFERENCE * torch.eye(len(z), dtype=z.dtype)
    return torch.cat([z[None], z + shifts, z - shifts])


def positive(matrix, floor: float = 0.0):
    """The symmetric `matrix` with its eigenvalues no smaller than `floor`."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=floor)) @ vectors.mT


def likelihood_information(problem, z, summary_information):
    """Fisher matrix (d, d) in z of the information (m, m) about the summary, ``(ds/dz)^T H (ds/dz)``.

    H changes slowly where ds/dz does not: one H serves a whole descent, or a whole posterior.
    """
    slope = summary_gradient(problem, z)
    return slope.mT @ summary_information @ slope


def posterior_curvature(problem, z, summary_information, floor: float = 1e-6):
    """Curvature (d, d) of the log posterior at `z`: information of the data plus that of the prior, eigenvalues at least `floor`."""
    return positive(likelihood_information(problem, z, summary_information) + prior_curvature(problem, z), floor)


def curvature(problem, z):
    """The same at `z` (d,) with the information found there: 2 to 4 m predictions."""
    with torch.no_grad():
        centre = problem.summary(z)
    return posterior_curvature(problem, z, summary_information(problem, centre)[0])


def covariance_factor(curvature):
    """Lower triangle L (d, d) with ``L L^T`` the inverse of `curvature`."""
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(curvature)))
