"""A plugin like any other, shipped inside: MLP networks, basic priors, observations, data sources."""
