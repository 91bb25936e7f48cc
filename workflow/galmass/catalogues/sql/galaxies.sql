-- What is taken of each galaxy: spectrum, MPA-JHU mass and star formation rate, place on the frames, photometry.
SELECT
  s.specObjID AS specobjid, s.plate, s.mjd, s.fiberID AS fiberid, s.z, s.zErr, s.zWarning,
  e.bptclass, e.lgm_tot_p2p5, e.lgm_tot_p16, e.lgm_tot_p50, e.lgm_tot_p84, e.lgm_tot_p97p5,
  e.sfr_tot_p16, e.sfr_tot_p50, e.sfr_tot_p84, e.specsfr_tot_p16, e.specsfr_tot_p50, e.specsfr_tot_p84,
  p.objID AS objid, p.ra, p.dec, p.clean, p.run, p.rerun, p.camcol, p.field,
  p.rowc_u, p.rowc_g, p.rowc_r, p.rowc_i, p.rowc_z,
  p.colc_u, p.colc_g, p.colc_r, p.colc_i, p.colc_z,
  p.petroFlux_u, p.petroFlux_g, p.petroFlux_r, p.petroFlux_i, p.petroFlux_z,
  p.petroFluxIvar_u, p.petroFluxIvar_g, p.petroFluxIvar_r, p.petroFluxIvar_i, p.petroFluxIvar_z,
  p.modelFlux_u, p.modelFlux_g, p.modelFlux_r, p.modelFlux_i, p.modelFlux_z,
  p.modelFluxIvar_u, p.modelFluxIvar_g, p.modelFluxIvar_r, p.modelFluxIvar_i, p.modelFluxIvar_z,
  p.petroR50_u, p.petroR50_g, p.petroR50_r, p.petroR50_i, p.petroR50_z,
  p.petroR90_u, p.petroR90_g, p.petroR90_r, p.petroR90_i, p.petroR90_z,
  p.expAB_u, p.expAB_g, p.expAB_r, p.expAB_i, p.expAB_z,
  p.extinction_u, p.extinction_g, p.extinction_r, p.extinction_i, p.extinction_z
