"""Folders of sounds, and notes that are computed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import numpy as np

from ganvae_audio.spectrogram import LEVELS, Spectrogram
from ganvae_audio.vae_plugin import ENDINGS
from ganvae_core import ConfigurationError, DataError, DataSpec, StoredSource, Units, in_range

PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "holdout"}
"""Sub-folders of these names alone are parts of a data set, and no classes."""
FULL = 32_768
"""The amplitude 1 in 16 bits."""
LONGEST_SECONDS = 2.0
"""The default length is not longer than this."""
USUAL_SHARE = 0.95
"""Sounds that the default length holds whole."""
LARGEST_GAIN = 100.0
FILTER_REACH = 10
"""Values on each side that the filter of SciPy's ``resample_poly`` takes, at the lower of the two rates."""
READERS = 4


@final
class Audio(StoredSource):
    """Sounds of one channel, rate and length, in 16 bits, or their log-mel spectrograms, in 8 bits.

    All .wav, .flac, .ogg, .mp3 and .aiff files under a folder, in the order of their paths, or one such file. Several
    channels are averaged. Sub-folders are labels; a single sub-folder is entered.

    Args:
        data: the specification of the data that a model was trained on, whose rate and length are taken over
        path: the folder, or a file; null: 500 short notes of four kinds, which are computed
        representation: ``waveform`` (1, values) in [-1, 1], or ``mel`` (bands, frames), which are turned back into
            sound by the algorithm of Griffin and Lim
        sample_rate: in Hz, to which sounds are resampled; by default that of most files
        seconds: to which sounds are cut or padded; by default as long as 95 % of them, and 2 at most
        padding: what follows the end of a shorter sound: ``silence``, which is learned, or ``missing``, which is masked
        mels: bands of a spectrogram
        normalise: scale each sound so that its highest amplitude is 1
        label_pattern: of the files' names, ``{label}_*`` for example: the label is what stands there
        skip_corrupt: leave out files that cannot be read, are empty or silent

    Raises:
        DataError: there are no sounds, a file cannot be read, or a name does not match the pattern.
    """

    def __init__(
        self,
        data: DataSpec | None = None,
        *,
        path: str | None = None,
        representation: Literal["waveform", "mel"] = "waveform",
        sample_rate: int | None = None,
        seconds: float | None = None,
        padding: Literal["silence", "missing"] = "silence",
        mels: int = 64,
        normalise: bool = True,
        label_pattern: str | None = None,
        skip_corrupt: bool = False,
    ) -> None:
        in_range("data.", least=1, mels=mels, sample_rate=sample_rate)
        in_range("data.", least=1e-3, seconds=seconds)
        if data is not None and "sample_rate" in data.details:  # rows for a model that was trained on such
            sample_rate, representation = data.details["sample_rate"], data.details["representation"]
            seconds, mels = data.details["length"] / sample_rate, data.details["mels"]
        notes: list[str] = []
        recordings: list[_Recording] = []
        if path is None:
            sounds, labels, rate = notes_of_four_kinds()
            if sample_rate not in (None, rate):
                raise ConfigurationError(f"data.sample_rate: the computed notes have {rate:,} Hz.")
            lengths = np.array([len(sound) for sound in sounds])
        else:
            files, root = _files(path)
            labels = _labels(files, root, label_pattern, notes, needed=data is None)
            recordings = _recordings(files)
            rates = [each.rate for each in recordings if not each.fault]
            rate = sample_rate or max(sorted(set(rates)), key=rates.count)
            lengths = np.array([-(-each.frames * rate // (each.rate or 1)) for each in recordings])
            sounds = []
        there = lengths[lengths > 0]
        usual = min(int(np.quantile(there, USUAL_SHARE, method="higher")), int(LONGEST_SECONDS * rate))
        length = usual if seconds is None else max(1, round(seconds * rate))
        spectrogram = Spectrogram(rate, length, mels)
        if representation == "mel":
            length = -(-length // spectrogram.hop) * spectrogram.hop
            spectrogram = Spectrogram(rate, length, mels)
        if recordings:
            sounds = _read(recordings, rate, length, skip_corrupt, notes)
            kept = [number for number, sound in enumerate(sounds) if len(sound)]
            sounds, lengths = [sounds[number] for number in kept], lengths[kept]
            read = np.array([len(sound) for sound in sounds])
            lengths = np.where(read < length, read, lengths)  # a file may end before its head says
            labels = None if labels is None else labels[kept]
        if (longer := int((lengths > length).sum())) and path is not None:
            notes.append(
                f"{longer:,} of {len(lengths):,} sounds are longer than {length / rate:.3g} s and cut:"
                f" data.seconds={lengths.max() / rate:.3g} keeps the longest whole"
            )
        waveforms = np.zeros((len(sounds), length), np.int16)
        for row, sound in zip(waveforms, sounds, strict=True):
            row[: len(sound)] = _amplified(sound[:length], normalise)
        mask = _observed(np.minimum(lengths, length), length) if padding == "missing" else None
        if representation == "mel":
            x = _in_parts(spectrogram.of, waveforms)
            units = Units((LEVELS / 2,), (LEVELS / 2,), "uint8")
            if mask is not None:
                mask = mask.reshape(len(sounds), 1, -1, spectrogram.hop).all(-1).repeat(mels, 1)
        else:
            x, units = waveforms[:, None], Units((0.0,), (float(FULL),), "int16")
            mask = None if mask is None else mask[:, None]
        classes: tuple[str, ...] | None = None
        numbers: np.ndarray | None = None
        if labels is not None:
            found, numbers = np.unique(labels, return_inverse=True)
            classes = tuple(str(name) for name in found)
        details = {
            "sample_rate": int(rate),
            "length": int(length),
            "representation": representation,
            "mels": mels,
        }
        spec = DataSpec(
            x.shape[1:], (-1.0, 1.0), "audio", None if classes is None else (len(classes),), len(sounds),
            classes=classes, units=units, details=details,
        )  # fmt: skip
        why = (
            f"sounds of {rate:,} Hz and {length / rate:.3g} s"
            + (", each scaled to full amplitude (data.normalise=false leaves them)" if normalise else "")
            + ("; as spectrograms:  data.representation=mel" if representation == "waveform" else "")
        )
        super().__init__(x, spec, tuple(notes), why, mask, labels=numbers)


def notes_of_four_kinds() -> tuple[list[np.ndarray], np.ndarray, int]:
    """500 notes of a quarter of a second that die away, the kind of each, and their rate in Hz."""
    rate, length, count = 8_000, 2_048, 500
    draw = np.random.default_rng(0)
    pitch, decay = 110 * 2 ** draw.uniform(0, 2, (count, 1)), draw.uniform(4, 16, (count, 1))
    kind, time = draw.integers(4, size=count), np.arange(length) / rate
    phase = 2 * np.pi * pitch * time + draw.uniform(0, 2 * np.pi, (count, 1))
    harmonics = np.arange(1, 9)[:, None, None]
    overtones = np.sin(harmonics * phase)
    shapes = np.stack([
        np.sin(phase),
        (overtones / harmonics).sum(0),
        (overtones * (harmonics % 2) / harmonics).sum(0),
        np.sin(phase) * draw.normal(size=(count, length)),
    ])  # fmt: skip
    sounds = shapes[kind, np.arange(count)] * np.exp(-decay * time) * np.minimum(1, time * 200)
    sounds /= np.abs(sounds).max(1, keepdims=True)
    names = np.array(["sine", "saw", "square", "noise"])[kind]
    return list(np.rint(sounds * (FULL - 1)).astype(np.int16)), names, rate


def _files(path: str) -> tuple[list[Path], Path]:
    """The sounds under a folder, sorted, and the folder."""
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"there is no folder or file '{path}'.")
    if root.is_file():
        return [root], root.parent
    files = [
        file for file in root.rglob("*")
        if file.suffix.lower() in ENDINGS and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]  # fmt: skip
    if not files:
        raise DataError(f"there is no sound under '{path}'.", f"endings of sounds: {', '.join(ENDINGS)}")
    return sorted(files, key=lambda file: file.relative_to(root).parts), root


def _labels(
    files: Sequence[Path], root: Path, pattern: str | None, notes: list[str], *, needed: bool
) -> np.ndarray | None:
    """A label for each file, by its name or by its folder; None where there are none, or need not be."""
    if pattern is not None:
        if pattern.count("{label}") != 1:
            raise ConfigurationError(f"data.label_pattern: '{pattern}' has no {{label}}.", "{label}_*")
        parts = [
            re.escape(part).replace(r"\*", ".*").replace(r"\?", ".") for part in pattern.split("{label}")
        ]
        found = [re.fullmatch("(.+?)".join(parts), file.stem) for file in files]
        unmatched = next((file for file, match in zip(files, found, strict=True) if match is None), None)
        if unmatched is not None and needed:
            raise DataError(f"data.label_pattern: '{pattern}' does not match the name of {unmatched}.")
        if unmatched is not None:
            notes.append(f"no labels: the pattern '{pattern}' does not match the name of {unmatched}")
            return None
        return np.array([match[1] for match in found if match is not None])
    places = [file.relative_to(root).parts[:-1] for file in files]
    depth = 0
    while all(len(place) > depth for place in places):
        firsts = sorted({place[depth] for place in places})
        if {first.lower() for first in firsts} <= PARTS and len(firsts) > 1:
            notes.append(f"the sub-folders {', '.join(firsts)} are parts, not classes, and all are read")
        elif len(firsts) > 1:
            return np.array([place[depth] for place in places])
        depth += 1
    if any(places) and len({place[:depth] for place in places}) == 1 and len(set(places)) > 1:
        notes.append("some sounds lie beside sub-folders, so there are no labels")
    firsts = {re.split(r"[_\-. ]", file.stem)[0] for file in files}
    if 1 < len(firsts) <= len(files) / 4:
        divider = re.sub(r"^[^_\-. ]*", "", files[0].stem)[:1]
        notes.append(
            f"no labels; where a file's name begins with one:  data.label_pattern='{{label}}{divider}*'"
            f" ({len(firsts):,} labels, {min(firsts)} for example)"
        )
    return None


class _Recording(NamedTuple):
    """What the head of a file says: its length, rate in Hz and channels, or what is wrong with it."""

    file: Path
    frames: int = 0
    rate: int = 0
    channels: int = 0
    fault: str = ""


def _recordings(files: Sequence[Path]) -> list[_Recording]:
    """The heads of files, of which one can be read at least."""
    library = soundfile()
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda file: _head(library, file), files))
    if all(each.fault for each in found):
        raise _unreadable(found, len(found))
    return found


def _head(library: Any, file: Path) -> _Recording:
    try:
        head = library.info(str(file))
    except (OSError, library.SoundFileError) as error:
        return _Recording(file, fault=_reason(file, error))
    if not head.frames:
        return _Recording(file, fault="it is empty")
    return _Recording(file, head.frames, head.samplerate, head.channels)


def _reason(file: Path, error: Exception) -> str:
    if not file.exists():
        return "it is a link to a file that is gone"
    return "it is empty" if not file.stat().st_size else str(error).rstrip(". ").rpartition(": ")[2]


def _unreadable(faulty: Sequence[_Recording], count: int) -> DataError:
    return DataError(
        f"{faulty[0].file} is not a sound that can be read: {faulty[0].fault}.",
        f"{len(faulty):,} of {count:,} files are like this" if count > 1 else "",
        "" if len(faulty) == count else "leave them out:  data.skip_corrupt=true",
    )


def _read(
    recordings: Sequence[_Recording], rate: int, length: int, skip_corrupt: bool, notes: list[str]
) -> list[np.ndarray]:
    """The beginning of each sound, ``length`` values int16 at most, of one rate; empty where the file is left out.

    Of a long recording no more than that is read.
    """
    library = soundfile()
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda each: _beginning(library, each, rate, length), recordings))
    faulty = [each for each in found if isinstance(each, _Recording)]
    if faulty and (len(faulty) == len(found) or not skip_corrupt):
        raise _unreadable(faulty, len(found))
    if faulty:
        notes.append(
            f"{len(faulty):,} of {len(found):,} files are left out, {faulty[0].file} for example: {faulty[0].fault}"
        )
    good = [each for each, sound in zip(recordings, found, strict=True) if isinstance(sound, np.ndarray)]
    if resampled := sum(each.rate != rate for each in good):
        notes.append(f"{resampled:,} of {len(found):,} sounds are resampled to {rate:,} Hz")
    if several := sum(each.channels > 1 for each in good):
        notes.append(f"the channels of {several:,} of {len(found):,} sounds are averaged")
    empty = np.zeros(0, np.int16)
    return [empty if isinstance(each, _Recording) else each for each in found]


