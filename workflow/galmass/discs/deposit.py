"""Flux of points with Gaussian lines, integrated over channels: a compiled kernel with its adjoint and its tangent, and plain torch.

A point of weight w at x (here and below a velocity that ascends with the channel) leaves ``w [Phi((e_{c+1} - x) / s) - Phi((e_c - x) / s)] / (e_{c+1} - e_c)``
in channel c. What falls below the first or above the last edge is dropped. The kernel takes Phi as 0 and 1 beyond CUT; its adjoint
computes everything anew and keeps nothing but its arguments.
"""

import math

import torch
from numba import njit
from torch.autograd.function import once_differentiable

CUT = 5.5  # dispersions; 2e-8 of the flux lies beyond on either side
SQRT_HALF = math.sqrt(0.5)
PER_SQRT_TWO_PI = 1 / math.sqrt(2 * math.pi)


def deposit(x, weight, sigma, pixel, edges, n_pixels: int, compiled: bool):
    """Cube (n_chan, n_pixels), averages over channels.

    Parameters
    ----------
    x, weight : (n_points,) tensor
        Centre of each line [km/s], and its flux.
    sigma : (n_points,) tensor
        Dispersion of each line [km/s].
    pixel : (n_points,) int64 tensor
        Where each goes; equal ones in a row are cheaper.
    edges : (n_chan + 1,) tensor
        Ascending [km/s].
    compiled : bool
        By the kernel (CPU; backward and forward mode, no vmap) or by torch (any device, ``torch.func`` on it, n_points (n_chan + 1) numbers at a time).
    """
    if compiled:
        return _Deposit.apply(x, weight, sigma, pixel, edges, n_pixels)
    cumulative = torch.special.ndtr((edges - x[:, None]) / sigma[:, None])
    flux = weight[:, None] * cumulative.diff(dim=1) / edges.diff()
    return torch.zeros((n_pixels, len(edges) - 1), dtype=x.dtype, device=x.device).index_add(0, pixel, flux).T


class _Deposit(torch.autograd.Function):
    """The kernel as torch sees it."""

    @staticmethod
    def forward(x, weight, sigma, pixel, edges, n_pixels):
        cube = torch.zeros((len(edges) - 1, n_pixels), dtype=x.dtype)
        _spread(*_arrays(x, weight, sigma, pixel, edges, 1 / edges.diff(), cube))
        return cube

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:5])
        ctx.save_for_forward(*inputs[:5])
        ctx.n_pixels = inputs[5]

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, weight, sigma, pixel, edges = ctx.saved_tensors
        results = [torch.empty_like(v) for v in (x, weight, sigma)]
        _gather(*_arrays(x, weight, sigma, pixel, edges, 1 / edges.diff(), gradient), *(v.numpy() for v in results))
        return *results, None, None, None

    @staticmethod
    def jvp(ctx, x_t, weight_t, sigma_t, *_):
        x, weight, sigma, pixel, edges = ctx.saved_tensors
        cube = torch.zeros((len(edges) - 1, ctx.n_pixels), dtype=x.dtype)
        tangents = [torch.zeros_like(v) if t is None else t for v, t in ((x, x_t), (weight, weight_t), (sigma, sigma_t))]
        _push(*_arrays(x, weight, sigma, *tangents, pixel, edges, 1 / edges.diff(), cube))
        return cube


def _arrays(*tensors):
    return [t.detach().contiguous().numpy() for t in tensors]


@njit(nogil=True, cache=True, inline="always")
def _first_edge(edges, lowest):
    """Index of the first edge above `lowest`, len(edges) for none: a guess that is right for equal channels, corrected for others."""
    last = edges.size - 1
    if not lowest >= edges[0]:  # or not a number
        return 0
    if lowest >= edges[last]:
        return last + 1
    k = min(int((lowest - edges[0]) / (edges[last] - edges[0]) * last) + 1, last)
    while edges[k - 1] > lowest:
        k -= 1
    while edges[k] <= lowest:
        k += 1
    return k


