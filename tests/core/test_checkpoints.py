"""Checkpoints are whole or absent, say what is wrong with them, and are read by safetensors alone."""

from __future__ import annotations

import errno
import hashlib
import json
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from toys import FromPhases, engine, model, regression, same, squared_error, state

import ganvae_core as gv
from ganvae_core.store import checkpoints
from ganvae_core.store.checkpoints import (
    Snapshot,
    load_tensors,
    mend_checkpoints,
    read_checkpoint,
    remove_checkpoint,
    tensors_of,
    write_checkpoint,
)
from ganvae_core.store.manifests import best_step, checkpoint_folders, manifest_text, manifests_in


def _best(parent: Path) -> Path | None:
    step = best_step(manifests_in(parent))
    return None if step is None else checkpoint_folders(parent)[step]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A whole checkpoint of two steps."""
    engine(regression(), steps=2, directory=tmp_path).fit()
    return tmp_path / "checkpoints" / "step-000002"


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a flipped byte of the weights": ("model.safetensors", flip_a_byte),
    "a flipped byte of the state": ("state.safetensors", flip_a_byte),
    "weights cut short": ("model.safetensors", cut_short),
    "empty weights": ("model.safetensors", lambda path: path.write_bytes(b"")),
    "no weights": ("model.safetensors", Path.unlink),
    "no state": ("state.safetensors", Path.unlink),
    "weights that are a folder": ("model.safetensors", lambda path: (path.unlink(), path.mkdir())),
    "no manifest": ("manifest.json", Path.unlink),
    "a manifest cut short": ("manifest.json", cut_short),
    "a manifest that is no JSON": ("manifest.json", lambda path: path.write_bytes(b"\xff\xfe{")),
    "a manifest that is a list": ("manifest.json", lambda path: path.write_text("[]")),
    "a manifest without a step": ("manifest.json", lambda path: path.write_text('{"sha256": {}}')),
    "a manifest with a wrong step": (
        "manifest.json",
        lambda path: path.write_text('{"sha256": {}, "step": "x"}'),
    ),
    "a manifest of other sums": ("manifest.json", lambda path: path.write_text('{"sha256": [], "step": 2}')),
}


@pytest.mark.parametrize("what", list(DAMAGE))
def test_damage_is_an_error_that_names_the_file(written: Path, what: str) -> None:
    name, damage = DAMAGE[what]
    damage(written / name)
    with pytest.raises(gv.RunError, match=name):
        read_checkpoint(written)


def test_a_damaged_checkpoint_says_what_can_be_done_without_it(written: Path) -> None:
    (written / "model.safetensors").write_bytes(b"")
    with pytest.raises(gv.RunError) as alone:
        read_checkpoint(written)
    config = shlex.quote(str(written.parent.parent / "config.yaml"))
    assert alone.value.hints == (f"the run has no other; train it anew:  ganvae run --config {config}",)
    for step in ("step-001000", "step-002000"):
        written.with_name(step).mkdir()
    with pytest.raises(gv.RunError) as among_others:
        read_checkpoint(written)
    assert among_others.value.hints == (
        "others are there, of the steps 1000, 2000; sample takes one:  --checkpoint STEP",
    )


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x00" * 64, b"\xff" * 64])
def test_a_file_that_is_not_safetensors_is_said_to_be_none(written: Path, content: bytes) -> None:
    """Even where its checksum is what the manifest says."""
    path = written / "model.safetensors"
    path.write_bytes(content)
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["sha256"]["model.safetensors"] = hashlib.sha256(content).hexdigest()
    (written / "manifest.json").write_text(manifest_text(manifest))
    with pytest.raises(gv.RunError, match=r"model\.safetensors is not a safetensors file"):
        read_checkpoint(written).model()


def test_weights_are_read_by_the_safetensors_library_alone(written: Path) -> None:
    trained = engine(regression(), steps=2).fit()
    loaded = safetensors.torch.load_file(written / "model.safetensors")
    assert same(loaded, tensors_of(trained.model))
    assert {"generator.head.weight", "generator.layers.0.bias"} <= loaded.keys()


def test_the_manifest_says_where_how_and_with_what(written: Path) -> None:
    manifest = json.loads((written / "manifest.json").read_text())
    assert (manifest["step"], manifest["samples_seen"], manifest["batch_size"]) == (2, 16, 8)
    assert manifest["versions"] == {"ganvae": gv.__version__, "torch": torch.__version__}
    assert manifest["sha256"].keys() == {"model.safetensors", "state.safetensors"}
    assert sorted(path.name for path in written.iterdir()) == [
        "manifest.json", "model.safetensors", "state.safetensors"
    ]  # fmt: skip


def test_tied_weights_are_stored_once_and_come_back_tied(tmp_path: Path) -> None:
    class Tied(gv.Generator):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.out = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3)
            self.second.weight = self.first.weight
            self.register_buffer("one", torch.ones(2))
            self.alias = self.first

        def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            return self.out(self.second(self.first(z).tanh()).tanh())

    def objective() -> FromPhases:
        torch.manual_seed(0)
        own = gv.Model(Tied(), gv.StandardNormal([2]), gv.Gaussian())
        return FromPhases(own, lambda this: [gv.Phase("a", squared_error(this), trains=[this.model])])

    trained = engine(objective(), steps=2, directory=tmp_path).fit()
    kept = read_checkpoint(tmp_path / "checkpoints" / "step-000002")
    names = [name for name in kept.model() if name.endswith("weight")]
    assert names == ["generator.first.weight", "generator.out.weight"]
    again = engine(objective(), steps=2)
    again.restore(kept)
    assert same(state(again.objective), state(trained.objective))
    assert same(state(again.model), state(trained.model))
    generator: Any = again.model.generator
    assert generator.second.weight is generator.first.weight


def test_tensors_that_lie_in_one_memory_can_be_saved(tmp_path: Path) -> None:
    whole = torch.arange(12.0)
    tensors = {"whole": whole, "view": whole[3:9], "same": whole.view(3, 4).T, "wide": whole[:1].expand(5)}
    folder = write_checkpoint(tmp_path, Snapshot(tensors, {}, {"step": 1}).copied())
    assert same(read_checkpoint(folder).model(), tensors)


def test_values_of_every_type_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]).view(torch.int32),
        "half": torch.randn(3).to(torch.bfloat16),
        "count": torch.tensor(7),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "image": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    }
    folder = write_checkpoint(tmp_path, Snapshot(tensors, tensors, {"step": 1}).copied())
    assert same(read_checkpoint(folder).model(), tensors)
    assert same(read_checkpoint(folder).state(), tensors)


FAILURES: dict[str, Exception] = {
    "no space": OSError(errno.ENOSPC, "No space left on device"),
    "no space, as safetensors says it": checkpoints.SafetensorError(
        "Error while serializing: I/O error: ENOSPC"
    ),
}


@pytest.mark.parametrize("failure", list(FAILURES))
@pytest.mark.parametrize("call", [1, 2])
def test_a_disk_that_fails_leaves_the_checkpoints_before_it_whole_and_no_draft(
    failure: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = engine(regression(), steps=4, checkpoint_every=2, directory=tmp_path).fit(2)
    calls: list[Path] = []
    save = safetensors.torch.save_file

    def failing(tensors: dict[str, Tensor], path: Path) -> None:
        calls.append(path)
        save(tensors, path)
        if len(calls) == call:
            cut_short(path)
            raise FAILURES[failure]

    monkeypatch.setattr(safetensors.torch, "save_file", failing)
    with pytest.raises(gv.TrainingError, match="step-000004 could not be written"):
        training.fit()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]
    assert read_checkpoint(tmp_path / "checkpoints" / "step-000002").step == 2


def test_whatever_stops_the_writing_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine(regression(), steps=1, directory=tmp_path).fit()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.raises(gv.TrainingError, match="could not be written"):
        engine(regression(), steps=1, directory=tmp_path).fit()


def test_a_checkpoint_of_the_same_step_is_replaced_whole(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        folder = write_checkpoint(tmp_path, Snapshot({"x": torch.tensor(value)}, {}, {"step": 3}).copied())
    assert read_checkpoint(folder).model()["x"] == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]


def test_steps_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    for step in (20, 3, 1_000_000, 100_000):
        write_checkpoint(tmp_path, Snapshot({}, {}, {"step": step}).copied())
    (tmp_path / "step-notes").mkdir()
    (tmp_path / ".step-000009.77").mkdir()
    assert [int(path.name[5:]) for path in list(checkpoint_folders(tmp_path).values())] == [
        3,
        20,
        100_000,
        1_000_000,
    ]
    assert list(checkpoint_folders(tmp_path / "nowhere").values()) == []


class Scripted(gv.Metric):
    """Gives results as they were written down."""

    figures: Sequence[gv.Figure] = (gv.Figure("score", "score"), gv.Figure("other", "other"))

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        return {"score": self.next(), "other": 0.0}

    def next(self) -> float:
        """The last checkpoint is measured twice: at its interval, and on all held-out rows."""
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


class LowerIsBetter(Scripted):
    figures = (gv.Figure("score", "score", better="lower"), gv.Figure("other", "other"))


@pytest.mark.parametrize(
    ("metric", "kept", "best"),
    [
        (Scripted(1, 5, 2, 3, 4), [2, 4, 5], 2),
        (LowerIsBetter(1, 5, 2, 3, 4), [1, 4, 5], 1),
        (Scripted(float("nan"), 2, 1, float("nan"), 0), [2, 4, 5], 2),
        (LowerIsBetter(3, float("-inf"), 1, 2, 2), [3, 4, 5], 3),
        (Scripted(1, 2, 3, 4, 5), [4, 5], 5),
    ],
)
def test_the_newest_and_the_best_stay(metric: gv.Metric, kept: list[int], best: int, tmp_path: Path) -> None:
    engine(
        regression(), steps=5, checkpoint_every=1, keep_checkpoints=2, metrics=[metric], directory=tmp_path
    ).fit()
    folder = tmp_path / "checkpoints"
    assert [int(path.name[5:]) for path in list(checkpoint_folders(folder).values())] == kept
    assert _best(folder) == folder / f"step-{best:06d}"


def test_without_a_metric_there_is_no_best_and_the_newest_stay(tmp_path: Path) -> None:
    engine(regression(), steps=5, checkpoint_every=1, keep_checkpoints=1, directory=tmp_path).fit()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000005"]
    assert _best(tmp_path / "checkpoints") is None


def stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint, and nothing that is left of one, can be removed."""

    def failing(folder: Path) -> None:
        if folder.exists():
            raise OSError(errno.EBUSY, "Device or resource busy", str(folder))

    monkeypatch.setattr(checkpoints, "remove", failing)


