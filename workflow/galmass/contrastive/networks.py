"""Encoder, decoder and estimator of the supervised contrastive model for photometry.

A galaxy is given as ``values`` (magnitudes, which the decoder gives back) and ``context`` (errors and
scalars, which are fed unchanged in every pass). The encoder maps both to a latent vector with a
``main`` part, which alone feeds the estimator of the mass, and an ``extra`` part, which holds what the
decoder needs besides.
"""

import torch
from torch import Tensor, nn

PAPER_WIDTH, PAPER_DEPTH = 128, 20
CUMULATIVE = {"logistic": torch.sigmoid, "normal": torch.special.ndtr}  # distribution functions of a component


class ResidualBlock(nn.Module):
    """Pre-norm residual block of two linear layers; starts as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(nn.functional.gelu(self.inner(self.norm(x))))


def residual_stack(n_in: int, n_out: int, width: int, depth: int) -> nn.Sequential:
    """Linear map to `width`, `depth` residual blocks, linear map to `n_out`."""
    blocks = [ResidualBlock(width) for _ in range(depth)]
    return nn.Sequential(nn.Linear(n_in, width), *blocks, nn.LayerNorm(width), nn.Linear(width, n_out))


def plain_stack(n_in: int, n_out: int) -> nn.Sequential:
    """The paper's twenty fully connected leaky-ReLU layers of 128 and a linear output."""
    layers: list[nn.Module] = []
    for i in range(PAPER_DEPTH):
        layers += [nn.Linear(n_in if i == 0 else PAPER_WIDTH, PAPER_WIDTH), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Linear(PAPER_WIDTH, n_out))


class MixtureEstimator(nn.Module):
    """Log-probability of the mass bins from a mixture of logistic densities, integrated over each bin.

    A few smooth components instead of one free logit per bin: bins of any width cost no parameters, so
    that a scatter of 0.01 dex and one of 0.3 dex are both resolved and six thousand galaxies are enough.
    The logistic has a closed distribution function and the wings that residuals of photometry have. A
    share `FLOOR` is spread evenly over the bins: no galaxy, however odd, costs infinite nats.
    """

    FLOOR = 1e-4

    def __init__(self, n_in: int, edges: Tensor, width: int, n_component: int, component: str = "logistic"):
        super().__init__()
        self.cumulative = CUMULATIVE[component]
        self.hidden = nn.Sequential(nn.Linear(n_in, width), nn.GELU())
        self.parameters_of = nn.Linear(width, 3 * n_component)
        self.register_buffer("edges", edges - edges.mean())
        # all components start in the middle, from narrow to wide
        nn.init.normal_(self.parameters_of.weight, std=0.02)
        with torch.no_grad():
            self.parameters_of.bias[: 2 * n_component] = 0.0
            self.parameters_of.bias[2 * n_component :] = torch.linspace(-4.0, -1.0, n_component)

    def forward(self, main: Tensor) -> Tensor:
        """Log-probability of every bin up to a constant, (n, n_bin)."""
        probability = self._cumulative(main, self.edges).diff(dim=-1)
        n_bin = probability.shape[-1]
        return (probability.clamp_min(0.0) * (1 - self.FLOOR) + self.FLOOR / n_bin).log()

    def log_probability(self, main: Tensor, mass_bin: Tensor) -> Tensor:
        """Of one bin of each galaxy, (n,), normalised: a training by cross-entropy needs no other, and the others are most of the work."""
        ends = torch.zeros_like(mass_bin)
        at = self.edges[torch.stack([ends, mass_bin, mass_bin + 1, ends - 1], -1)]
        first, low, high, last = self._cumulative(main, at[..., None, :]).unbind(-1)
        share = self.FLOOR / (len(self.edges) - 1)
        return ((high - low).clamp_min(0.0) * (1 - self.FLOOR) + share).log() - ((last - first) * (1 - self.FLOOR) + self.FLOOR).log()

    def _cumulative(self, main: Tensor, at: Tensor) -> Tensor:
        """Distribution function of the mixture at masses (n_at,), or (n, 1, n_at): (n, n_at)."""
        weight, mean, log_scale = self.parameters_of(self.hidden(main)).chunk(3, dim=-1)
        # e^-7 = 0.0009 dex: far below any bin, and no division by zero
        precision = (-log_scale.clamp(-7.0, 3.0)).exp()[..., None]
        return (weight.softmax(-1)[..., None, :] @ self.cumulative((at - mean[..., None]) * precision)).squeeze(-2)


class PhotometryNetwork(nn.Module):
    """Encoder, decoder and estimator for magnitudes, errors and scalars.

    Parameters
    ----------
    kind : 'paper' or 'compact'
        'paper': 20 fully connected layers of 128, decoder the mirror image, estimator
        main -> 128 -> bins (Zhang et al. 2025, arXiv 2509.23901); 'compact': residual blocks with
        layer norm and a mixture estimator, which trains in seconds on a CPU.
    n_value, n_context : int
        Number of magnitudes, and of errors and scalars.
    edges : tensor (n_bin + 1,)
        Edges of the mass bins [log10 M_sun].
    """

    def __init__(self, kind: str, n_value: int, n_context: int, edges: Tensor, options: dict):
        super().__init__()
        n_main, n_extra = options["main_latent"], options["extra_latent"]
        self.n_main, n_bin = n_main, len(edges) - 1
        if kind == "paper":
            self.encoder = plain_stack(n_value + n_context, n_main + n_extra)
            self.decoder = plain_stack(n_main + n_extra, n_value)
            self.estimator = nn.Sequential(nn.Linear(n_main, PAPER_WIDTH), nn.LeakyReLU(), nn.Linear(PAPER_WIDTH, n_bin))
        elif kind == "compact":
            width, depth = options["width"], options["depth"]
            self.encoder = residual_stack(n_value + n_context, n_main + n_extra, width, depth)
            self.decoder = residual_stack(n_main + n_extra, n_value, width, depth)
            self.estimator = MixtureEstimator(n_main, edges, width, options["components"], options.get("component", "logistic"))
        else:
            raise ValueError(f"network {kind!r} is unknown; known: paper, compact")

    def encode(self, values: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, n_main) and (n, n_extra) of galaxies (n, n_value), (n, n_context)."""
        latent = self.encoder(torch.cat([values, context], -1))
        return latent[:, : self.n_main], latent[:, self.n_main :]

    def decode(self, main: Tensor, extra: Tensor) -> Tensor:
        """Reconstructed values (n, n_value)."""
        return self.decoder(torch.cat([main, extra], -1))

    def estimate(self, main: Tensor) -> Tensor:
        """Log-probability of each mass bin up to a constant, (n, n_bin)."""
        return self.estimator(main)
