"""Mass models of one galaxy side by side: what each says of the black hole, and whether their velocities agree."""

import math

import numpy as np


def rows(models, summaries, checks, arrays, truth) -> list[dict]:
    """A row for every mass model.

    Parameters
    ----------
    models : list of str
    summaries, checks : list of mapping
        summary.json and check.json of each; its `gas_extent_arcsec` is the radius beyond which there is hardly any light.
    arrays : list of mapping
        `checks.curves` of each: radius [pc], velocity_total (7, n_radius) [km/s].
    truth : mapping
        Of a simulation, empty for a real galaxy.

    Returns
    -------
    list of dict
        `velocity_sigma`: largest difference between the median velocity and that of the first model, from half a beam to the extent of the
        gas, over the root of both variances; NaN, like `velocity_error_percent`, where no radius lies there.
    """
    found = []
    for model, summary, check, curve in zip(models, summaries, checks, arrays, strict=True):
        mass = _black_hole(summary)
        radius, reference = curve["radius"], arrays[0]["velocity_total"]
        extent = check["gas_extent_arcsec"] * check["beam_pc"] / check["beam_arcsec"]
        used = (radius > check["beam_pc"] / 2) & (radius < extent)
        enclosed = check["log_enclosed_mass_at_beam"]
        found.append(
            {
                "model": model,
                "log_m_bh": mass["median"],
                "low_68": mass["interval_68"][0],
                "high_68": mass["interval_68"][1],
                "low_95": mass["interval_95"][0],
                "high_95": mass["interval_95"][1],
                "truth": truth.get("log_m_bh", math.nan),
                "stars_at_beam": enclosed["stars"][3],
                "total_at_beam": enclosed["total"][3],
                "velocity_sigma": _largest_difference(curve["velocity_total"][:, used], reference[:, used]),
                "velocity_error_percent": _scatter(curve["velocity_total"][:, used]),
                "chi2_per_datum": check["chi2_per_datum"]["chi2"],
                "max_log_likelihood": summary["max_log_likelihood"],
                "r_hat": summary["r_hat"],
                "ess": summary["ess"],
                "converged": summary["converged"],
            }
        )
    return found


def shown(rows) -> list[dict]:
    """The rows for people: a dash where there is no number."""
    return [{key: "-" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()} for row in rows]


def headline(galaxy: str, model: str, summary, check, truth) -> dict:
    """One row of the table of black holes: summary.json and check.json of a fit, and the truth of a simulation (empty for a real galaxy)."""
    mass, fit = _black_hole(summary), check["chi2_per_datum"]
    return {
        "galaxy": galaxy,
        "mass model": model,
        "log10 M_BH [M_sun]": f"{mass['median']:.3f}",
        **{f"{percent} %": "{:.3f} - {:.3f}".format(*mass[key]) for percent, key in (("68", "interval_68"), ("95", "interval_95"))},
        "truth": f"{truth['log_m_bh']:.3f}" if truth else "not known",
        "chi^2 per datum": f"{fit['chi2']:.3f}",
        "of replicas, 95 %": f"{fit['low']:.3f} - {fit['high']:.3f}",
        "independent data": fit["n"],
        "R-hat": _of_chains(summary["r_hat"], ".4f"),
        "bulk ESS": _of_chains(summary["ess"], ".0f"),
        "converged": "yes" if summary["converged"] else "NO",
    }


def _black_hole(summary) -> dict:
    """Median and intervals of log10 M_BH; a fixed mass has no width."""
    fixed = summary["fixed"].get("log_m_bh")
    if fixed is None:
        return summary["parameters"]["log_m_bh"]
    return {"median": fixed, **{key: (fixed, fixed) for key in ("interval_68", "interval_95")}}


def _of_chains(value, form: str) -> str:
    """A number, or a dash for chains that never moved."""
    return format(value, form) if value is not None else "-"


def _largest_difference(velocity, reference) -> float:
    """Of medians, in units of the root of the sum of both variances; NaN where there is no radius."""
    spread = np.hypot(velocity[4] - velocity[2], reference[4] - reference[2]) / 2
    return float(np.max(abs(velocity[3] - reference[3]) / spread)) if velocity.shape[1] else math.nan


def _scatter(velocity) -> float:
    """Median half width of the 68 % interval [%]."""
    return float(np.median(50 * (velocity[4] - velocity[2]) / velocity[3])) if velocity.shape[1] else math.nan
