"""Cubes of gas discs against closed forms of their line profiles, moments and fluxes; the kernel against plain torch."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import integrate, special

from galmass.discs import brightness, cube
from galmass.discs.cube import DiscCube
from galmass.errors import InputError

torch.set_num_threads(1)

LINE = 230.538e9
RADIUS = np.geomspace(1e-3, 100, 300)
WIDE = 20 * (np.arange(41) - 20)  # km/s
SHAPES = {
    "exponential": [0.8],
    "truncated_exponential": [0.8, 1.5],
    "exponential_with_hole": [0.8, 0.9],
    "gaussian_ring": [1.2, 0.35],
}


def _frequency(velocity):
    return np.sort(LINE * (1 - np.asarray(velocity) / cube.LIGHT))


def _disc(velocity=WIDE, n_pix=64, cell=0.2, dtype=torch.float64, **options):
    return DiscCube(n_pix, cell, _frequency(velocity), LINE, RADIUS, dtype=dtype, **options)


def _geometry(disc, shape=(0.8,), thickness=None, **changed):
    values = {"inclination": 60.0, "position_angle": 35.0, "x_offset": 0.13, "y_offset": -0.31, "v_sys": 7.0, "sigma_gas": 9.0, "flux": 3.0} | changed
    return torch.tensor([*values.values(), *shape, *([thickness] if disc.thick else [])], dtype=disc.dtype)


def _curve(disc, v=200.0, hole=60.0):
    """Flat, and falling from a point mass."""
    return torch.as_tensor(np.sqrt(v**2 + hole**2 / RADIUS), dtype=disc.dtype)


def _flat(disc, v=200.0):
    return torch.full((len(RADIUS),), v, dtype=disc.dtype)


def _spectrum(disc, image):
    """Jy km/s in each channel, ascending velocity, and the edges of the channels."""
    edges = (disc.centre - disc.edges).flip(0)
    return (image.sum((1, 2)) * disc.width).flip(0).numpy(), edges.numpy()


def _axes(disc):
    axis = (np.arange(disc.n_pix) - disc.n_pix // 2) * disc.cell_arcsec
    return axis[None, :], axis[:, None]


@pytest.mark.parametrize("sigma", [1.5, 9.0, 30.0])
def test_flat_rotation_gives_its_double_horned_line(sigma):
    disc = _disc(refine=2)
    found, edges = _spectrum(disc, disc(_flat(disc), _geometry(disc, sigma_gas=sigma)))
    azimuth = 2 * np.pi * (np.arange(20_000) + 0.5) / 20_000  # of a periodic function: converges at once
    speed = 200 * math.sin(math.radians(60)) * np.cos(azimuth) + 7
    below = special.ndtr((edges[:, None] - speed) / sigma).mean(1)
    # 2e-3 of the flux is outside the image; it is at all azimuths, so the shape is compared
    np.testing.assert_allclose(found / found.sum(), np.diff(below), atol=4e-4, err_msg="points across channels of 20 km/s")


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("v_sys", [0.0, 1240.0, 30_000.0])
def test_a_receding_galaxy_is_seen_at_the_frequencies_of_its_gas(v_sys, compiled):
    """Line of flat rotation on a grid of frequencies, by Doppler shifts: from the gas to the galaxy's frame, and from there by its redshift."""
    factor, speed, sigma = 1 - v_sys / cube.LIGHT, 200.0, 12.0
    step = LINE * 8 / cube.LIGHT
    frequency = LINE * factor + step * (np.arange(81) - 40)
    disc = DiscCube(64, 0.2, frequency, LINE, RADIUS, dtype=torch.float64, compiled=compiled)
    found = disc(_flat(disc, speed), _geometry(disc, v_sys=v_sys, sigma_gas=sigma)).sum((1, 2)).numpy()
    azimuth = 2 * np.pi * (np.arange(20_000) + 0.5) / 20_000
    shifted = LINE * (1 - speed * math.sin(math.radians(60)) * np.cos(azimuth) / cube.LIGHT) / (1 + v_sys / (cube.LIGHT - v_sys))
    edges = np.append(frequency - step / 2, frequency[-1] + step / 2)
    below = special.ndtr((edges[:, None] - shifted) / (LINE * factor * sigma / cube.LIGHT)).mean(1)
    np.testing.assert_allclose(found / found.sum(), np.diff(below), atol=4e-4)  # as of the double-horned line above; without the factor 0.02 at 30000 km/s


