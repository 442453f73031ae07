"""Folders of sounds as waveforms and spectrograms, the way back, and the files and pictures of the view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from ganvae_audio.networks import ConvolutionalCritic, shuffled_phases
from ganvae_audio.sounds import Audio
from ganvae_audio.spectrogram import Spectrogram
from ganvae_audio.view import AudioView
from PIL import Image
from scipy.signal import resample_poly

import ganvae_core as gv
from ganvae_core.plugins import installed_plugins

RATE = 8000


def tone(hertz: float, seconds: float = 0.1, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def pitch(wave: np.ndarray, rate: int = RATE) -> float:
    """The loudest frequency of a waveform, in Hz."""
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate / wave.shape[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sub-folders of three tones each, in two formats."""
    for number in range(6):
        place = tmp_path / "sounds" / ("low", "high")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{number}.{('wav', 'flac')[number // 3]}"
        soundfile.write(file, tone((400, 2000)[number % 2]), RATE)
    return tmp_path / "sounds"


def test_sounds_are_16_bits_of_one_length_with_labels_of_their_folders(folder: Path) -> None:
    source = Audio(path=str(folder))
    assert source.spec.shape == (1, 800)
    assert source.spec.classes == ("high", "low")
    rows = source.rows(slice(None))
    assert rows.x.dtype == np.int16
    assert rows.labels is not None
    assert rows.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [round(pitch(x[0])) for x in rows.x] == [2000] * 3 + [400] * 3
    assert np.abs(rows.x).max() == 32767  # each is scaled to full amplitude
    assert np.abs(Audio(path=str(folder), normalise=False).rows(slice(None)).x).max() == 16384


def test_sounds_are_resampled_cut_and_padded_and_it_is_said(folder: Path) -> None:
    soundfile.write(folder / "low" / "8.wav", np.stack([tone(400, 0.3, 16000)] * 2, 1), 16000)
    source = Audio(path=str(folder), seconds=0.2)
    last = source.rows(np.array([6])).x[0, 0]
    assert source.spec.shape == (1, 1600)
    assert pitch(last) == 400
    assert not source.rows(np.array([0])).x[0, 0, 800:].any()
    notes = " · ".join(source.notes)
    assert "1 of 7 sounds are resampled to 8,000 Hz" in notes
    assert "the channels of 1 of 7 sounds are averaged" in notes
    assert "1 of 7 sounds are longer than 0.2 s and cut: data.seconds=0.3 keeps" in notes


@pytest.mark.parametrize("representation", ["waveform", "mel"])
def test_what_follows_a_sound_is_silence_or_missing(folder: Path, representation: str) -> None:
    options = {"path": str(folder), "seconds": 0.2, "representation": representation}
    assert Audio(**options).rows(slice(None)).mask is None
    rows = Audio(**options, padding="missing").rows(slice(None))
    assert rows.mask is not None
    assert rows.mask.shape == rows.x.shape
    assert rows.mask.mean() == pytest.approx(0.5, abs=0.03)


def test_labels_of_names_are_hinted_at_and_read(tmp_path: Path) -> None:
    for number in range(8):
        soundfile.write(tmp_path / f"{'ab'[number % 2]}_{number}.wav", tone(500), RATE)
    assert "data.label_pattern='{label}_*'" in Audio(path=str(tmp_path)).notes[0]
    assert Audio(path=str(tmp_path), label_pattern="{label}_*").spec.classes == ("a", "b")
    with pytest.raises(gv.DataError, match=r"does not match the name of .*a_0\.wav"):
        Audio(path=str(tmp_path), label_pattern="{label}-*")


def test_damaged_empty_and_silent_files_are_named_or_left_out(folder: Path) -> None:
    (folder / "low" / "cut.wav").write_bytes(b"RIFF1234WAVEgarbage")
    (folder / "low" / "none.wav").touch()
    soundfile.write(folder / "high" / "silent.wav", np.zeros(100), RATE)
    with pytest.raises(
        gv.DataError, match=r"silent\.wav is not a sound that can be read: it is silent"
    ) as error:
        Audio(path=str(folder))
    assert "3 of 9 files are like this" in error.value.hints
    source = Audio(path=str(folder), skip_corrupt=True)
    assert len(source) == 6
    assert source.notes[0].startswith("3 of 9 files are left out")
    (folder / "nothing").mkdir()
    with pytest.raises(gv.DataError, match="there is no sound under"):
        Audio(path=str(folder / "nothing"))


def test_of_a_long_recording_its_beginning_is_read_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = folder / "low" / "long.wav"
    wave = np.random.default_rng(0).uniform(-0.9, 0.9, 40 * 44_100)
    soundfile.write(long, wave, 44_100)
    frames: list[int] = []
    read = soundfile.read

    def counted(*args: object, **options: object) -> object:
        found = read(*args, **options)
        frames.append(len(found[0]))
        return found

    monkeypatch.setattr(soundfile, "read", counted)
    source = Audio(path=str(folder), seconds=0.5, normalise=False)
    assert max(frames) < 44_100
    assert "1 of 7 sounds are longer than 0.5 s and cut: data.seconds=40 keeps" in " · ".join(source.notes)
    whole = resample_poly(wave[: 4 * 44_100], 80, 441)[:4_000]
    assert np.abs(source.rows(np.array([6])).x[0, 0] - 32_768 * whole).max() < 2
    soundfile.write(long, np.append(np.zeros(44_100), wave), 44_100)
    with pytest.raises(gv.DataError, match=r"it is silent in its first 0\.5 s"):
        Audio(path=str(folder), seconds=0.5)


@pytest.mark.parametrize("option", ["seconds", "sample_rate", "mels"])
def test_sizes_of_nothing_are_refused(option: str) -> None:
    options: dict[str, Any] = {option: 0}
    with pytest.raises(gv.ConfigurationError, match="is not possible"):
        Audio(**options)


def test_other_sounds_are_read_as_a_model_takes_them(folder: Path) -> None:
    spec = Audio(path=str(folder), representation="mel").spec
    soundfile.write(folder / "one.wav", tone(400, 0.4, 16000), 16000)
    other = Audio(spec, path=str(folder / "one.wav"))
    assert other.spec.shape == spec.shape
    assert other.spec.details == spec.details


def test_sounds_and_photographs_are_told_apart_by_content(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "one.jpg")
    reading = installed_plugins().sources_reading
    assert reading(str(folder)) == ["audio-vae/audio"]
    assert reading(str(folder), "audio-vae") == ["audio-vae/audio"]
    assert reading(str(tmp_path / "photos")) == ["builtin/folder"]
    assert reading(str(tmp_path / "photos"), "audio-vae") == ["builtin/folder"]


def test_a_spectrogram_becomes_a_sound_of_the_same_spectrogram_and_pitch() -> None:
    spectrogram = Spectrogram(RATE, 2048, 64)
    waves = np.stack([tone(440, 2048 / RATE), tone(1500, 2048 / RATE)]).astype(np.float32)
    levels = spectrogram.of(waves)
    assert levels.shape == (2, 64, 32)
    made = spectrogram.waveforms(levels)
    assert [pitch(wave) for wave in made] == pytest.approx([440, 1500], abs=20)
    inner = np.s_[:, :, 2:-2]
    loud = levels[inner] > 128
    assert np.abs(spectrogram.of(made)[inner].astype(int) - levels[inner])[loud].mean() < 6  # 1.4 dB
    assert not spectrogram.waveforms(np.zeros_like(levels)).any()
    loud = np.abs(spectrogram.waveforms(np.full_like(levels, 255)))
    assert ((loud >= 1).sum(1) == 1).all()  # scaled, not cut
    np.testing.assert_allclose(spectrogram._inverse(spectrogram._transform(waves)), waves, atol=1e-5)


@pytest.mark.parametrize("representation", ["waveform", "mel"])
def test_the_view_writes_sounds_that_are_read_back(folder: Path, tmp_path: Path, representation: str) -> None:
    source = Audio(path=str(folder), representation=representation)
    rows, view = source.rows(slice(None)).x, AudioView()
    assert view.describe(source.spec) in ("0.1 s at 8,000 Hz", "0.104 s at 8,000 Hz")
    view.write(rows.astype(float), source.spec, tmp_path / "made", {})
    again = Audio(path=str(tmp_path / "made")).rows(slice(None)).x[:, 0]
    assert [pitch(wave) for wave in again] == pytest.approx([2000] * 3 + [400] * 3, abs=20)
    view.write(rows, source.spec, tmp_path / "all.flac", {})
    assert soundfile.info(tmp_path / "all.flac").frames == 6 * (source.spec.details["length"] + RATE // 10)
    view.draw(gv.Drawing(rows, originals=rows), source.spec, tmp_path / "pairs.png")
    with Image.open(tmp_path / "pairs.png") as picture:
        assert picture.width > picture.height
    view.draw(gv.Drawing(rows[:1], "inversions", originals=rows[:1]), source.spec, tmp_path / "one.png")
    with Image.open(
        tmp_path / "one.png"
    ) as picture:  # whose title takes several lines, and does not reach the edges
        sides = np.asarray(picture.convert("L"))[:40, [0, 1, -2, -1]]
    assert (sides == 255).all()


def test_phases_are_shuffled_while_training_alone() -> None:
    x = torch.arange(12.0).reshape(1, 1, 12).expand(64, 2, 12)
    torch.manual_seed(0)
    moved = shuffled_phases(x, 2)
    starts = {tuple(row[0, :3].tolist()) for row in moved}
    assert starts == {(2, 1, 0), (1, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4)}
    critic = ConvolutionalCritic(gv.DataSpec((1, 600), (-1.0, 1.0)), filters=2, phase_shuffle=2)
    sound = torch.randn(4, 1, 600)
    assert not torch.equal(critic(sound), critic(sound))
    critic.eval()
    assert torch.equal(critic(sound), critic(sound))
