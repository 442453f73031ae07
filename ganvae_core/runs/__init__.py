"""Runs: their folder and what lies in it, how one is trained, watched, gone on with and loaded again."""