def test_an_old_checkpoint_that_cannot_be_removed_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn(monkeypatch)
    training = engine(regression(), steps=4, checkpoint_every=1, keep_checkpoints=1, directory=tmp_path).fit()
    assert (training.step_index, training.saved_step) == (4, 4)
    folder = tmp_path / "checkpoints"
    assert [path.name for path in list(checkpoint_folders(folder).values())] == ["step-000004"], (
        "what is left is hidden"
    )
    assert caplog.messages == [
        f"{folder / f'step-{step:06d}'} could not be removed: Device or resource busy" for step in (1, 2, 3)
    ]


def test_what_a_replaced_checkpoint_leaves_behind_does_not_stop_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_checkpoint(tmp_path, Snapshot({"x": torch.tensor(1.0)}, {}, {"step": 3}).copied())
    stubborn(monkeypatch)
    folder = write_checkpoint(tmp_path, Snapshot({"x": torch.tensor(2.0)}, {}, {"step": 3}).copied())
    assert read_checkpoint(folder).model()["x"] == 2.0
    assert "step-000003.replaced could not be removed" in caplog.text
    assert list(checkpoint_folders(tmp_path).values()) == [folder]


def test_rubbish_that_cannot_be_removed_does_not_keep_a_run_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine(regression(), steps=2, directory=tmp_path).fit()
    left = [tmp_path / "checkpoints" / name for name in (".step-000001.rubbish", ".step-000009.draft")]
    for folder in left:
        folder.mkdir()
    half = tmp_path / ".metrics.jsonl.abcdefgh.draft"
    half.write_text("half")
    stubborn(monkeypatch)
    unlink = Path.unlink

    def failing(path: Path, missing_ok: bool = False) -> None:
        if path == half:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    training = engine(regression(), steps=4, directory=tmp_path)
    training.restore(read_checkpoint(tmp_path / "checkpoints" / "step-000002"))
    assert training.fit().saved_step == 4
    assert {message.partition(" could")[0] for message in caplog.messages} == {
        str(path) for path in (*left, half)
    }
    assert [path.name for path in list(checkpoint_folders(tmp_path / "checkpoints").values())] == [
        "step-000002",
        "step-000004",
    ]