def test_solid_rotation_gives_the_marginal_of_the_disc():
    disc = _disc(n_pix=96)
    speed, h = 60.0, 0.8
    rising = torch.as_tensor(speed * RADIUS)
    found, edges = _spectrum(disc, disc(rising, _geometry(disc, inclination=50.0)))
    width = speed * h * math.sin(math.radians(50))

    def below(v, edge):
        line = v * special.k1(v / width) / (np.pi * width**2)
        return line * (special.ndtr((edge - v) / 9) + special.ndtr((edge + v) / 9))

    below = [integrate.quad(below, 0, 30 * width, args=(edge,))[0] for edge in edges - 7]
    np.testing.assert_allclose(found, 3 * np.diff(below), atol=3e-4 * 3, err_msg="1e-4 of the flux is outside the image")


@pytest.mark.parametrize("name", SHAPES)
def test_flux_is_that_of_the_line(name):
    disc = _disc(n_pix=128, profile=name)
    g = _geometry(disc, SHAPES[name])
    assert torch.sum(disc(_flat(disc), g) * disc.width[:, None, None]) == pytest.approx(3.0, rel=2e-4)  # Gauss-Legendre across the edges
    assert disc.flux_outside(g) == pytest.approx(0, abs=2e-4)
    assert disc.flux_in_band(_flat(disc), g) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("factor", [1.0, 0.1, 7.0])
def test_totals_are_the_integrals(name, factor):
    first, *rest = (torch.tensor(v, dtype=torch.float64) for v in SHAPES[name])
    profile, shape = brightness.PROFILES[name], [first * factor, *rest]
    integrand = lambda r: 2 * math.pi * r * float(profile.brightness(torch.tensor(r, dtype=torch.float64), *shape))  # noqa: E731
    expected = integrate.quad(integrand, 0, 60 * float(first * factor), limit=500, epsrel=1e-10, points=[0.5, 1.0, 1.5, 3.0])[0]
    assert float(profile.total(*shape)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "shape", "share", "expected"),
    [
        ("exponential", [0.8], 0.95, 0.8 * 4.743865),  # 1 - (1 + x) exp(-x)
        ("exponential", [0.8], 0.5, 0.8 * 1.678347),
        ("gaussian_ring", [5.0, 0.1], 0.5, 5.0 + 0.1**2 / 5.0),  # a thin ring, weighted by R
        ("gaussian_ring", [5.0, 0.1], 0.95, 5.0 + 1.645 * 0.1 + 0.1**2 / 5.0),
    ],
)
def test_a_radius_holds_its_share_of_the_flux(name, shape, share, expected):
    profile = brightness.PROFILES[name]
    assert profile.holding(share, **dict(zip(profile.names, shape, strict=True))) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_that_radius_bounds_the_integral(name):
    profile, shape = brightness.PROFILES[name], [torch.tensor(v, dtype=torch.float64) for v in SHAPES[name]]
    end = profile.holding(0.95, **dict(zip(profile.names, SHAPES[name], strict=True)))
    integrand = lambda r: 2 * math.pi * r * float(profile.brightness(torch.tensor(r, dtype=torch.float64), *shape))  # noqa: E731
    assert integrate.quad(integrand, 0, end, limit=500)[0] / float(profile.total(*shape)) == pytest.approx(0.95, abs=1e-3)


