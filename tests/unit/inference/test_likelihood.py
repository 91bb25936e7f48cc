"""The log posterior of a small galaxy: derivatives, halves, curvature, and what the data know."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import GALAXY, PRIORS, TRUTH, observe, setup_of

from galmass import stores
from galmass.discs import brightness, cube, mass_models
from galmass.errors import InputError
from galmass.inference import assembly, fisher, kinds, likelihood
from galmass.visibilities import gridding

ROOT = Path(__file__).parents[3]


def test_names_units_and_priors_go_together(posterior):
    assert set(posterior.names) == {name for name, prior in PRIORS.items() if prior["kind"] != "fixed" and name != "log_ml"}
    assert posterior.units["log_m_bh"] == "log10 M_sun"
    assert posterior.units["flux"] == "Jy km/s"
    assert set(posterior.prior) == set(posterior.names)
    assert posterior.prior["v_sys"].low == 900  # about the catalogue's


def test_truth_is_likely_and_its_residuals_are_noise(posterior, truth):
    at_truth = float(posterior(truth))
    for name, step in (("log_m_bh", 0.3), ("position_angle", 5.0), ("v_sys", 15.0), ("flux", 2.0)):
        for sign in (1, -1):
            moved = truth.clone()
            moved[posterior.names.index(name)] += sign * step
            assert float(posterior(moved)) < at_truth - 10, name
    square = posterior.noise.chi_squared(posterior.predict_at(truth))
    # the scaled chi^2 of Student's t with nu = 14 ... 20 has the variance 2.6 a datum
    assert float(square.mean()) == pytest.approx(1, abs=4 * (2.6 / len(square)) ** 0.5)


def test_gradient_against_differences(posterior, truth):
    z = posterior.parameters.coordinates(truth + torch.tensor([0.01] * len(truth), dtype=torch.float64)).requires_grad_()
    posterior.log_density(z).backward()
    step = 1e-5  # so short that hardly a point of the quadrature jumps
    # points of the quadrature and the spread of v_los in their share of a pixel are constants for the gradient: a fiftieth of a standard error
    tolerance = 0.02 * posterior.curvature(z.detach()).diagonal().sqrt()
    for i in range(len(z)):
        up, down = z.detach().clone(), z.detach().clone()
        up[i] += step
        down[i] -= step
        with torch.no_grad():
            expected = float(posterior.log_density(up) - posterior.log_density(down)) / (2 * step)
        assert float(z.grad[i]) == pytest.approx(expected, rel=2e-4, abs=float(tolerance[i])), posterior.names[i]


def test_summary_carries_all_that_the_data_see(posterior, truth):
    z = posterior.parameters.coordinates(truth)
    s = posterior.summary(z)
    assert s.shape == (posterior.n_nodes + len(posterior.geometry_names),)
    # what 20 nodes leave: it lowers the acceptance of `delayed` a little, and changes no result
    assert float(posterior.likelihood_at_summary(s)) == pytest.approx(float(posterior.log_likelihood(z)), abs=1)
    batch = posterior.summary(torch.stack([z, z + 0.01]))
    np.testing.assert_allclose(batch[0], s, rtol=1e-12)


def test_curvature_is_the_covariance_of_the_score(posterior, truth):
    """Fisher information: over replicated data the score varies by it."""
    z = posterior.parameters.coordinates(truth)
    information = posterior.curvature(z) + torch.func.hessian(posterior.log_prior)(z)  # without the prior
    rng = np.random.default_rng(3)
    middle = posterior.predict(z)
    jacobian = fisher.central_jacobian(posterior.predict, z, torch.full_like(z, 1e-4))  # so short that hardly a point of the quadrature jumps
    scores = torch.stack([posterior.noise.replicate(middle, rng).score_and_weights(middle)[0] @ jacobian for _ in range(2000)])
    place = posterior.names.index("log_m_bh")
    scale = information.diagonal().sqrt()
    found = torch.cov(scores.T) / scale[:, None] / scale
    expected = information / scale[:, None] / scale
    # sqrt(2 / 2000) = 0.03 for entries of a diagonal of one, four of it, and 0.1 for sigma_gas, which bends within half a standard error
    assert float((found - expected).abs().max()) < 0.23
    assert float(found[place, place]) == pytest.approx(1, abs=0.13)


@pytest.mark.parametrize("support", [1, 2])
def test_correlated_cells_count_for_less(support, posterior, truth):
    """The same visibilities by a wide kernel: four times the cells a visibility, and no more information."""
    wide = observe(support=support)
    found = assembly.assemble(setup_of(), wide, dtype=torch.float64)
    factor = wide.metadata["kernel"]["information_factor"]
    cells = torch.view_as_real(torch.from_numpy(wide.std[wide.mask])).reshape(-1)[found.used]
    torch.testing.assert_close(found.noise.std, cells * factor**0.5)
    assert found.n_independent == wide.n_data == round(len(found.used) / factor)
    square = found.noise.chi_squared(found.predict_at(truth))
    # 30 % of the cells are filled, at random: fewer neighbours than the factor reckons with; 1.3 is what that leaves, 12 what an inverted factor gives
    assert float(square.sum()) == pytest.approx(found.n_independent, rel=0.3)
    sigma = [p.curvature(p.parameters.coordinates(truth)).inverse().diagonal()[p.names.index("flux")].sqrt() for p in (posterior, found)]
    assert 0.8 < float(sigma[1] / sigma[0]) < 1.6


def test_spline_is_exact_around_a_black_hole_and_smooth_elsewhere():
    nodes, radius = np.geomspace(0.04, 8, 26), np.geomspace(0.001, 12, 300)
    spread = likelihood.spline(nodes, radius)
    keplerian = 300 / np.sqrt(radius)
    inside = radius <= 8
    np.testing.assert_allclose((spread @ (300 / np.sqrt(nodes)))[inside], keplerian[inside], rtol=1e-12)
    curve = lambda r: np.sqrt(300**2 / r + 200**2 * r**0.3)  # noqa: E731
    among = (radius > 0.1) & (radius < 5)
    np.testing.assert_allclose((spread @ curve(nodes))[among], curve(radius)[among], rtol=1e-4)


def test_a_galaxy_that_cannot_be_has_no_likelihood(gridded, tmp_path):
    stores.write_csv(tmp_path / "mge.csv", [{"surface_brightness": 1e4, "sigma_arcsec": 1.0, "q_obs": 0.5}])
    found = assembly.assemble(setup_of("mge") | {"mge_table": str(tmp_path / "mge.csv")}, gridded)
    values = {**TRUTH, "log_ml": 0.3}
    x = torch.tensor([values[name] for name in found.names], dtype=torch.float64)
    x[found.names.index("inclination")] = 30.0  # an observed axial ratio of 0.5 needs 60 deg
    assert float(found(x)) == -np.inf


def test_setup_moves_with_its_folder(gridded, posterior, truth, tmp_path):
    gridding.write(tmp_path / "one" / "grid.zarr", gridded)
    folder = tmp_path / "one" / "fit" / "nuker"
    folder.mkdir(parents=True)
    assembly.write_setup(folder / "setup.json", setup_of() | {"grid": str(tmp_path / "one" / "grid.zarr")})
    (tmp_path / "one").rename(tmp_path / "other")
    found = assembly.log_likelihood(tmp_path / "other" / "fit" / "nuker")
    # float32 against float64
    assert float(found(truth)) == pytest.approx(float(posterior(truth)), abs=0.5)
    x = truth.clone().requires_grad_()
    found(x).backward()
    assert bool(torch.isfinite(x.grad).all())


def test_misspelt_prior_is_named(gridded):
    wrong = {"inclnation": {"kind": "fixed", "value": 60.0}}
    for setup, key in (
        (setup_of(galaxy={"priors": wrong}), "priors"),
        (setup_of(fitting={"priors": PRIORS | wrong}), "fitting.priors"),
        (setup_of(fitting={"model_priors": {"nuker": wrong}}), "fitting.model_priors.nuker"),
    ):
        with pytest.raises(InputError, match=rf"config: {key}\.inclnation is no parameter of a galaxy; did you mean 'inclination'"):
            assembly.assemble(setup, gridded)


def test_the_names_of_priors_are_those_of_all_models():
    discs = {name for profile in brightness.PROFILES.values() for name in profile.names} | {*cube.GEOMETRY, "thickness"}
    assert set(kinds.PARAMETERS) == {*mass_models.UNITS, *discs}
    assert len(set(kinds.PARAMETERS)) == len(kinds.PARAMETERS)


def test_every_number_of_a_prior_refers_to_what_it_says(gridded):
    flux = assembly.shortest_baseline_flux(gridded, GALAXY["rest_frequency_hz"])
    of = {
        "v_sys": {"kind": "normal", "mean": 5.0, "sd": 20.0, "low": -50.0, "of": "v_sys"},
        "flux": {"kind": "normal", "mean": 1.1, "sd": 0.2, "low": 0.5, "high": 2.0, "of": "shortest_baselines"},
    }
    found = assembly.assemble(setup_of(galaxy={"priors": of}), gridded).prior
    assert (found["v_sys"].mean, found["v_sys"].sd, found["v_sys"].low) == (1005.0, 20.0, 950.0)
    assert [found["flux"].mean, found["flux"].sd, found["flux"].low, found["flux"].high] == pytest.approx([1.1 * flux, 0.2 * flux, 0.5 * flux, 2 * flux])
    fixed = {"v_sys": {"kind": "fixed", "value": 10.0, "of": "v_sys"}, "flux": {"kind": "fixed", "value": 1.0, "of": "shortest_baselines"}}
    assert assembly.assemble(setup_of(galaxy={"priors": fixed}), gridded).parameters.fixed == {"q_intr": 0.7, "v_sys": 1010.0, "flux": flux}
    plain = {"v_sys": {"kind": "fixed", "value": 1010.0, "of": None}}
    assert assembly.assemble(setup_of(galaxy={"priors": plain}), gridded).parameters.fixed["v_sys"] == 1010.0
    with pytest.raises(InputError, match=r"priors\.scale_length\.of is beam_and_field, .* the prior is fixed"):
        assembly.assemble(setup_of(galaxy={"priors": {"scale_length": {"kind": "fixed", "value": 1.0, "of": "beam_and_field"}}}), gridded)


def test_a_mapping_that_is_no_setup_is_told_what_it_lacks(gridded, tmp_path):
    gridding.write(tmp_path / "grid.zarr", gridded)
    whole = setup_of() | {"grid": str(tmp_path / "grid.zarr")}
    for setup, missing in (
        ({**GALAXY, "grid": {"n_pix": 40}}, "galaxy, fitting, mass_model"),
        ({key: value for key, value in whole.items() if key != "deprojection"}, "deprojection"),
        (whole | {"mass_model": "mge"}, "mge_table"),
        (whole | {"grid": {"n_pix": 40}}, "the path of grid.zarr under grid"),
    ):
        with pytest.raises(InputError, match=f"the mapping lacks {missing}; give the folder of a fit"):
            assembly.log_likelihood(setup)
    assert assembly.log_likelihood(whole).names


def test_vectors_are_taken_one_after_the_other(posterior, truth):
    x = torch.stack([truth, truth * 1.001]).requires_grad_()
    found = posterior(x)
    assert found.tolist() == [float(posterior(vector)) for vector in x.detach()]
    assert posterior(x.detach()[:, None]).tolist() == [[value] for value in found.tolist()]
    found[1].backward()
    assert not x.grad[0].any()
    assert bool(x.grad[1].any())


def test_centroids_that_are_not_there_are_refused(gridded):
    setup = setup_of(galaxy={"model": {**GALAXY["model"], "centroids": True}})
    assert assembly.assemble(setup, gridded).n
    with pytest.raises(InputError, match=r"model\.centroids is true, and these visibilities came gridded"):
        assembly.assemble(setup, replace(gridded, metadata=gridded.metadata | {"grid": {"n_pix": 40}}))


def test_priors_of_a_galaxy_come_first(gridded):
    found = assembly.assemble(setup_of(galaxy={"priors": {"inclination": {"kind": "fixed", "value": 60.0}}}), gridded)
    assert "inclination" not in found.names
    assert found.parameters.fixed["inclination"] == 60.0


@pytest.mark.parametrize("mass_model", ["nuker", "mge", "mge_without_innermost", "sersic", "core_sersic"])
def test_every_mass_model_takes_the_priors_of_the_default_configuration(mass_model, gridded, tmp_path):
    table = tmp_path / "mge.csv"
    table.write_text("surface_brightness,sigma_arcsec,q_obs\n5000,0.5,0.8\n500,3.0,0.8\n")
    default = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["fitting"]
    found = assembly.assemble(setup_of(mass_model, fitting=default) | {"mge_table": str(table)}, gridded)
    assert bool(torch.isfinite(found.log_prior(torch.zeros(found.n, dtype=torch.float64))))


def test_priors_of_a_mass_model_and_the_likelihood_of_a_galaxy_replace_the_common_ones(gridded):
    narrow = {"nuker": {"alpha": {"kind": "log_uniform", "low": 1.0, "high": 2.0}}}
    found = assembly.assemble(setup_of(galaxy={"likelihood": "gaussian"}, fitting={"model_priors": narrow}), gridded)
    assert found.parameters.ranges["alpha"] == (1.0, 2.0)
    same = assembly.assemble(setup_of(fitting={"likelihood": "gaussian", "model_priors": narrow}), gridded)
    z = torch.zeros(found.n, dtype=torch.float64)
    assert float(found.log_likelihood(z)) == float(same.log_likelihood(z))


def test_flux_that_short_baselines_do_not_show_is_said():
    faint = observe(signal_to_noise=60.0, truth={**TRUTH, "flux": 10.0})
    faint.mean[faint.mask] *= -1
    with pytest.raises(InputError, match=r"priors\.flux refers to the flux on the shortest baselines, which is -"):
        assembly.assemble(setup_of(), faint)


def test_gas_mass_and_thickness_bring_their_parameters(gridded):
    priors = {
        "thickness": {"kind": "log_uniform", "low": 0.001, "high": 1.0},
        "log_gas_mass": {"kind": "uniform", "low": 5.0, "high": 11.0},
    }
    model = {**GALAXY["model"], "thick": True, "gas_mass": True}
    found = assembly.assemble(setup_of(galaxy={"model": model, "priors": priors}), gridded)
    assert {"thickness", "log_gas_mass"} <= set(found.names)
    x = torch.tensor([{**TRUTH, "thickness": 0.05, "log_gas_mass": 8.0}[name] for name in found.names], dtype=torch.float64)
    assert bool(torch.isfinite(found(x)))
