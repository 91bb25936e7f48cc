"""Constants in the units of the dynamics wing: pc, M_sun, km/s."""

G = 4.30092e-3  # gravitational constant [pc M_sun^-1 (km/s)^2]
LIGHT = 299792.458  # speed of light [km/s]
