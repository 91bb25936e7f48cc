-- The WISE All-Sky sources that the SDSS database has matched with the galaxies; a galaxy may have several.
SELECT
  p.objID AS objid, x.match_dist AS separation_arcsec,
  w.w1mpro, w.w1sigmpro, w.w2mpro, w.w2sigmpro, w.w3mpro, w.w3sigmpro
