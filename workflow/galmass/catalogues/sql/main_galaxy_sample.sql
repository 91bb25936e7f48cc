-- The Main Galaxy Sample with a spectrum and an MPA-JHU mass, as Zhang et al. 2025 take it after Pasquet et al. 2019:
-- Petrosian r, corrected for extinction, and redshift below the limits of the configuration.
-- SpecObj holds one spectrum of each object; legacy_target1 448 = GALAXY (64) + GALAXY_BIG (128) + GALAXY_BRIGHT_CORE (256).
FROM SpecObj AS s
  JOIN PhotoObjAll AS p ON p.objID = s.bestObjID
  JOIN galSpecExtra AS e ON e.specObjID = s.specObjID
  {joins}
WHERE s.class = 'GALAXY'
  AND (s.legacy_target1 & 448) > 0
  AND s.z > {redshift_min} AND s.z < {redshift_max}
  AND p.petroMag_r > 0 AND p.petroMag_r - p.extinction_r < {petro_r_max}
  {sky}
