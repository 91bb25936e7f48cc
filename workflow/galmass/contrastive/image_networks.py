"""Encoder, decoder and estimator of the supervised contrastive model for images.

As for photometry, a galaxy is given as ``values`` (here its images, which the decoder gives back) and
``context`` (magnitudes, errors and scalars, which are fed unchanged in every pass).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from galmass.contrastive.networks import MixtureEstimator, residual_stack
from galmass.contrastive.stamps import stretch, unstretch
from galmass.errors import InputError

N_KERNEL, N_INNER, N_SINGLE = 156, 101, 109  # of an Inception block: 156, int(0.65 x 156), int(0.7 x 156)
STEM = 96
PAPER_HIDDEN = 1024
CELLS = 8  # the compact network looks at 8 x 8 patches of the image
RINGS = (0.06, 0.12, 0.2, 0.3, 0.42, 0.5)  # outer radii of the compact network's apertures, in sides of the image
CLIP = 8.0  # standard deviations of the aperture fluxes, as for photometry


class InceptionBlock(nn.Module):
    """Four branches side by side: 1x1-5x5, 1x1-3x3, 1x1-average, 1x1; each convolution followed by a ReLU."""

    N_OUT = 2 * N_KERNEL + N_INNER + N_SINGLE

    def __init__(self, n_in: int):
        super().__init__()
        self.five = nn.Sequential(nn.Conv2d(n_in, N_INNER, 1), nn.ReLU(), nn.Conv2d(N_INNER, N_KERNEL, 5, padding=2), nn.ReLU())
        self.three = nn.Sequential(nn.Conv2d(n_in, N_INNER, 1), nn.ReLU(), nn.Conv2d(N_INNER, N_KERNEL, 3, padding=1), nn.ReLU())
        self.average = nn.Sequential(nn.Conv2d(n_in, N_INNER, 1), nn.ReLU(), nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False))
        self.single = nn.Sequential(nn.Conv2d(n_in, N_SINGLE, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.five(x), self.three(x), self.average(x), self.single(x)], 1)


def inject(n_context: int, n_out: int) -> nn.Linear | None:
    """Linear map of the scalars that is added to the first convolution; its bias would repeat the convolution's."""
    return nn.Linear(n_context, n_out, bias=False) if n_context else None


