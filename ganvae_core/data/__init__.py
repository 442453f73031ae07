"""Data as a model sees it: what a source holds, how it is divided, coded, ordered and read in batches."""
