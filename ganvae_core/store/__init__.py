"""What is written to disk: whole files, checkpoints, the run directory, and who may write there."""