def test_total_of_an_edge_far_out_does_not_overflow():
    h, far = torch.tensor([0.01, 1.0]), torch.tensor([5.0, 500.0])
    assert torch.equal(brightness.PROFILES["truncated_exponential"].total(h, far), 2 * math.pi * h**2)
    assert torch.isfinite(brightness.PROFILES["exponential_with_hole"].total(h, far)).all()


def test_profiles_may_be_added(monkeypatch):
    area, same, none = lambda w: 2 * math.pi * w**2, lambda w: w, lambda w: 0 * w
    gaussian = brightness.Profile(("width",), ("arcsec",), lambda r, w: torch.exp(-((r / w) ** 2) / 2), area, same, none)
    monkeypatch.setitem(brightness.PROFILES, "gaussian", gaussian)
    disc = _disc(profile="gaussian")
    assert (disc.names[-1], disc.units[-1]) == ("width", "arcsec")
    assert torch.sum(disc(_flat(disc), _geometry(disc)) * disc.width[:, None, None]) == pytest.approx(3.0, rel=1e-5)
    assert gaussian(torch.tensor(1.0), width=1.0) == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize(("angle", "direction"), [(0, (0, 1)), (90, (1, 0)), (180, (0, -1)), (270, (-1, 0)), (30, (0.5, math.sqrt(0.75)))])
