"""Verbs on the latent space of a run: ``interpolate``, ``traverse``, ``neighbours``, ``map`` and what changes codes."""
