"""What the audio-vae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1

ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "source",
            "audio",
            "ganvae_audio.sounds:Audio",
            "a folder of .wav, .flac and other sounds, as waveforms or spectrograms (ganvae[audio])",
            reads=tuple(pattern for ending in ENDINGS for pattern in (f"*/**/*{ending}", f"*{ending}")),
        ),
        ComponentSpec(
            "view",
            "audio",
            "ganvae_audio.view:AudioView",
            "sounds: .wav and .flac files, waveforms and spectrograms",
        ),
        ComponentSpec(
            "generator",
            "conv1d",
            "ganvae_audio.networks:ConvolutionalGenerator",
            "transposed convolutions over time (Donahue et al. 2019)",
        ),
        ComponentSpec(
            "encoder",
            "conv1d",
            "ganvae_audio.networks:ConvolutionalEncoder",
            "strided convolutions over time to a posterior",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("audio-vae", "recipes/audio-vae.yaml", "a VAE of log-mel spectrograms of sounds")]