def test_a_checkpoint_set_aside_that_cannot_go_back_stands_in_until_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, Snapshot({}, {}, {"step": 3}).copied()).rename(
        tmp_path / ".step-000003.replaced"
    )

    def failing(path: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        mend_checkpoints(tmp_path)
    (stand_in,) = list(checkpoint_folders(tmp_path).values())
    assert read_checkpoint(stand_in).step == 3
    stubborn(monkeypatch)
    with pytest.raises(OSError, match="busy"):
        remove_checkpoint(stand_in)
    monkeypatch.undo()
    mend_checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_newer_checkpoint_takes_no_place_of_those_that_stay(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"checkpoint_every": 1, "keep_checkpoints": 2, "directory": tmp_path}
    engine(regression(), steps=8, **{**changes, "checkpoint_every": 2, "keep_checkpoints": 9}).fit()
    folder = tmp_path / "checkpoints"
    cut_short(folder / "step-000008" / "state.safetensors")
    training = engine(regression(), steps=9, **changes)
    training.restore(read_checkpoint(folder / "step-000006"))
    training.fit(7)
    assert [int(path.name[5:]) for path in list(checkpoint_folders(folder).values())] == [6, 7, 8]
    training.fit()
    assert [read_checkpoint(path).step for path in list(checkpoint_folders(folder).values())] == [8, 9]


def test_a_damaged_older_checkpoint_does_not_stop_training(tmp_path: Path) -> None:
    training = engine(
        regression(), steps=3, checkpoint_every=1, metrics=[Scripted(1, 2, 3)], directory=tmp_path
    )
    training.fit(1)
    (tmp_path / "checkpoints" / "step-000001" / "manifest.json").write_text("{")
    training.fit()
    assert (tmp_path / "checkpoints" / "step-000003").is_dir()


def test_weights_of_another_structure_are_refused_by_name(written: Path) -> None:
    kept = read_checkpoint(written)
    with pytest.raises(gv.RunError, match="does not fit the configuration") as raised:
        load_tensors(model(batch_norm=True, encoder=False), kept.model(), "run x")
    assert "generator.layers.1" in str(raised.value)
    wider = gv.Model(gv.MLPGenerator([2], [3], hidden=(5,)), gv.StandardNormal([2]), gv.Gaussian())
    before = state(wider)
    with pytest.raises(gv.RunError, match=r"has shape \(3, 4\) where \(3, 5\) is expected"):
        load_tensors(wider, kept.model(), "run x")
    assert same(state(wider), before), "half of the weights were loaded"


def test_another_batch_size_is_refused(written: Path) -> None:
    with pytest.raises(gv.RunError, match="another batch size: 8"):
        engine(regression(), batch_size=16).restore(read_checkpoint(written))


def test_the_weights_may_be_read_by_whoever_may_read_the_manifest(written: Path) -> None:
    modes = {file.name: file.stat().st_mode & 0o777 for file in written.iterdir()}
    assert modes["model.safetensors"] == modes["state.safetensors"] == modes["manifest.json"]


def test_a_manifest_that_is_cut_short_is_found(written: Path) -> None:
    path = written / "manifest.json"
    content = path.read_bytes()
    for length in range(len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(gv.RunError, match=r"manifest\.json"):
            read_checkpoint(written)
    path.write_bytes(content)
    assert read_checkpoint(written).step == 2


def test_a_manifest_of_another_step_is_refused(written: Path) -> None:
    moved = written.rename(written.with_name("step-000007"))
    with pytest.raises(gv.RunError, match="it is that of step 2"):
        read_checkpoint(moved)


def test_numbers_that_json_has_not_are_null_in_the_manifest(tmp_path: Path) -> None:
    engine(regression(), steps=1, metrics=[Scripted(float("nan"))], directory=tmp_path).fit()
    text = (tmp_path / "checkpoints" / "step-000001" / "manifest.json").read_text()

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(text, parse_constant=refuse)["results"] == {"score": None, "other": 0.0}


class SlowWriter:
    """Writes checkpoints as ever, once it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let = threading.Event()
        write_files = checkpoints._write_files

        def slow(*arguments: Any) -> None:
            assert self.let.wait(60)
            write_files(*arguments)

        monkeypatch.setattr(checkpoints, "_write_files", slow)


def test_training_goes_on_while_a_checkpoint_is_written_which_holds_the_moment_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SlowWriter(monkeypatch)
    reached: list[int] = []

    class LetGo(gv.Callback):
        def on_samples(self, training: gv.TrainingView) -> None:
            reached.append(training.step)
            if training.step == 3:
                assert not list(checkpoint_folders(tmp_path / "checkpoints").values())
                assert training.saved_step is None
                writer.let.set()

    training = engine(regression(), steps=6, checkpoint_every=2, samples_every=3, log_every=4, keep_checkpoints=9,
                      callbacks=[LetGo()], directory=tmp_path).fit()  # fmt: skip
    assert reached == [3, 6]
    assert training.saved_step == 6
    expected = engine(regression(), steps=2).fit()
    kept = read_checkpoint(tmp_path / "checkpoints" / "step-000002")
    assert same(kept.model(), tensors_of(expected.model)), "not that of the step at which it was written"


def test_an_error_in_training_lets_the_writing_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SlowWriter(monkeypatch)

    class Breaking(gv.Callback):
        def on_samples(self, training: gv.TrainingView) -> None:
            threading.Timer(0.1, writer.let.set).start()
            raise KeyError("broken")

    with pytest.raises(gv.TrainingError, match="broken"):
        engine(regression(), steps=9, checkpoint_every=2, samples_every=3, log_every=50, callbacks=[Breaking()],
               directory=tmp_path).fit()  # fmt: skip
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]
    assert read_checkpoint(tmp_path / "checkpoints" / "step-000002").step == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ganvae-checkpoint")]


class Distance(Scripted):
    figures = (gv.Figure("distance", "distance", better="lower"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        return {"distance": self.next()}


def test_the_first_metric_chooses_the_best(tmp_path: Path) -> None:
    for name, metrics in (("first", [Scripted(1, 3, 2), Distance(1, 2, 3)]),
                          ("second", [Distance(1, 2, 3), Scripted(1, 3, 2)])):  # fmt: skip
        folder = tmp_path / name
        engine(
            regression(), steps=3, checkpoint_every=1, keep_checkpoints=1, metrics=metrics, directory=folder
        ).fit()
        best = _best(folder / "checkpoints")
        assert best is not None
        assert best.name == {"first": "step-000002", "second": "step-000001"}[name]


def test_the_first_metric_chooses_the_best_of_a_run_that_is_stopped_as_it_goes_on(tmp_path: Path) -> None:
    """A manifest may have results in the order of the alphabet, so their order does not say which comes first."""

    class AtOnce(gv.Callback):
        def on_start(self, training: gv.TrainingView) -> None:
            training.interrupt()

    def training(**changes: Any) -> gv.Engine:
        metrics = [Scripted(1, 3), Distance(1, 2)]
        return engine(
            regression(), steps=2, checkpoint_every=1, metrics=metrics, directory=tmp_path, **changes
        )

    training().fit()
    folder = tmp_path / "checkpoints" / "step-000002"
    before = read_checkpoint(folder).manifest
    assert (before["judged_by"], before["better"]) == ("score", "higher")
    assert next(iter(before["results"])) == "score"
    (folder / "manifest.json").write_text(json.dumps(before, sort_keys=True))
    stopped = training(callbacks=[AtOnce()])
    stopped.restore(read_checkpoint(folder))
    stopped.fit(5)
    after = read_checkpoint(folder).manifest
    assert (after["judged_by"], after["better"]) == ("score", "higher")
    assert after["results"] == before["results"]
    assert _best(tmp_path / "checkpoints") == folder