def test_position_angle_points_from_north_through_east_to_the_receding_side(angle, direction):
    disc = _disc()
    image = disc(_flat(disc), _geometry(disc, position_angle=float(angle), x_offset=0.0, y_offset=0.0))
    receding = image[: len(WIDE) // 2].sum(0).numpy()  # low frequencies
    l, m = _axes(disc)  # noqa: E741
    centroid = np.array([(receding * l).sum(), (receding * m).sum()]) / receding.sum()
    np.testing.assert_allclose(centroid / np.hypot(*centroid), direction, atol=0.02, err_msg="pixels of 0.2 arcsec")


def test_second_moments_are_those_of_an_inclined_disc():
    disc = _disc(n_pix=96, cell=0.15, thickness=True)
    image = disc(_flat(disc), _geometry(disc, [0.5], thickness=0.3, position_angle=90.0, x_offset=0.0, y_offset=0.0)).sum(0).numpy()
    l, m = _axes(disc)  # noqa: E741
    major, minor = ((image * axis**2).sum() / image.sum() - 0.15**2 / 12 for axis in (l, m))
    assert major == pytest.approx(3 * 0.25, rel=2e-3)  # 1e-5 of the flux, at 14 scale lengths, is outside
    assert minor == pytest.approx(3 * 0.25 * 0.25 + 0.09 * 0.75, rel=2e-3)


def test_thin_is_the_limit_of_thick():
    thin, thick = _disc(), _disc(thickness=True)
    flat = thin(_curve(thin), _geometry(thin))
    assert torch.allclose(thick(_curve(thick), _geometry(thick, thickness=1e-9)), flat, atol=1e-7 * float(flat.max()))
    assert not torch.allclose(thick(_curve(thick), _geometry(thick, thickness=0.1)), flat, atol=1e-2 * float(flat.max()))
    assert (thick.names[-1], thick.units[-1]) == ("thickness", "arcsec")


def test_offsets_of_whole_pixels_move_the_cube():
    disc = _disc()
    still, moved = (disc(_curve(disc), _geometry(disc, x_offset=x, y_offset=y)) for x, y in ((0.05, 0.02), (0.65, -0.38)))
    assert torch.allclose(torch.roll(still, (-2, 3), (1, 2))[:, 5:-5, 5:-5], moved[:, 5:-5, 5:-5], atol=1e-10 * float(still.max()))


def test_flux_beyond_the_band_is_dropped_and_not_folded():
    disc, part = _disc(), _disc(WIDE[18:26])
    full, found = (d(_curve(d), _geometry(d)) for d in (disc, part))
    channels = slice(len(WIDE) - 26, len(WIDE) - 18)
    assert torch.allclose(found, full[channels], atol=1e-7 * float(full.max()))  # 2 CUT-sized tails
    assert part.flux_in_band(_curve(part), _geometry(part)) == pytest.approx(float(full[channels].sum() / full.sum()), abs=2e-3)


def test_unequal_channels_hold_the_line_between_their_midpoints():
    frequency = _frequency(np.array([-300.0, -150.0, -100.0, -80.0, 0.0, 10.0, 90.0, 200.0, 240.0]))
    disc = DiscCube(64, 0.2, frequency, LINE, RADIUS, dtype=torch.float64)
    velocity = cube.LIGHT * (1 - frequency / LINE)
    found, edges = _spectrum(disc, disc(_flat(disc), _geometry(disc)))
    np.testing.assert_allclose(edges[1:-1], (velocity[1:] + velocity[:-1])[::-1] / 2, atol=1e-6)
    azimuth = 2 * np.pi * (np.arange(20_000) + 0.5) / 20_000
    speed = 200 * math.sin(math.radians(60)) * np.cos(azimuth) + 7
    expected = np.diff(special.ndtr((edges[:, None] - speed) / 9).mean(1))
    np.testing.assert_allclose(found / 3, expected, atol=2e-3, err_msg="flux outside the image")


def test_channels_uniform_to_a_thousandth_count_as_uniform():
    shaken = _frequency(WIDE) + np.random.default_rng(1).uniform(-1e-4, 1e-4, len(WIDE)) * 20 * LINE / cube.LIGHT
    widths = np.diff(cube.channel_edges(shaken, LINE)[0])
    np.testing.assert_allclose(widths, widths.mean(), rtol=1e-9)
    np.testing.assert_allclose(widths.mean(), 20, rtol=1e-4)


@pytest.mark.parametrize(("inclination", "sigma"), [(15.0, 5.0), (60.0, 1.0), (77.0, 10.0), (88.0, 3.0)])
def test_quadrature_has_converged(inclination, sigma):
    """1600 times the relative squared error is what chi^2 changes by at S/N 40 in all."""
    once, finer = _disc(n_pix=48), _disc(n_pix=48, refine=4)
    a, b = (d(_curve(d), _geometry(d, inclination=inclination, sigma_gas=sigma)) for d in (once, finer))
    assert 1600 * float((a - b).square().sum() / b.square().sum()) < 3  # where a line is 0.05 channels wide; mostly < 0.5


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("thickness", "v_sys"), [(None, 7.0), (0.1, 7.0), (None, 30_007.0)])
def test_gradients_are_the_slopes(name, thickness, v_sys):
    disc = _disc(v_sys - 7 + WIDE, 32, profile=name, thickness=thickness is not None)
    v_c, g = _curve(disc), _geometry(disc, SHAPES[name], thickness=thickness, v_sys=v_sys)
    points, weight = disc.points(v_c, g), torch.randn(len(WIDE), 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = lambda v, x: (disc(v, x, points) * weight).sum()  # noqa: E731
    of_v, of_g = torch.autograd.grad(loss(v_c.requires_grad_(), g.requires_grad_()), [v_c, g])
    with torch.no_grad():
        for k in range(len(g)):
            step = torch.zeros_like(g)
            step[k] = 1e-7 * max(1, abs(float(g[k])))
            slope = (loss(v_c, g + step) - loss(v_c, g - step)) / (2 * step[k])
            # steps cross where lines are cut off: 2e-8 of a point's flux over the step
            assert of_g[k] == pytest.approx(float(slope), rel=2e-4, abs=2e-4 * float(of_g.abs().max()) * 1e-2), disc.names[k]
        push = torch.sin(torch.arange(len(v_c), dtype=torch.float64))
        slope = (loss(v_c + 1e-4 * push, g) - loss(v_c - 1e-4 * push, g)) / 2e-4
        assert of_v @ push == pytest.approx(float(slope), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [WIDE, WIDE[15:23], np.cumsum([7.0, 30.0, 4.0, 60.0, 11.0, 90.0])])
def test_kernel_equals_plain_torch(dtype, channels):
    kernel, plain = _disc(channels, 32, dtype=dtype), _disc(channels, 32, dtype=dtype, compiled=False)
    results = []
    for disc in (kernel, plain):
        v_c, g = _curve(disc).requires_grad_(), _geometry(disc).requires_grad_()
        image = disc(v_c, g, kernel.points(v_c, g))
        results.append([image.detach(), *torch.autograd.grad((image * torch.cos(torch.arange(image.numel()).view_as(image))).sum(), [v_c, g])])
    for a, b in zip(*results, strict=True):
        # the kernel cuts lines off at 2e-8; float32 rounds x to 1e-5 of a channel
        assert float((a - b).abs().max() / b.abs().max()) < (2e-4 if dtype == torch.float32 else 1e-6)


def test_forward_mode_and_transforms():
    kernel, plain = _disc(n_pix=32), _disc(n_pix=32, compiled=False)
    v_c, g = _curve(kernel), _geometry(kernel)
    points = kernel.points(v_c, g)
    tangents = torch.func.jacfwd(lambda x: plain(v_c, x, points))(g)
    for k, push in enumerate(torch.eye(len(g), dtype=g.dtype)):
        with torch.autograd.forward_ad.dual_level():
            dual = kernel(v_c, torch.autograd.forward_ad.make_dual(g, push), points)
            found = torch.autograd.forward_ad.unpack_dual(dual).tangent
        assert torch.allclose(found, tangents[..., k], atol=1e-6 * float(tangents[..., k].abs().max())), kernel.names[k]
    both = torch.func.vmap(lambda v: plain(v, g, points))(torch.stack([v_c, 1.1 * v_c]))
    assert torch.allclose(both[1], plain(1.1 * v_c, g, points))


def test_rotation_curve_is_read_linearly_and_smoothly():
    disc = _disc()
    radius = torch.as_tensor(np.exp(np.random.default_rng(2).uniform(math.log(1e-5), math.log(1e3), 4000)))
    a, b = torch.as_tensor(RADIUS**-0.5), torch.as_tensor(np.log(RADIUS))
    assert torch.allclose(disc.speed(2 * a - 3 * b, radius), 2 * disc.speed(a, radius) - 3 * disc.speed(b, radius), rtol=0, atol=1e-9)
    assert torch.allclose(disc.speed(b, radius), torch.log(radius), atol=1e-9), "a line in ln R stays one, outside too"
    inside = radius[(radius > 1.1e-3) & (radius < 90)]
    assert torch.allclose(disc.speed(a, inside), inside**-0.5, rtol=1e-5)  # third order in a step of 0.04
    knot = torch.tensor(RADIUS[100], dtype=torch.float64)
    left, right = ((disc.speed(a, knot * f) - disc.speed(a, knot)) / (f - 1) for f in (1 - 1e-6, 1 + 1e-6))
    assert left == pytest.approx(float(right), rel=1e-4)


@pytest.mark.parametrize("name", ["x_offset", "y_offset", "inclination", "sigma_gas"])
def test_small_and_large_steps_give_the_same_derivative(name):
    """A cusp, channels much wider than the dispersion: points without the spread of their share of a pixel jump from channel to channel."""
    disc = _disc(np.arange(-400.0, 401, 20), n_pix=32)
    v_c, g = _curve(disc, hole=150.0), _geometry(disc, sigma_gas=2.0)
    shift, points = torch.zeros_like(g), disc.points(v_c, g)
    shift[disc.names.index(name)] = {"inclination": 0.05, "sigma_gas": 0.1}.get(name, 1e-3)
    large, small = ((disc(v_c, g + h * shift, points) - disc(v_c, g - h * shift, points)) / (2 * h) for h in (1, 0.01))
    difference = (small - large).square().sum().sqrt() / large.square().sum().sqrt()
    bare = cube.Points(points.l, points.m, points.area, None, 0 * points.spread, points.pixel)
    rough = (disc(v_c, g + 0.01 * shift, bare) - disc(v_c, g - 0.01 * shift, bare)) / 0.02
    assert float(difference) < 0.1  # 0.01 to 0.06
    assert name == "sigma_gas" or float((rough - large).square().sum().sqrt() / large.square().sum().sqrt()) > 3 * float(difference)


def test_centre_on_a_point_of_the_quadrature_is_finite():
    disc = _disc(n_pix=16)
    v_c, g = _curve(disc).requires_grad_(), _geometry(disc, x_offset=0.0, y_offset=0.0).requires_grad_()
    points = disc.points(v_c, g)
    centred = cube.Points(*(torch.zeros_like(v[:1]) for v in (points.l, points.m)), points.area[:1], None, points.spread[:1], points.pixel[:1])
    gradients = torch.autograd.grad(disc(v_c, g, centred).sum(), [v_c, g])
    assert all(torch.isfinite(v).all() for v in gradients)


@pytest.mark.parametrize("where", ["v_c", "inclination", "sigma_gas", "flux"])
def test_what_is_no_number_stays_none(where):
    disc = _disc(n_pix=16)
    v_c, g = _curve(disc), _geometry(disc)
    (v_c if where == "v_c" else g)[0 if where == "v_c" else disc.names.index(where)] = math.nan
    assert torch.isnan(disc(v_c, g)).all()


def test_flux_outside_the_image_is_that_of_the_profile():
    disc = _disc(n_pix=20, cell=0.2)
    g = _geometry(disc, [1.0], inclination=0.0, x_offset=0.0, y_offset=0.0)
    side = (-2.1, 1.9)  # pixel 0 is centred on -2
    inside = integrate.dblquad(lambda y, x: math.exp(-math.hypot(x, y)) / (2 * math.pi), *side, *side)[0]
    assert disc.flux_outside(g) == pytest.approx(1 - inside, abs=1e-4)
    with pytest.raises(InputError, match=r"flux lies outside the image of 4 arcsec"):
        disc.check(_flat(disc), g)


def test_line_outside_the_band_is_refused():
    disc = _disc(n_pix=96)
    disc.check(_flat(disc), _geometry(disc, [0.5]))
    with pytest.raises(InputError, match=r"100% of the line lies outside the channels, -410 to 410 km/s"):
        disc.check(_flat(disc), _geometry(disc, [0.5], v_sys=5000.0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_pix": 161}, "n_pix is 161"),
        ({"cell_arcsec": 0.0}, "cell_arcsec is 0"),
        ({"frequency": np.linspace(229, 231, 9)}, "looks like GHz"),
        ({"rest_frequency": 230.538}, "looks like GHz"),
        ({"frequency": np.linspace(231e9, 229e9, 9)}, "must ascend"),
        ({"frequency": np.array([230e9, math.nan, 231e9])}, "finite"),
        ({"frequency": np.array([230e9])}, "one channel"),
        ({"radius_arcsec": np.linspace(0.1, 9, 30)}, "logarithm"),
        ({"radius_arcsec": RADIUS[::-1]}, "ascending"),
        ({"profile": "sersic"}, "'sersic' is unknown; choose one of exponential"),
    ],
)
def test_bad_input_is_named(changed, message):
    good = SimpleNamespace(n_pix=16, cell_arcsec=0.2, frequency=_frequency(WIDE), rest_frequency=LINE, radius_arcsec=RADIUS)
    with pytest.raises(InputError, match=message):
        DiscCube(**(vars(good) | changed))


def test_geometry_of_another_length_is_refused():
    disc = _disc(n_pix=16)
    with pytest.raises(InputError, match="7 values of geometry for 8 parameters: inclination"):
        disc(_flat(disc), _geometry(disc)[:7])
