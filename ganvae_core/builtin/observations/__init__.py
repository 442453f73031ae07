"""Observations: distributions over data, parameterised by a generator's raw output."""
