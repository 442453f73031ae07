"""A plugin brings its own kind of data: it is trained on, drawn, sampled and reconstructed like any other."""

from __future__ import annotations

import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Refused, Say, size_of, train

import ganvae_core as gv
from ganvae_core.plugins import installed_plugins

PLUGIN = """
from ganvae_core.plugins import ComponentSpec, hookimpl

ganvae_api = 1

@hookimpl
def ganvae_components():
    return [
        ComponentSpec("source", "clips", "x_sound.clips:Clips", "sound files", ("*/**/*.clip",)),
        ComponentSpec("generator", "steps", "x_sound.steps:Steps", "a line that is drawn in steps"),
        ComponentSpec("view", "clip", "x_sound.view:AudioView", "waveforms, and folders of .wav files"),
    ]
"""
CLIPS = '''
import wave
from pathlib import Path

import numpy as np

import ganvae_core as gv


class Clips(gv.Source):
    """Sound files of one length, in 16 bits.

    Args:
        path: a folder of .clip files.
    """

    def __init__(self, *, path: str):
        clips = []
        for file in sorted(Path(path).glob("**/*.clip")):
            with wave.open(str(file)) as sound:
                clips.append(np.frombuffer(sound.readframes(sound.getnframes()), np.int16))
        self.x = np.stack(clips)

    @property
    def spec(self):
        units = gv.Units((0.0,), (32768.0,), "int16")
        return gv.DataSpec(self.x.shape[1:], (-1.0, 1.0), "clip", None, len(self.x), units=units)

    def __len__(self):
        return len(self.x)

    def rows(self, indices):
        return gv.Rows(self.x[indices])

    def labels(self, indices=None):
        return None
'''
STEPS = '''
import torch

import ganvae_core as gv


class Steps(gv.Generator):
    """As many steps as are asked for, each of the same length.

    Args:
        steps: their number.
    """

    sampling_options = ("steps",)

    def __init__(self, latent_shape, raw_shape, *, steps: int = 2):
        super().__init__()
        self.raw_shape, self.steps = raw_shape, steps
        self.length = torch.nn.Parameter(torch.ones(raw_shape))

    def forward(self, z, condition=None):
        return (z.flatten(1).mean(1)[:, None] + 1) * self.length * self.steps
'''
VIEW = '''
import wave

import numpy as np

import ganvae_core as gv

RATE = 8000


class AudioView(gv.View):
    """Sounds of one channel."""

    noun = "clips"
    endings = (".png", "", ".wav")
    as_grid = True

    def fits(self, spec):
        return len(spec.shape) == 1

    def describe(self, spec):
        return f"{spec.shape[0] / RATE:g} s"

    def draw(self, drawing, spec, path):
        from matplotlib.figure import Figure

        figure = Figure()
        axes = figure.subplots()
        if drawing.originals is not None:
            axes.plot(drawing.originals.T, color="0.7")
        axes.plot(drawing.rows.T)
        figure.savefig(path)

    def write(self, rows, spec, path, further):
        if path.suffix:
            self.write_clip(path, rows.ravel())  # one after the other
        else:
            path.mkdir()
            for number, row in enumerate(rows):
                self.write_clip(path / f"{number:05d}.wav", row)

    def write_clip(self, path, row):
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            sound.writeframes(np.rint(row).clip(-32768, 32767).astype(np.int16).tobytes())
'''
SAMPLES = 40


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a plugin of sounds installed, and with a folder of sounds."""
    folder = tmp_path_factory.mktemp("sound")
    files = {"__init__": "", "plugin": PLUGIN, "clips": CLIPS, "steps": STEPS, "view": VIEW}
    (folder / "site" / "x_sound").mkdir(parents=True)
    for name, text in files.items():
        (folder / "site" / "x_sound" / f"{name}.py").write_text(text)
    info = folder / "site" / "x_sound-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x-sound\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ganvae]\nsound = x_sound.plugin\n")
    (folder / "clips").mkdir()
    for number in range(30):
        tone = 20_000 * np.sin(np.arange(SAMPLES) * (number + 1) / 30)
        with wave.open(str(folder / "clips" / f"{number:02d}.clip"), "wb") as clip:
            clip.setnchannels(1)
            clip.setsampwidth(2)
            clip.setframerate(8000)
            clip.writeframes(tone.astype(np.int16).tobytes())
    sys.path.insert(0, str(folder / "site"))
    installed_plugins.cache_clear()
    yield folder
    sys.path.remove(str(folder / "site"))
    installed_plugins.cache_clear()


@pytest.fixture(scope="module")
def run(sound: Path) -> Path:
    return train(sound / "run", "--plugin", "vae", "--data", f"{sound / 'clips'}/", "generator.hidden=[4]",
                 "encoder.hidden=[4]")  # fmt: skip


def frames(path: Path) -> np.ndarray:
    with wave.open(str(path)) as clip:
        return np.frombuffer(clip.readframes(clip.getnframes()), np.int16)


def test_pictures_are_drawn_while_training(run: Path) -> None:
    for kind in ("samples", "reconstructions"):
        assert size_of(run / kind / "step-000002.png") == (640, 480)


def test_samples_are_written_by_the_view(run: Path, folder: Path, done: Say) -> None:
    assert done("sample", run, "-n", "3", "-o", "made").out == "made\n"
    files = sorted(Path("made").iterdir())
    assert [file.name for file in files] == ["00000.wav", "00001.wav", "00002.wav"]
    samples = gv.load(run).sample(3)
    assert (samples.shape, samples.dtype) == ((3, SAMPLES), np.int16)
    assert np.array_equal(np.stack([frames(file) for file in files]), samples)
    done("sample", run, "-n", "3", "-o", "made.wav")
    assert np.array_equal(frames(Path("made.wav")), samples.ravel())
    done("sample", run, "-n", "3", "-o", "made.npy")
    assert np.array_equal(np.load("made.npy"), samples)
    assert done("sample", run, "-n", "3", "-o", "made.png").out == "made.png\n"
    assert size_of("made.png") == (640, 480)


def test_reconstructions_are_too(run: Path, folder: Path, done: Say) -> None:
    done("reconstruct", run, "-n", "2", "-o", "again")
    assert len(list(Path("again").iterdir())) == 2
    done("reconstruct", run, "-n", "2", "-o", "again.npz")
    with np.load("again.npz") as arrays:
        originals, rows = arrays["originals"], arrays["rows"]
    assert np.array_equal(originals, gv.load(run).open_data().source.rows(rows).x)


def test_the_view_says_what_its_rows_are_called(run: Path, sound: Path, folder: Path, done: Say) -> None:
    assert "30 clips of 0.005 s\n" in done("data", f"{sound / 'clips'}/").out
    assert done("data", f"{sound / 'clips'}/", "-o", "clips.png").code == 0
    assert size_of("clips.png") == (640, 480)
    assert "27 clips of 0.005 s to learn from" in done("show", run).out


def test_an_ending_that_the_view_does_not_write_is_refused(run: Path, folder: Path, refused: Refused) -> None:
    said = refused("sample", run, "-o", "made.csv")
    assert "endings: .png, .wav, .npz, .npy, or a folder" in said


def test_an_option_that_may_change_after_training_is_given_to_sample(
    sound: Path, folder: Path, done: Say, refused: Refused
) -> None:
    train(folder / "run", "--plugin", "vae", "--data", f"{sound / 'clips'}/", "generator=sound/steps",
          "encoder.hidden=[4]")  # fmt: skip
    done("sample", "run", "-n", "2", "-o", "few.npy")
    done("sample", "run", "generator.steps=6", "-n", "2", "-o", "many.npy")
    assert not np.array_equal(np.load("few.npy"), np.load("many.npy"))
    assert np.array_equal(np.load("many.npy"), gv.load("run", overrides={"generator.steps": 6}).sample(2))
    assert "encoder.hidden cannot be changed after training" in refused("sample", "run", "encoder.hidden=[5]")


def test_a_modality_that_no_plugin_shows_is_named(folder: Path) -> None:
    class Smells(gv.Source):
        """Rows of a modality without a view."""

        spec = gv.DataSpec((3,), None, "smell", None, 40)

        def __len__(self) -> int:
            return 40

        def rows(self, indices: np.ndarray | slice) -> gv.Rows:
            return gv.Rows(np.zeros((40, 3), np.float32)[indices])

        def labels(self, indices: np.ndarray | slice | None = None) -> None:
            return None

    with pytest.raises(gv.ConfigurationError, match="there is no view 'smell'"):
        gv.train("vae", data=Smells(), steps=1, out="run")
    assert not Path("run").exists()
    Smells.spec = gv.DataSpec((3,), None, "image", None, 40)
    with pytest.raises(gv.DataError, match=r"rows of shape \(3,\) cannot be shown as modality 'image'"):
        gv.train("vae", data=Smells(), steps=1, out="run")
