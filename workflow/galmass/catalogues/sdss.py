"""The catalogue of the Main Galaxy Sample from what SkyServer, WISE and the NYU-VAGC gave: columns, cuts, classes, split."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from galmass.catalogues import nyu_vagc, photometry, wise
from galmass.catalogues.main_sample import measured
from galmass.catalogues.schema import BANDS, columns_of
from galmass.catalogues.selection import split
from galmass.errors import InputError

NEW_EXTINCTION = 13  # the data release that changed the coefficients


def reddening(extinction, release: int) -> np.ndarray:
    """E(B-V) (n_galaxy,) [mag] from A_u ... A_z of a data release.

    Raises
    ------
    InputError
        When A_u / A_r is not that of the release: the table comes from another one.
    """
    ebv, convention = photometry.reddening(extinction)
    expected = "DR13 and later" if release >= NEW_EXTINCTION else "before DR13"
    if convention != expected:
        raise InputError(f"the extinctions are those of releases {convention}, but samples.<name>.query.release is {release}; delete the answers of SkyServer")
    return ebv


def galaxy_class(ssfr, options: Mapping) -> np.ndarray:
    """Class (n_galaxy,) of str from log10 sSFR [1/yr]: star-forming above ``ssfr_star_forming``, passive below ``ssfr_passive``.

    Between them, and where it is not known, 'other'. Salim 2014 (Serb. Astron. J. 189, 1) has the green valley between -11.8 and -10.8.
    """
    ssfr = np.asarray(ssfr, float)
    return np.select([ssfr > options["ssfr_star_forming"], ssfr < options["ssfr_passive"]], ["star-forming", "passive"], "other")


def build(raw: pd.DataFrame, selected: pd.DataFrame, matches: pd.DataFrame, vagc: pd.DataFrame | None, options: Mapping) -> tuple[pd.DataFrame, dict]:
    """The catalogue and its notes.

    Parameters
    ----------
    raw : DataFrame
        Columns of ``sql/galaxies.sql``.
    selected : DataFrame
        As `galmass.catalogues.main_sample.select` gives it.
    matches : DataFrame
        `galmass.catalogues.wise.MATCH_COLUMNS`, rows of `raw`.
    vagc : DataFrame, or None
        As `galmass.catalogues.nyu_vagc.read` gives it; None leaves the Sersic indices NaN.
    options : mapping
        The sample's section of the configuration: ``query.release``, ``wise.radius_arcsec``, ``classes``, ``split``, ``seed``.
    """
    rows = selected["row"].to_numpy()
    frame = measured(raw.iloc[rows].reset_index(drop=True))
    sources, counts = wise.nearest(matches, len(raw), options["wise"]["radius_arcsec"])
    frame = pd.concat([frame, wise.photometry(sources).iloc[rows].reset_index(drop=True)], axis=1)
    indices, unmatched = _sersic_indices(frame, vagc)
    frame = pd.concat([frame, indices], axis=1)
    frame["ebv"] = reddening(raw.iloc[rows][[f"extinction_{b}" for b in BANDS]].to_numpy(float), options["query"]["release"])
    frame["galaxy_class"] = galaxy_class(frame["ssfr"], options["classes"])
    frame["split"] = split(len(frame), options["split"], np.random.default_rng([options["seed"], 1]))  # not the numbers that chose the galaxies
    notes = {"mass": _mass_notes(options["query"]["release"]), "wise": counts, "wise_bands": wise.limits_and_detections(frame)}
    return frame[list(columns_of("sdss_mgs"))], notes | {"without Sersic fit": unmatched}


def _sersic_indices(frame: pd.DataFrame, vagc: pd.DataFrame | None) -> tuple[pd.DataFrame, int]:
    if vagc is None:
        return pd.DataFrame({f"sersic_n_{b}": np.full(len(frame), np.nan) for b in BANDS}), len(frame)
    return nyu_vagc.match(frame, vagc)


def _mass_notes(release: int) -> str:
    return (
        f"MPA-JHU mass (galSpecExtra.lgm_tot_p50 of SDSS DR{release}): median of the total stellar mass from fits to the ugriz photometry "
        "(Kauffmann et al. 2003, Salim et al. 2007), Kroupa 2001 IMF; its error is half of the 16-84 % interval. "
        "Its input is the photometry that the network sees, and the redshift."
    )
