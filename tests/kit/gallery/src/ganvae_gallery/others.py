"""Sources of sounds and their view, a schedule, a metric, a callback that stops a run, and one that keeps a diary."""

import numpy as np
from PIL import Image

from ganvae_core import Callback, DataSpec, Figure, Metric, Rows, Schedule, Source, Units, View

UNITS = Units((0.0,), (32767.0,), "int16")


class Tones(Source):
    """Sines of random pitch, as 16-bit sound, told their pitch.

    Args:
        length: samples in each.
        count: of them.
    """

    def __init__(self, *, length: int, count: int = 50):
        pitch = np.random.default_rng(0).uniform(1, 4, count)
        self._pitch = pitch[:, None].astype(np.float32)
        wave = np.sin(np.arange(length) / length * 2 * np.pi * pitch[:, None])
        self._x = np.rint(wave * 32767).astype(np.int16)[:, None]
        self._length = length

    @property
    def spec(self):
        return DataSpec((1, self._length), (-1.0, 1.0), "raw", (1,), len(self._x), units=UNITS)

    def __len__(self):
        return len(self._x)

    def rows(self, indices):
        return Rows(self._x[indices], self._pitch[indices])

    def labels(self, indices=None):
        return self._pitch if indices is None else self._pitch[indices]


class Error(Metric):
    """The largest error of a reconstruction."""

    needs = frozenset({"encoder"})
    figures = (Figure("largest", "largest error", better="lower"),)

    def measure(self, subject):
        errors = [(subject.reconstructions(batch) - batch.x).abs().max() for batch in subject.held_out()]
        return {"largest": float(max(errors))}


class Patience(Callback):
    """Stops a run when its loss has not fallen for some logging intervals.

    Args:
        intervals: that it waits.
    """

    def __init__(self, *, intervals: int = 1):
        self.intervals, self.best, self.waited = intervals, None, 0

    def on_step(self, training, record):
        loss = next((value for name, value in record.items() if name.endswith("/loss")), 0.0)
        if self.best is None or loss < self.best:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited >= self.intervals:
            training.stop("that is enough")

    def state_dict(self):
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        self.best, self.waited = state["best"], state["waited"]


class Recording(Source):
    """Sounds from a file of nothing but 16-bit numbers.

    Args:
        path: of the file.
        length: samples in each.
    """

    def __init__(self, *, path: str, length: int = 64):
        self._x = np.fromfile(path, np.int16).reshape(-1, 1, length)

    @property
    def spec(self):
        return DataSpec(self._x.shape[1:], (-1.0, 1.0), "raw", None, len(self._x), units=UNITS)

    def __len__(self):
        return len(self._x)

    def rows(self, indices):
        return Rows(self._x[indices])

    def labels(self, indices=None):
        return None


class Halving(Schedule):
    """One, which is halved again and again.

    Args:
        samples: rows from one half to the next.
    """

    def __init__(self, *, samples: int = 1000):
        self.samples = samples

    def __call__(self, samples_seen, total_samples=None):
        return 0.5 ** (samples_seen // self.samples)


class Raw(View):
    """Sounds as files of nothing but 16-bit numbers."""

    noun = "sounds"
    endings = (".raw", ".png")

    def fits(self, spec):
        return len(spec.shape) == 2 and spec.range == (-1.0, 1.0)

    def draw(self, drawing, spec, path):
        levels = drawing.rows.reshape(len(drawing.rows), -1) / spec.units.scale
        Image.fromarray(np.uint8(np.clip(levels + 1, 0, 2) * 127)).save(path, format="PNG")

    def write(self, rows, spec, path, further):
        path.write_bytes(np.rint(rows / np.array(spec.units.scale) * 32767).astype(np.int16).tobytes())


class Diary(Callback):
    """Writes down what it is told, the beginnings and ends of fits as well, of which a break makes more."""

    def __init__(self):
        self.entries = []

    def on_start(self, training):
        self.entries.append(f"start at {training.step}")

    def on_step(self, training, record):
        self.entries.append(f"step {record['step']}")

    def on_checkpoint(self, training):
        self.entries.append(f"saved {training.saved_step}")

    def on_end(self, training):
        self.entries.append(f"end at {training.step}")

    def state_dict(self):
        return {"entries": self.entries}

    def load_state_dict(self, state):
        self.entries = list(state["entries"])
