"""From a model of the data to a posterior: parameters and priors, likelihoods, optimisation, samplers."""
