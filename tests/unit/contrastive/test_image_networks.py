"""The paper's Inception network by its numbers; the compact one by what it must see and must not."""

import numpy as np
import pytest
import torch
from torch import nn

from galmass.contrastive.image_networks import RINGS, Apertures, CompactEncoder, ImageNetwork, InceptionBlock, PaperDecoder, ResidualConvolution, rings
from galmass.contrastive.stamps import stretch, turned
from galmass.errors import InputError

EDGES = torch.linspace(6.0, 12.5, 521)
PAPER = {"main_latent": 16, "extra_latent": 512}


@pytest.fixture
def image_options(options) -> dict:
    return options | {"main_latent": 3, "extra_latent": 2, "channels": 4}


@pytest.fixture
def compact(image_options) -> ImageNetwork:
    torch.manual_seed(0)
    return ImageNetwork("compact", 2, 16, 3, torch.linspace(8.0, 12.0, 17), image_options)


@pytest.fixture(scope="module")
def paper() -> ImageNetwork:
    torch.manual_seed(0)
    return ImageNetwork("paper", 5, 64, 1, EDGES, PAPER)


def _count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def _convolution(n_in, n_out, size):
    return n_in * n_out * size**2 + n_out


def _inception(n_in):
    """Parameters of a block: 101 inner kernels, 156 of 5x5 and of 3x3, 101 averaged, 109 of 1x1."""
    return 3 * _convolution(n_in, 101, 1) + _convolution(101, 156, 5) + _convolution(101, 156, 3) + _convolution(n_in, 109, 1)


def test_paper_parameter_counts_in_closed_form(paper):
    width = 2 * 156 + 101 + 109
    encoder = _convolution(5, 96, 5) + 96 + _convolution(96, 96, 3) + _inception(96) + 5 * _inception(width)
    encoder += _convolution(width, 96, 3) + 2 * _convolution(96, 96, 3) + (384 * 1024 + 1024) + (1024 * 528 + 528)
    decoder = 528 * 1024 + 1024 + _convolution(16, 32, 3) + 5 * _convolution(32, 32, 3) + _convolution(32, 5, 3)
    assert _count(paper.encoder) == encoder
    assert _count(paper.decoder) == decoder
    assert _count(paper.estimator) == 16 * 1024 + 1024 + 1024 * 520 + 520


def test_paper_parameter_counts_are_those_of_the_paper(paper):
    assert [round(_count(part) / 1e6, 2) for part in (paper.encoder, paper.decoder, paper.estimator)] == [5.98, 0.59, 0.55]
    assert round(_count(paper) / 1e6, 1) == 7.1


def test_paper_shapes_on_the_way(paper):
    """Sizes of the maps in the published order: 64, 32, 16, 8 -> 2, and back 8, 16, 32, 64."""
    seen, parts = [], (paper.encoder.first, paper.encoder.stem, paper.encoder.large, paper.encoder.middle, paper.encoder.small, *paper.decoder.pairs)
    hooks = [part.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:]))) for part in parts]
    with torch.no_grad():
        main, extra = paper.encode(torch.randn(2, 5, 64, 64), torch.randn(2, 1))
        images = paper.decode(main, extra)
    for hook in hooks:
        hook.remove()
    assert seen == [(96, 64, 64), (96, 32, 32), (522, 16, 16), (522, 8, 8), (96, 2, 2), (32, 16, 16), (32, 32, 32), (32, 64, 64)]
    assert (main.shape, extra.shape, images.shape, paper.estimate(main).shape) == ((2, 16), (2, 512), (2, 5, 64, 64), (2, 520))


def test_scalars_are_added_to_the_first_convolution_before_its_relu(paper):
    images, context = torch.randn(1, 5, 64, 64), torch.randn(1, 1)
    with torch.no_grad():
        shifted = paper.encoder.first.bias + context[0, 0] * paper.encoder.scalars.weight[:, 0]
        expected = paper.encoder(images, context)
        kept, paper.encoder.first.bias.data = paper.encoder.first.bias.data, shifted
        found = paper.encoder(images, torch.zeros(1, 1))
        paper.encoder.first.bias.data = kept
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # float32


def test_inception_block_keeps_the_size_and_its_branches_apart():
    block = InceptionBlock(7)
    out = block(torch.randn(1, 7, 6, 6))
    assert out.shape == (1, 522, 6, 6)
    # the average of a constant map is that constant at the edge too
    constant = block(torch.ones(1, 7, 6, 6))[0, 312:413]
    torch.testing.assert_close(constant, constant[:, :1, :1].expand_as(constant), rtol=1e-5, atol=1e-6)


