"""The supervised contrastive model: modalities, networks, losses, training, calibration, metrics."""