class InceptionEncoder(nn.Module):
    """The paper's image encoder, after Treyer et al. 2024 (A&A 682, A36): images and scalars -> latent.

    For 64 pixels: stem at 64 and 32, three Inception blocks at 32, two at 16, one at 8, valid convolutions
    8 -> 6 -> 4 -> 2, average pool of stride 1, 2 x 2 x 96 = 384 -> 1024 -> latent.
    """

    def __init__(self, n_band: int, n_pix: int, n_context: int, n_latent: int):
        super().__init__()
        side = n_pix // 8 - 6
        if n_pix % 8 or side < 1:
            raise InputError(f"network paper takes images of a multiple of 8 and at least 56 pixels, and images.n_pix is {n_pix}; use network compact")
        width = InceptionBlock.N_OUT
        self.first = nn.Conv2d(n_band, STEM, 5, padding=2)
        self.scalars = inject(n_context, STEM)
        self.stem = nn.Sequential(nn.ReLU(), nn.Conv2d(STEM, STEM, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2))
        self.large = nn.Sequential(InceptionBlock(STEM), InceptionBlock(width), InceptionBlock(width), nn.AvgPool2d(2))
        self.middle = nn.Sequential(InceptionBlock(width), InceptionBlock(width), nn.AvgPool2d(2))
        self.small = nn.Sequential(InceptionBlock(width), *valid_convolution(width), *valid_convolution(STEM), *valid_convolution(STEM))
        self.latent = nn.Sequential(nn.Linear(side**2 * STEM, PAPER_HIDDEN), nn.ReLU(), nn.Linear(PAPER_HIDDEN, n_latent))

    def forward(self, images: Tensor, context: Tensor) -> Tensor:
        x = self.first(images)
        if self.scalars is not None:
            x = x + self.scalars(context)[:, :, None, None]
        x = self.small(self.middle(self.large(self.stem(x))))
        # stride 1, same padding: the edge is repeated, so that the average is of what is there
        x = avg_pool2d(pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
        return self.latent(x.flatten(1))


def valid_convolution(n_in: int) -> tuple[nn.Module, ...]:
    """3x3 convolution to 96 without padding, and a ReLU."""
    return nn.Conv2d(n_in, STEM, 3), nn.ReLU()


class PaperDecoder(nn.Module):
    """Latent -> 1024 = 16 maps of 8 x 8, three times doubled (bilinear) and convolved twice (3x3, 32), -> images."""

    def __init__(self, n_latent: int, n_band: int, n_pix: int):
        super().__init__()
        self.cells = n_pix // 8
        self.start = nn.Sequential(nn.Linear(n_latent, 16 * self.cells**2), nn.ReLU())
        self.pairs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n_in, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()) for n_in in (16, 32, 32)
        )
        self.last = nn.Conv2d(32, n_band, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.start(latent).unflatten(1, (16, self.cells, self.cells))
        for pair in self.pairs:
            x = pair(interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        return self.last(x)


class Apertures(nn.Module):
    """Stretched fluxes in rings about the centre, whitened: photometry that a network need not learn.

    The rings are the same in all eight orientations. Whitening is fitted once, before training, and is stored
    with the weights.
    """

    def __init__(self, n_band: int, n_pix: int):
        super().__init__()
        self.register_buffer("rings", rings(n_pix))
        self.n_out = n_band * self.rings.shape[1]
        self.register_buffer("scale", torch.ones(n_band, 1, 1))
        self.register_buffer("mean", torch.zeros(self.n_out))
        self.register_buffer("whitening", torch.eye(self.n_out))

    def measure(self, images: Tensor) -> Tensor:
        """Stretched fluxes (n, n_band * n_ring), not whitened."""
        # e^20 is far above any galaxy: a reconstruction that runs away early in training must not overflow
        fluxes = unstretch((images * self.scale).clamp(-20.0, 20.0))
        return stretch(fluxes.flatten(2) @ self.rings).flatten(1)

    def fit(self, images: Tensor, scale: Tensor) -> None:
        """Whitening of these images, whose stretched pixels were divided by `scale` (n_band,).

        Directions with less than a thousandth of the largest variance are noise and are not blown up.
        """
        self.scale.copy_(scale[:, None, None])
        measured = self.measure(images).double()
        variance, axes = torch.linalg.eigh(torch.cov(measured.T).reshape(self.n_out, self.n_out))
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # the sign of an eigenvector is arbitrary
        self.mean.copy_(measured.mean(0))
        self.whitening.copy_(axes / variance.clamp_min(1e-3 * variance[-1]).clamp_min(1e-12).sqrt())

    def forward(self, images: Tensor) -> Tensor:
        return ((self.measure(images) - self.mean) @ self.whitening).clamp(-CLIP, CLIP)


def rings(n_pix: int) -> Tensor:
    """Which pixel lies in which ring, (n_pix^2, n_ring), 0 or 1; rings without a pixel are left out."""
    offset = (np.arange(n_pix) - (n_pix - 1) / 2) / n_pix
    radius = np.hypot(*np.meshgrid(offset, offset)).ravel()
    inside = np.digitize(radius, RINGS)
    chosen = [inside == i for i in range(len(RINGS)) if (inside == i).any()]
    return torch.from_numpy(np.stack(chosen, 1)).float()


class ResidualConvolution(nn.Module):
    """Two 3x3 convolutions after a norm over the channels of all cells; starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(nn.functional.gelu(self.inner(self.norm(x))))


class CompactEncoder(nn.Module):
    """A small encoder for a CPU: 8 x 8 patches -> residual convolutions, beside aperture fluxes and scalars -> latent."""

    def __init__(self, n_band: int, n_pix: int, n_context: int, n_latent: int, options: dict):
        super().__init__()
        channels, width, depth = options["channels"], options["width"], options["depth"]
        check_cells(n_pix)
        self.apertures = Apertures(n_band, n_pix)
        self.patches = nn.Conv2d(n_band, channels, n_pix // CELLS, stride=n_pix // CELLS)
        self.scalars = inject(n_context, channels)
        self.blocks = nn.Sequential(nn.GELU(), *(ResidualConvolution(channels) for _ in range(depth)))
        self.flat = nn.Linear(CELLS**2 * channels, width)
        self.latent = residual_stack(width + self.apertures.n_out + n_context, n_latent, width, depth)

    def forward(self, images: Tensor, context: Tensor) -> Tensor:
        x = self.patches(images)
        if self.scalars is not None:
            x = x + self.scalars(context)[:, :, None, None]
        x = self.flat(self.blocks(x).flatten(1))
        return self.latent(torch.cat([x, self.apertures(images), context], 1))


class CompactDecoder(nn.Module):
    """Latent -> 8 x 8 cells -> residual convolutions -> the pixels of each cell."""

    def __init__(self, n_latent: int, n_band: int, n_pix: int, options: dict):
        super().__init__()
        self.channels = options["channels"]
        self.start = nn.Sequential(nn.Linear(n_latent, options["width"]), nn.GELU(), nn.Linear(options["width"], CELLS**2 * self.channels))
        self.blocks = nn.Sequential(*(ResidualConvolution(self.channels) for _ in range(options["depth"])))
        self.pixels = nn.Sequential(nn.Conv2d(self.channels, n_band * (n_pix // CELLS) ** 2, 1), nn.PixelShuffle(n_pix // CELLS))

    def forward(self, latent: Tensor) -> Tensor:
        return self.pixels(self.blocks(self.start(latent).unflatten(1, (self.channels, CELLS, CELLS))))


def check_cells(n_pix: int) -> None:
    """Raise `InputError` where the compact network cannot divide the image into its patches."""
    if n_pix % CELLS:
        raise InputError(f"network compact takes images of a multiple of {CELLS} pixels, and images.n_pix is {n_pix}")


class ImageNetwork(nn.Module):
    """Encoder, decoder and estimator for images, with magnitudes, errors and scalars beside them.

    Parameters
    ----------
    kind : 'paper' or 'compact'
        'paper': the Inception network of Zhang et al. 2025 (arXiv 2509.23901): encoder 5.98 M, decoder 0.59 M,
        estimator 0.55 M parameters for five bands of 64 pixels, latents 16 + 512 and 520 bins; a GPU's work.
        'compact': a few thousand galaxies in a minute on a CPU.
    n_band, n_pix, n_context : int
    edges : tensor (n_bin + 1,)
        Edges of the mass bins [log10 M_sun].
    """

    def __init__(self, kind: str, n_band: int, n_pix: int, n_context: int, edges: Tensor, options: dict):
        super().__init__()
        n_main, n_latent, n_bin = options["main_latent"], options["main_latent"] + options["extra_latent"], len(edges) - 1
        self.n_main = n_main
        if kind == "paper":
            self.encoder = InceptionEncoder(n_band, n_pix, n_context, n_latent)
            self.decoder = PaperDecoder(n_latent, n_band, n_pix)
            self.estimator = nn.Sequential(nn.Linear(n_main, PAPER_HIDDEN), nn.ReLU(), nn.Linear(PAPER_HIDDEN, n_bin))
        elif kind == "compact":
            self.encoder = CompactEncoder(n_band, n_pix, n_context, n_latent, options)
            self.decoder = CompactDecoder(n_latent, n_band, n_pix, options)
            self.estimator = MixtureEstimator(n_main, edges, options["width"], options["components"], options.get("component", "logistic"))
        else:
            raise ValueError(f"network {kind!r} is unknown; known: paper, compact")

    def fit_apertures(self, images: Tensor, scale: Tensor) -> None:
        """Fit what the network knows of its images before training; nothing for the paper's.

        Parameters
        ----------
        images : tensor (n, n_band, n_pix, n_pix)
            Of training galaxies, as the network sees them.
        scale : tensor (n_band,)
            By which the stretched pixels were divided (`stamps.ImageScaling`).
        """
        if isinstance(self.encoder, CompactEncoder):
            self.encoder.apertures.fit(images, scale)

    def encode(self, images: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, n_main) and (n, n_extra) of galaxies (n, n_band, n_pix, n_pix), (n, n_context)."""
        latent = self.encoder(images, context)
        return latent[:, : self.n_main], latent[:, self.n_main :]

    def decode(self, main: Tensor, extra: Tensor) -> Tensor:
        """Reconstructed images (n, n_band, n_pix, n_pix)."""
        return self.decoder(torch.cat([main, extra], -1))

    def estimate(self, main: Tensor) -> Tensor:
        """Log-probability of each mass bin up to a constant, (n, n_bin)."""
        return self.estimator(main)
