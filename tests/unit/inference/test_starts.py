"""What the dirty cube of a small galaxy shows of its geometry, and that the search which begins there finds the mode."""

import math

import numpy as np
import pytest
import torch
from conftest import GALAXY, REST, TRUTH, observe, setup_of

from galmass.inference import assembly, fisher, optimise, starts
from galmass.units import LIGHT

torch.set_num_threads(1)
SEED = 3


@pytest.fixture(scope="module")
def single(gridded):
    """The posterior in float32, as it is fitted."""
    return assembly.assemble(setup_of(), gridded)


@pytest.fixture(scope="module")
def bright():
    return observe(signal_to_noise=300.0)


def test_the_geometry_is_read_off_the_image(bright):
    seen = starts.look(bright, REST, 32)
    # of the sidelobes of 30 % filled uv cells, and of the outskirts below them: what the scouts' ranges cover
    assert seen.x_offset == pytest.approx(TRUTH["x_offset"], abs=0.5 * seen.beam)
    assert seen.y_offset == pytest.approx(TRUTH["y_offset"], abs=0.5 * seen.beam)
    assert seen.v_sys == pytest.approx(TRUTH["v_sys"], abs=seen.channel)
    assert math.remainder(seen.position_angle - TRUTH["position_angle"], 360) == pytest.approx(0, abs=15)
    assert 0.4 < seen.along / (math.sqrt(3) * TRUTH["scale_length"]) < 1.2
    assert seen.across < seen.along


def test_turned_data_show_a_turned_disc(bright):
    """The receding side: with the spectrum reversed it lies on the other side."""
    flipped = observe(signal_to_noise=300.0, truth={**TRUTH, "position_angle": TRUTH["position_angle"] + 180})
    angles = [starts.look(g, REST, 32).position_angle for g in (bright, flipped)]
    assert abs(math.remainder(angles[0] - angles[1], 360)) == pytest.approx(180, abs=20)


def test_half_of_the_scouts_have_the_geometry_of_the_prior_and_all_lie_inside(single, gridded):
    z = starts.scouts(single, gridded, GALAXY, 64, SEED)
    x, prior = single.parameters.physical(z), single.parameters.physical(single.parameters.sobol(64, SEED))
    kept = [i for i, name in enumerate(single.names) if name not in (*starts.AMPLITUDES, "log_m_bh")]
    torch.testing.assert_close(x[0::2, kept], prior[0::2, kept], rtol=1e-9, atol=1e-9)  # there and back through the coordinates
    shapes = [i for i in kept if single.names[i] not in starts.AROUND]
    torch.testing.assert_close(x[:, shapes], prior[:, shapes], rtol=1e-9, atol=1e-9)
    assert bool(torch.isfinite(z).all())
    seen = starts.look(gridded, REST, 32)
    x = single.parameters.physical(z[1::2])
    angle = x[:, single.names.index("position_angle")] - seen.position_angle
    assert float(torch.remainder(angle + 180, 360).sub(180).abs().max()) <= 10.0 + 1e-9
    for i, name in enumerate(single.names):
        assert single.prior[name].low <= x[:, i].min(), name
        assert x[:, i].max() <= single.prior[name].high, name


def test_scouts_have_the_width_of_the_line(single, gridded):
    """<v_c^2> sin^2 i / 2 over the flux is the variance of the line."""
    seen = starts.look(gridded, REST, 32)
    x = starts.scaled(single, seen, starts.placed(single, seen, single.parameters.physical(single.parameters.sobol(64, SEED))))
    values = single.parameters.complete(x)
    square = sum(single.mass.squared_velocity(values).values())
    width = torch.sqrt((starts.flux_shares(single, values) * square).sum(-1) / 2) * torch.sin(torch.deg2rad(values["inclination"]))
    width = width * (1 - values["v_sys"] / LIGHT)  # a radio velocity, like what is seen
    # but where a wall of log_sigma_break or log_m_bh is in the way
    assert float(((width / seen.dispersion - 1).abs() < 1e-6).double().mean()) > 0.75
    assert float(((width / seen.dispersion - 1).abs() < 0.3).double().mean()) > 0.9


def test_noise_alone_leaves_the_prior_and_says_so(single, gridded, capsys):
    rng = np.random.default_rng(4)
    noise = np.where(
        gridded.mask, gridded.std.real * rng.standard_normal(gridded.mask.shape) + 1j * gridded.std.imag * rng.standard_normal(gridded.mask.shape), 0
    )
    empty = type(gridded)(**{**vars(gridded), "mean": noise})
    z = starts.scouts(single, empty, GALAXY, 16, SEED)
    torch.testing.assert_close(z, single.parameters.sobol(16, SEED), rtol=0, atol=0)
    assert "no emission in the dirty cube" in capsys.readouterr().out


def test_the_mode_is_found_from_the_data_alone(single, gridded, truth):
    best = optimise.search(single, starts.scouts(single, gridded, GALAXY, 64, SEED), n_starts=2)[0]
    assert best.converged
    z = single.parameters.coordinates(truth)
    expected = optimise.climb(single, z, fisher.summary_information(single, single.summary(z))[0])
    # both stop within 0.05 standard errors, in float32
    assert best.log_density > expected.log_density - 1


def test_every_parameter_that_is_placed_is_one_of_the_gas():
    seen = starts.Seen(0.1, -0.2, 1000.0, 40.0, 2.0, 1.0, 150.0, 5.0, 0.5, 20.0)
    middle = {name: float(of(seen, torch.zeros(1, dtype=torch.float64))) for name, of in starts.AROUND.items()}
    assert middle["inclination"] == pytest.approx(60)  # of the axial ratio 0.5
    assert middle["position_angle"] == 40
    assert middle["ring_radius"] == pytest.approx(2 * math.sqrt(2))  # <x^2> = R^2 / 2 on a ring
