"""Verbs that measure and compare runs: ``evaluate``, ``compare`` and ``sweep``."""
