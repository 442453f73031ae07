"""Generative models of sounds: waveforms and log-mel spectrograms."""