def _beginning(library: Any, recording: _Recording, rate: int, length: int) -> np.ndarray | _Recording:
    """The first values of a sound (L,) int16, or what is wrong with it."""
    if recording.fault:
        return recording
    before = recording.rate
    needed = -(-length * before // rate)
    if before != rate:  # the filter reaches as far beyond the last value
        needed += FILTER_REACH * max(1, -(-before // rate)) + 1
    try:
        x, _ = library.read(str(recording.file), frames=needed, dtype="float32", always_2d=True)
    except (OSError, library.SoundFileError) as error:
        return recording._replace(fault=_reason(recording.file, error))
    if not len(x):
        return recording._replace(fault="it is empty")
    if not np.isfinite(x).all():
        return recording._replace(fault="some of its values are not finite")
    sound = _at_rate(_in_16_bits(x.mean(1)), before, rate)[:length]
    if sound.any():
        return sound
    cut = recording.frames * rate > length * before
    return recording._replace(fault="it is silent" + f" in its first {length / rate:.3g} s" * cut)


def _at_rate(sound: np.ndarray, before: int, rate: int) -> np.ndarray:
    from scipy.signal import resample_poly

    if before == rate:
        return sound
    divisor = math.gcd(before, rate)
    return _in_16_bits(resample_poly(sound / np.float32(FULL), rate // divisor, before // divisor))


def _in_16_bits(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x * FULL), -FULL, FULL - 1).astype(np.int16)


def _amplified(sound: np.ndarray, normalise: bool) -> np.ndarray:
    """A sound int16, scaled to full amplitude where it is asked for."""
    highest = int(np.abs(sound.astype(np.int32)).max())
    if not normalise or not highest:
        return sound
    return np.rint(sound * min((FULL - 1) / highest, LARGEST_GAIN)).clip(-FULL, FULL - 1).astype(np.int16)


def _observed(lengths: np.ndarray, length: int) -> np.ndarray:
    """(N, length) bool, true up to the end of each sound."""
    return np.arange(length) < lengths[:, None]


def _in_parts(change: Callable[[np.ndarray], np.ndarray], waveforms: np.ndarray) -> np.ndarray:
    """A function of waveforms in [-1, 1], of a few hundred rows at a time."""
    starts = range(0, len(waveforms), 256)
    return np.concatenate([change(waveforms[start : start + 256] / np.float32(FULL)) for start in starts])


def soundfile() -> Any:
    """The library of that name.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise ConfigurationError(
            f"sounds need soundfile, which cannot be imported: {error}.", "pip install 'ganvae[audio]'"
        ) from error
    return soundfile
