"""Metrics of samples, likelihoods, reconstructions, codes and tables."""