def test_paper_decoder_serves_other_sizes():
    assert PaperDecoder(6, 3, 32)(torch.randn(2, 6)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("n_pix", [32, 48, 60])
def test_paper_encoder_names_sizes_that_it_cannot_take(n_pix):
    with pytest.raises(InputError, match=f"images.n_pix is {n_pix}; use network compact"):
        ImageNetwork("paper", 5, n_pix, 1, EDGES, PAPER)


def test_compact_names_sizes_that_it_cannot_take(image_options):
    with pytest.raises(InputError, match=r"a multiple of 8 pixels, and images.n_pix is 20"):
        ImageNetwork("compact", 2, 20, 3, EDGES, image_options)


def test_unknown_kind_is_refused(image_options):
    with pytest.raises(ValueError, match=r"'wide' is unknown; known: paper, compact"):
        ImageNetwork("wide", 2, 16, 3, EDGES, image_options)


@pytest.mark.parametrize("n_context", [0, 3])
@pytest.mark.parametrize(("n_band", "n_pix"), [(1, 8), (2, 16), (5, 32), (4, 64)])
def test_compact_shapes(image_options, n_band, n_pix, n_context):
    network = ImageNetwork("compact", n_band, n_pix, n_context, EDGES, image_options)
    main, extra = network.encode(torch.randn(4, n_band, n_pix, n_pix), torch.randn(4, n_context))
    assert (main.shape, extra.shape) == ((4, 3), (4, 2))
    assert network.decode(main, extra).shape == (4, n_band, n_pix, n_pix)
    assert network.estimate(main).shape == (4, 520)


def test_every_pixel_and_scalar_reaches_the_latent(compact):
    for parameter in compact.parameters():  # blocks that start as the identity hide nothing here
        nn.init.normal_(parameter, std=0.3)
    images, context = torch.randn(3, 2, 16, 16, requires_grad=True), torch.randn(3, 3, requires_grad=True)
    gradients = torch.autograd.grad(compact.encode(images, context)[0].sum(), (images, context))
    assert all((g != 0).all() for g in gradients)


def test_every_latent_reaches_every_pixel(compact):
    latent = torch.randn(1, 5, requires_grad=True)
    images = compact.decode(latent[:, :3], latent[:, 3:])
    for i, pixel in enumerate(images.flatten()[:: 2 * 16 + 5]):
        gradient = torch.autograd.grad(pixel, latent, retain_graph=True)[0]
        assert (gradient != 0).all(), i


def test_only_main_feeds_the_estimator(compact):
    main, _ = compact.encode(torch.randn(3, 2, 16, 16), torch.randn(3, 3))
    last = compact.encoder.latent[-1].weight
    gradient = torch.autograd.grad(compact.estimate(main)[:, 3].sum(), last)[0]
    assert (gradient[:3] != 0).any(1).all()
    assert (gradient[3:] == 0).all()


def test_residual_convolution_starts_as_the_identity():
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(ResidualConvolution(4)(x), x)


# --- aperture fluxes


def test_rings_are_disjoint_and_the_same_in_all_orientations():
    for n_pix in (8, 16, 32, 33, 64):
        matrix = rings(n_pix)
        assert set(matrix.unique().tolist()) == {0.0, 1.0}
        assert matrix.sum(1).max() == 1
        as_images = matrix.T.reshape(1, -1, n_pix, n_pix).expand(8, -1, -1, -1)
        assert torch.equal(turned(as_images, torch.arange(8)), as_images)
    # areas of the rings, against pi r^2; a pixel on the circle counts whole: half its perimeter's pixels at most
    areas = np.pi * np.diff([0, *np.square(RINGS)]) * 64**2
    np.testing.assert_allclose(rings(64).sum(0), areas, atol=0.5 * 2 * np.pi * 32)


def test_apertures_hold_the_flux():
    """The stretched sum of the pixels of each ring, whatever the units of the pixels."""
    g = np.random.default_rng(0)
    pixels = torch.from_numpy(g.normal(0.2, 1, (3, 2, 16, 16))).float()
    apertures, scale = Apertures(2, 16), torch.tensor([0.5, 3.0])
    apertures.fit(torch.randn(9, 2, 16, 16), scale)
    found = apertures.measure(stretch(pixels) / scale[:, None, None])
    fluxes = (pixels.double().flatten(2) @ rings(16).double()).numpy()
    expected = np.sign(fluxes) * np.log1p(np.abs(fluxes))
    np.testing.assert_allclose(found, expected.reshape(3, -1), atol=1e-4)  # float32


def test_apertures_are_whitened_and_the_same_in_all_orientations():
    g = np.random.default_rng(1)
    images = torch.from_numpy(g.normal(0, 1, (4000, 1, 16, 16))).float() * torch.from_numpy(g.lognormal(0, 0.5, (4000, 1, 1, 1))).float()
    apertures = Apertures(1, 16)
    apertures.fit(images, torch.ones(1))
    np.testing.assert_allclose(np.cov(apertures(images).T), np.eye(apertures.n_out), atol=0.02)  # a few values are clipped
    for code in range(1, 8):
        # the order of sums in float32, over a thousandth of the variance
        torch.testing.assert_close(apertures(turned(images[:5], torch.full((5,), code))), apertures(images[:5]), rtol=1e-3, atol=1e-3)


def test_directions_without_variance_are_not_blown_up():
    images = torch.randn(50, 1, 16, 16).repeat(1, 2, 1, 1)  # two bands of the same pixels
    apertures = Apertures(2, 16)
    apertures.fit(images, torch.ones(2))
    assert torch.isfinite(apertures.whitening).all()
    noisy = apertures(images + 1e-3 * torch.randn_like(images))
    assert (noisy - apertures(images)).abs().max() < 1


def test_a_reconstruction_that_runs_away_does_not_overflow():
    apertures = Apertures(1, 16)
    images = torch.full((1, 1, 16, 16), 1e6, requires_grad=True)
    out = apertures(images)
    assert torch.isfinite(out).all()
    assert torch.isfinite(torch.autograd.grad(out.sum(), images)[0]).all()


def test_whitening_travels_with_the_weights(compact, image_options):
    images = torch.randn(30, 2, 16, 16)
    compact.fit_apertures(images, torch.tensor([1.0, 2.0]))
    other = ImageNetwork("compact", 2, 16, 3, torch.linspace(8.0, 12.0, 17), image_options)
    other.load_state_dict(compact.state_dict())
    assert isinstance(other.encoder, CompactEncoder)
    assert torch.equal(other.encoder.apertures(images), compact.encoder.apertures(images))


def test_the_paper_network_has_nothing_to_fit(paper):
    before = {name: tensor.clone() for name, tensor in paper.state_dict().items()}
    paper.fit_apertures(torch.randn(2, 5, 64, 64), torch.ones(5))
    assert all(torch.equal(before[name], tensor) for name, tensor in paper.state_dict().items())
