"""posterior.nc: draws of a posterior and of its prior as netCDF groups that ``arviz.from_netcdf`` reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galmass import stores
from galmass.errors import InputError

ENGINE = "h5netcdf"


@dataclass(frozen=True)
class Samples:
    """Draws in physical units.

    Attributes
    ----------
    names : list of str
    units : dict of name -> str
    chains : (n_chain, n_draw, n) array
        Angles continuous about their mean direction, see `fit.fit`.
    prior : (n_prior, n) array
    log_prob : (n_chain, n_draw) array
        Logarithm of the posterior density of the coordinates, up to the evidence.
    attributes : dict
        Galaxy, mass model, configuration, code, convergence.
    """

    names: list
    units: dict
    chains: np.ndarray
    prior: np.ndarray
    log_prob: np.ndarray
    attributes: dict

    @property
    def flat(self) -> np.ndarray:
        """(n_chain * n_draw, n)."""
        return self.chains.reshape(-1, len(self.names))

    def beside(self, known: Mapping) -> list:
        """Values of `known` (name -> number) in the order of `names`, None where there is none; angles as near the draws as whole turns bring them."""
        middle = dict(zip(self.names, np.median(self.flat, 0), strict=True))
        values = {name: known.get(name) for name in self.names}
        turned = {name: 360.0 * round((middle[name] - v) / 360.0) for name, v in values.items() if v is not None and self.units[name] == "deg"}
        return [v if v is None else v + turned.get(name, 0.0) for name, v in values.items()]


def write(path, samples: Samples) -> None:
    """Write the groups posterior, sample_stats and prior, units with every parameter."""
    import xarray

    def variables(draws):
        return {n: (("chain", "draw"), draws[..., i], {"units": samples.units[n]}) for i, n in enumerate(samples.names)}

    label = {"units": "", "long_name": "log density of the coordinates up to the evidence"}
    groups = {
        "posterior": variables(samples.chains),
        "sample_stats": {"lp": (("chain", "draw"), samples.log_prob, label)},
        "prior": variables(samples.prior[None]),
    }
    attributes = {key: value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True) for key, value in samples.attributes.items()}
    with stores.replacing(path) as part:
        for i, (name, content) in enumerate(groups.items()):
            shape = next(iter(content.values()))[1].shape
            data = xarray.Dataset(content, {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}, attributes if name == "posterior" else {})
            data.to_netcdf(part, mode="a" if i else "w", group=name, engine=ENGINE)


def read(path) -> Samples:
    """What `write` wrote.

    Raises
    ------
    InputError
        Where the file is no such file.
    """
    import xarray

    def group(name) -> Mapping:
        with xarray.open_dataset(path, group=name, engine=ENGINE) as data:
            return data.load()

    try:
        posterior, prior, stats = (group(name) for name in ("posterior", "prior", "sample_stats"))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is no readable posterior ({error}); delete it and run again") from error
    names = list(posterior.data_vars)
    units = {name: posterior[name].attrs["units"] for name in names}
    chains, draws = (np.stack([np.asarray(data[name]) for name in names], -1) for data in (posterior, prior))
    return Samples(names, units, chains, draws[0], np.asarray(stats["lp"]), dict(posterior.attrs))
