"""Constants in the units of the dynamics wing: pc, M_sun, km/s."""

import math

G = 4.30092e-3  # gravitational constant [pc M_sun^-1 (km/s)^2]
LIGHT = 299792.458  # speed of light [km/s]
ARCSEC = math.pi / 648000  # [rad]
PC_PER_ARCSEC = math.pi / 0.648  # at 1 Mpc