@njit(nogil=True, cache=True, fastmath={"contract"})
def _spread(x, weight, sigma, pixel, edges, per_width, cube):
    """Add all points to `cube`, one row of channels of a pixel at a time."""
    n_chan, cut, root = edges.size - 1, x.dtype.type(CUT), x.dtype.type(SQRT_HALF)
    half, row = x.dtype.type(0.5), x.dtype.type(0) * edges
    first, last = n_chan, 0
    for i in range(x.size):
        reach, scale = cut * sigma[i], root / sigma[i]
        k = _first_edge(edges, x[i] - reach)
        first, below = min(first, max(k - 1, 0)), x.dtype.type(0)
        while k <= n_chan and edges[k] < x[i] + reach:
            above = half + half * math.erf((edges[k] - x[i]) * scale)
            if k > 0:
                row[k - 1] += weight[i] * (above - below)
            below = above
            k += 1
        if 0 < k <= n_chan:
            row[k - 1] += weight[i] * (1 - below)
        last = max(last, min(k, n_chan))
        if i + 1 == x.size or pixel[i + 1] != pixel[i]:
            for c in range(first, last):
                cube[c, pixel[i]] += row[c] * per_width[c]
                row[c] = 0
            first, last = n_chan, 0


@njit(nogil=True, cache=True, fastmath={"contract"})
def _gather(x, weight, sigma, pixel, edges, per_width, gradient, of_x, of_weight, of_sigma):
    """The adjoint of `_spread`."""
    n_chan, cut, root, per_root = edges.size - 1, x.dtype.type(CUT), x.dtype.type(SQRT_HALF), x.dtype.type(PER_SQRT_TWO_PI)
    half, row = x.dtype.type(0.5), x.dtype.type(0) * edges  # row: of what an edge takes from the channel above and gives to that below
    above = x.dtype.type(0) * edges
    for i in range(x.size):
        if i == 0 or pixel[i] != pixel[i - 1]:
            below = x.dtype.type(0)
            for c in range(n_chan):
                above[c] = gradient[c, pixel[i]] * per_width[c]
                row[c] = below - above[c]
                below = above[c]
            row[n_chan] = below
        reach, scale, density = cut * sigma[i], root / sigma[i], per_root / sigma[i]
        k = _first_edge(edges, x[i] - reach)
        flux, shift, stretch = x.dtype.type(0), x.dtype.type(0), x.dtype.type(0)
        while k <= n_chan and edges[k] < x[i] + reach:
            z = (edges[k] - x[i]) * scale
            slope = density * math.exp(-z * z) * row[k]
            flux += (half + half * math.erf(z)) * row[k]
            shift -= slope
            stretch -= slope * z
            k += 1
        if 0 < k <= n_chan:
            flux += above[k - 1]
        of_weight[i], of_x[i], of_sigma[i] = flux, weight[i] * shift, weight[i] * stretch / root


@njit(nogil=True, cache=True, fastmath={"contract"})
def _push(x, weight, sigma, x_t, weight_t, sigma_t, pixel, edges, per_width, cube):
    """The tangent of `_spread` for changes `x_t`, `weight_t`, `sigma_t`."""
    n_chan, cut, root, per_root = edges.size - 1, x.dtype.type(CUT), x.dtype.type(SQRT_HALF), x.dtype.type(PER_SQRT_TWO_PI)
    half = x.dtype.type(0.5)
    for i in range(x.size):
        reach, scale, density, widening = cut * sigma[i], root / sigma[i], per_root / sigma[i], sigma_t[i] / root
        k = _first_edge(edges, x[i] - reach)
        below = x.dtype.type(0)
        while k <= n_chan and edges[k] < x[i] + reach:
            z = (edges[k] - x[i]) * scale
            above = weight_t[i] * (half + half * math.erf(z)) - weight[i] * density * math.exp(-z * z) * (x_t[i] + z * widening)
            if k > 0:
                cube[k - 1, pixel[i]] += (above - below) * per_width[k - 1]
            below = above
            k += 1
        if 0 < k <= n_chan:
            cube[k - 1, pixel[i]] += (weight_t[i] - below) * per_width[k - 1]
