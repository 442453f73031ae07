"""What the audio-gan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "critic",
            "conv1d",
            "ganvae_audio.networks:ConvolutionalCritic",
            "strided convolutions over time to one logit, with phase shuffle (Donahue et al. 2019)",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec("audio-gan", "recipes/audio-gan.yaml", "a GAN of log-mel spectrograms of sounds"),
        RecipeSpec(
            "waveform",
            "recipes/audio-gan_waveform.yaml",
            "a GAN of waveforms (WaveGAN, Donahue et al. 2019)",
        ),
    ]
