"""``sample``, ``reconstruct`` and ``encode`` give what the model makes, in the form and units that were asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from command_line import SMALL, Refused, Say, files_in, size_of, train, write_table
from PIL import Image

import ganvae_core as gv

COLUMNS = ["height", "weight", "legs"]


def array(path: str | Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


@pytest.fixture(scope="session")
def points(kept: Path) -> Path:
    """A run on points in the plane."""
    generator = np.random.default_rng(0)
    np.save(kept / "points.npy", generator.normal([100.0, -3.0], [10.0, 0.1], (60, 2)))
    return train(kept / "points", "--plugin", "vae", "--data", kept / "points.npy", "generator.hidden=[4]",
                 "encoder.hidden=[4]")  # fmt: skip


@pytest.fixture(scope="session")
def conditional(kept: Path) -> Path:
    """A run that is given the digits' labels."""
    return train(kept / "conditional", "--plugin", "vae", "data.condition=true", "generator.hidden=[4]",
                 "encoder.hidden=[4]")  # fmt: skip


@pytest.fixture(scope="session")
def ae(kept: Path) -> Path:
    """An autoencoder, with a checkpoint from before its prior was fitted."""
    return train(kept / "ae", "--plugin", "ae", "generator.hidden=[4]", "encoder.hidden=[4]", "latent.shape=[2]",
                 "prior.components=2", "engine.checkpoint_every=2", steps=4)  # fmt: skip


# sample


def test_without_a_file_samples_go_into_the_run_and_the_last_line_says_where(vae: Path, done: Say) -> None:
    outcome = done("sample", vae, "-n", "9", "--seed", "3")
    assert outcome.out == "vae/samples/seed-3-n-9.png\n"
    assert outcome.err == "9 samples of vae at step 4\n"
    # Three rows of three, each 8 × 8 enlarged to 56 × 56, with gaps of two.
    assert size_of("vae/samples/seed-3-n-9.png") == (172, 172)
    assert done("sample", vae).out == "vae/samples/seed-0-n-64.png\n"


def test_samples_in_files_are_in_the_units_of_the_data(vae: Path, done: Say) -> None:
    """The digits go from 0 to 16 in whole numbers."""
    for name in ("x.npy", "deep/er/x.npz", "X.NPY"):
        assert done("sample", vae, "-n", "10", "-o", name).out == f"{name}\n"
    with np.load("deep/er/x.npz") as archive:
        assert list(archive) == ["samples"]
        samples = archive["samples"]
    assert np.array_equal(samples, array("x.npy"))
    assert np.array_equal(samples, array("X.NPY"))
    assert (samples.shape, samples.dtype) == ((10, 1, 8, 8), gv.load(vae).spec.units.dtype)
    assert 0 <= samples.min() < samples.max() <= 16


def test_samples_of_images_of_bytes_are_bytes(folder: Path, done: Say) -> None:
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8))
    train(folder / "run", "--plugin", "vae", "--data", "x.npy", "generator.hidden=[4]", "encoder.hidden=[4]")
    done("sample", "run", "-n", "5", "-o", "made.npy")
    made = array("made.npy")
    assert (made.shape, made.dtype) == ((5, 3, 12, 10), np.uint8)
    assert made.max() > 1
    done("sample", "run", "-n", "5", "-o", "made")
    images = sorted(Path("made").iterdir())
    assert [image.name for image in images] == [f"{number:05d}.png" for number in range(5)]
    for image, expected in zip(images, made, strict=True):
        with Image.open(image) as opened:
            assert np.array_equal(np.asarray(opened), expected.transpose(1, 2, 0))


def test_samples_are_those_of_the_model_on_disk(vae: Path, done: Say) -> None:
    done("sample", vae, "-n", "6", "-o", "x.npy")
    assert np.array_equal(array("x.npy"), gv.load(vae).sample(6))


def test_the_seed_decides_the_samples_and_fewer_are_the_first_of_more(vae: Path, done: Say) -> None:
    done("sample", vae, "-n", "300", "-o", "many.npy")
    done("sample", vae, "-n", "10", "-o", "few.npy")
    done("sample", vae, "-n", "10", "--seed", "1", "-o", "other.npy")
    assert np.array_equal(array("many.npy")[:10], array("few.npy"))
    assert not np.array_equal(array("few.npy"), array("other.npy"))
    assert len(np.unique(array("many.npy"), axis=0)) > 100


def test_a_file_is_written_over_and_a_folder_that_holds_something_is_not(
    vae: Path, done: Say, refused: Refused
) -> None:
    for count in ("3", "2"):
        done("sample", vae, "-n", count, "-o", "x.npy")
    assert len(array("x.npy")) == 2
    done("sample", vae, "-n", "3", "-o", "made")
    assert "this folder is not empty" in refused("sample", vae, "-n", "2", "-o", "made")
    Path("empty").mkdir()
    done("sample", vae, "-n", "3", "-o", "empty/")
    assert len(list(Path("empty").iterdir())) == 3


def test_nothing_but_the_result_is_written(vae: Path, folder: Path, done: Say) -> None:
    before = files_in(folder)
    done("sample", vae, "-n", "3", "-o", "x.npz")
    done("sample", vae, "-n", "3", "-o", "made")
    done("encode", vae, "-o", "codes.npz")
    after = files_in(folder)
    made = {"x.npz", "made", "made/00000.png", "made/00001.png", "made/00002.png", "codes.npz"}
    assert after.keys() - before.keys() == made
    assert all(after[name] == before[name] for name in before)


def test_samples_of_a_table_have_its_columns_and_units(table: Path, folder: Path, done: Say) -> None:
    done("sample", table, "-n", "200", "-o", "made.csv")
    done("sample", table, "-n", "200", "-o", "made.parquet")
    made, same = pyarrow.csv.read_csv("made.csv"), pyarrow.parquet.read_table("made.parquet")
    assert made.column_names == same.column_names == COLUMNS
    assert made.to_pydict() == same.to_pydict()
    means = [np.mean(made[name].to_numpy()) for name in COLUMNS]
    assert means == pytest.approx([170, 7e4, 5], rel=0.1)
    assert set(made["legs"].to_pylist()) == {5.0}
    done("sample", table, "-n", "200", "-o", "made.npy")
    assert np.allclose(array("made.npy"), np.stack([made[name].to_numpy() for name in COLUMNS], 1))


def test_samples_of_a_table_are_drawn_with_the_noise_of_the_observation_unless_means_are_asked_for(
    table: Path, folder: Path, done: Say
) -> None:
    for name, words in (("made", ()), ("noisy", ("--noise",)), ("means", ("--mean",))):
        done("sample", table, "-n", "300", "-o", f"{name}.npy", *words)
    made, noisy, means = array("made.npy"), array("noisy.npy"), array("means.npy")
    assert np.array_equal(made, noisy)
    # The observation's learned scale is still near its start: one standard deviation of the real column.
    assert made[:, 0].std() > 2 * means[:, 0].std()


def test_pictures_of_images_are_means_unless_draws_are_asked_for(vae: Path, done: Say) -> None:
    done("sample", vae, "-n", "4", "-o", "means.npy")
    done("sample", vae, "-n", "4", "-o", "same.npy", "--mean")
    done("sample", vae, "-n", "4", "-o", "drawn.npy", "--noise")
    assert np.array_equal(array("means.npy"), array("same.npy"))
    assert set(np.unique(array("drawn.npy"))) == {0, 16}


def test_a_table_and_points_are_drawn_over_the_real_data(
    table: Path, points: Path, folder: Path, done: Say
) -> None:
    for run in (table, points):
        outcome = done("sample", run, "-n", "50", "-o", "made.png")
        assert "without the real data" not in outcome.err
        assert size_of("made.png")[0] > 300


def test_without_a_file_the_kind_of_data_decides_the_ending(
    table: Path, points: Path, folder: Path, done: Say
) -> None:
    shutil.copytree(table, "table")
    shutil.copytree(points, "points")
    assert done("sample", "table").out == "table/samples/seed-0-n-1000.csv\n"
    assert done("sample", "points").out == "points/samples/seed-0-n-1000.png\n"
    assert done("reconstruct", "table").out == "table/reconstructions/n-all.csv\n"
    assert done("reconstruct", "points", "-n", "3").out == "points/reconstructions/n-3.png\n"


def test_points_are_in_their_own_units(points: Path, folder: Path, done: Say) -> None:
    done("sample", points, "-n", "200", "-o", "made.npy")
    made = array("made.npy")
    assert made.shape == (200, 2)
    assert made.mean(0) == pytest.approx([100, -3], rel=0.1)


def test_data_of_no_particular_kind_goes_into_arrays_only(folder: Path, done: Say, refused: Refused) -> None:
    np.save("x.npy", np.random.default_rng(0).random((40, 5, 6, 7)))
    train(folder / "run", "--plugin", "vae", "--data", "x.npy", "generator.hidden=[4]", "encoder.hidden=[4]")
    assert done("sample", "run", "-n", "3").out == "run/samples/seed-0-n-3.npz\n"
    assert done("reconstruct", "run", "-n", "3").out == "run/reconstructions/n-3.npz\n"
    for name in ("x.png", "x.csv"):
        for verb in ("sample", "reconstruct"):
            assert "endings: .npz, .npy\n" in refused(verb, "run", "-o", name)


def test_another_checkpoint_gives_other_samples(vae: Path, done: Say) -> None:
    assert "at step 2" in done("sample", vae, "--checkpoint", "2", "-o", "two.npz").err
    assert "at step 4" in done("sample", vae, "--checkpoint", "4", "-o", "four.npz").err
    assert "at step 4" in done("sample", vae, "-o", "newest.npz").err
    best = done("sample", vae, "--checkpoint", "best", "-o", "best.npz").err
    two, four, newest, chosen = (
        array(f"{name}.npz")["samples"] for name in ("two", "four", "newest", "best")
    )
    assert np.array_equal(four, newest)
    assert not np.array_equal(two, four)
    assert np.array_equal(chosen, two if "at step 2" in best else four)


def test_a_condition_is_named_by_its_class(
    conditional: Path, folder: Path, done: Say, refused: Refused
) -> None:
    done("sample", conditional, "-n", "4", "--condition", "7", "-o", "sevens.npy")
    done("sample", conditional, "-n", "4", "--condition", "1", "-o", "ones.npy")
    assert not np.array_equal(array("sevens.npy"), array("ones.npy"))
    run = gv.load(conditional)
    seven = torch.eye(10)[7].expand(4, 10)
    assert np.array_equal(array("sevens.npy"), run.sample(4, condition=seven))
    said = refused("sample", conditional, "--condition", "seven")
    assert "no class 'seven'" in said
    assert "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in said


def test_a_grid_of_a_conditional_model_has_a_column_for_each_class(
    conditional: Path, folder: Path, done: Say
) -> None:
    for name in ("x.png", "X.PNG"):
        done("sample", conditional, "-n", "30", "-o", name)
        assert size_of(name) == (10 * 58 - 2, 3 * 58 - 2 + 16)  # with the classes above
    done("sample", conditional, "-n", "30", "-o", "x.npy")
    assert array("x.npy").shape == (30, 1, 8, 8)


def test_files_say_which_class_each_sample_was_made_for(conditional: Path, folder: Path, done: Say) -> None:
    done("sample", conditional, "-n", "40", "-o", "x.npz")
    run, made = gv.load(conditional), np.load("x.npz", allow_pickle=False)
    assert len(set(made["labels"])) > 5
    # The labels are those that the samples were made for: codes are drawn after them, from the same random numbers.
    assert np.array_equal(made["samples"], run.sample(40))
    done("sample", conditional, "-n", "4", "--condition", "7", "-o", "sevens.npz")
    assert np.load("sevens.npz", allow_pickle=False)["labels"].tolist() == [7] * 4
    made_of = done("sample", conditional, "-n", "4", "--condition", "7").out
    assert made_of == f"{conditional}/samples/seed-0-n-4-of-7.png\n"  # and not the file of another class


def test_files_say_which_numbers_each_sample_was_made_for(folder: Path, done: Say) -> None:
    generator = np.random.default_rng(0)

    x, angles = generator.normal(size=(40, 3)), generator.normal(size=(40, 2)).astype(np.float32)

    class Angles(gv.Source):
        """Rows of three numbers, each with two that it depends on."""

        spec = gv.DataSpec((3,), None, "table", (2,), 40)

        def __len__(self) -> int:
            return len(x)

        def rows(self, indices: Any) -> gv.Rows:
            return gv.Rows(x[indices], angles[indices])

        def labels(self, indices: Any | None = None) -> np.ndarray:
            return angles if indices is None else angles[indices]

    gv.train("vae", data=Angles(), steps=2, out="run",
             overrides={"data.condition": True, "generator.hidden": [4], "encoder.hidden": [4]})  # fmt: skip
    done("sample", "run", "-n", "3", "--condition", "0.5,1", "-o", "x.csv")
    made = pyarrow.csv.read_csv("x.csv")
    assert made.column_names[-2:] == ["condition_0", "condition_1"]
    assert made.column("condition_1").to_pylist() == [1, 1, 1]
    assert "beyond" not in done("sample", "run", "-n", "3", "--condition", "0.5,1", "-o", "x.csv").err
    assert (
        "the condition 0.5,50 is beyond training rows"
        in done("sample", "run", "-n", "3", "--condition", "0.5,50", "-o", "x.csv").err
    )
    done("sample", "run", "-n", "3", "-o", "x.npz")
    conditions = np.load("x.npz", allow_pickle=False)["conditions"]
    assert conditions.shape == (3, 2)
    assert all(any(np.allclose(row, real) for real in angles) for row in conditions)


def test_the_rows_of_a_table_are_conditioned_on_a_column(folder: Path, done: Say, refused: Refused) -> None:
    write_table(folder / "x.csv")
    train(folder / "run", "--plugin", "vae", "--data", "x.csv", "data.label=size", "data.condition=true",
          "generator.hidden=[4]", "encoder.hidden=[4]")  # fmt: skip
    assert done("sample", "run", "-n", "5", "--condition", "small", "-o", "made.csv").out == "made.csv\n"
    assert pyarrow.csv.read_csv("made.csv").column("size").to_pylist() == ["small"] * 5
    said = refused("sample", "run", "--condition", "size=smal")
    assert "column 'size' has no value 'smal'. Did you mean 'small'?\n  values: large, small" in said
    assert "column 'SIZE' is not a condition of this model. Did you mean 'size'?" in refused(
        "sample", "run", "--condition", "SIZE=small"
    )


def test_a_model_without_conditions_says_how_to_train_one_with_them(
    vae: Path, table: Path, folder: Path, refused: Refused
) -> None:
    again = "ganvae run --config {}/config.yaml {}\n".format
    assert again(vae, "data.condition=true") in refused("sample", vae, "--condition", "7")
    assert again(table, "'data.condition=[legs]'") in refused("sample", table, "--condition", "legs=2")
    assert "no column 'Legs'. Did you mean 'legs'?" in refused("sample", table, "--condition", "Legs=2")


def test_columns_of_the_condition_count_in_copies_and_keep_their_names(folder: Path, done: Say) -> None:
    write_table(folder / "x.csv")
    small = ("generator.hidden=[4]", "encoder.hidden=[4]")
    train(folder / "one", "--plugin", "vae", "--data", "x.csv", "data.condition=[size]", *small)
    done("sample", "one", "-n", "5", "--condition", "small", "-o", "made.csv")
    assert pyarrow.csv.read_csv("made.csv").column_names == ["height", "weight", "legs", "size"]
    two = ("data.columns=[legs]", "data.condition=[weight,size]")  # all rows have as many legs
    train(folder / "two", "--plugin", "vae", "--data", "x.csv", *two, *small)
    assert "100 % of the samples equal" in done("sample", "two", "-n", "5", "-o", "made.csv").err
    asked = done("sample", "two", "-n", "5", "--condition", "weight=1", "-o", "made.csv").err
    assert "no sample equals a training row" in asked


def test_an_autoencoder_is_sampled_once_its_prior_is_fitted(
    ae: Path, folder: Path, done: Say, refused: Refused
) -> None:
    said = refused("sample", ae, "--checkpoint", "2", "-o", "x.npy")
    assert "cannot be sampled yet: its prior is fitted or trained after step 2" in said
    assert f"leave --checkpoint out:  ganvae run --resume {ae}" in said
    done("sample", ae, "-n", "5", "-o", "x.npy")
    assert array("x.npy").shape == (5, 1, 8, 8)
    assert done("encode", ae, "--checkpoint", "2", "-o", "codes.npz").out == "codes.npz\n"


def test_a_run_can_be_sampled_from_another_folder(
    vae: Path, done: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("sample", vae, "-n", "3", "-o", "here.npy")
    (vae / "samples" / "below").mkdir()
    monkeypatch.chdir(vae / "samples" / "below")
    done("sample", "../..", "-n", "3", "-o", "there.npy")
    assert np.array_equal(array("there.npy"), array("../../../here.npy"))


# reconstruct


def test_originals_stand_beside_their_reconstructions(vae: Path, done: Say) -> None:
    outcome = done("reconstruct", vae, "-n", "12", "-o", "x.npz")
    assert outcome.err == "12 reconstructions by vae at step 4\n"
    with np.load("x.npz") as archive:
        originals, made, rows = archive["originals"], archive["reconstructions"], archive["rows"]
    run = gv.load(vae)
    split = run.open_data()
    assert set(rows) <= set(split.held_out)
    assert np.array_equal(originals, split.source.rows(rows).x)
    assert made.shape == originals.shape == (12, 1, 8, 8)
    assert made.dtype == originals.dtype
    x = run.batch(split, rows).x
    expected = run.model.reconstruct(x).numpy() * 16
    assert np.abs(made - expected).max() <= (0.5 if made.dtype.kind in "iu" else 1e-4)


def test_a_picture_has_originals_above_reconstructions(vae: Path, done: Say) -> None:
    assert done("reconstruct", vae).out == "vae/reconstructions/n-32.png\n"
    # Four pairs of lines, set apart, beside the names of the lines.
    names = size_of("vae/reconstructions/n-32.png")[0] - (8 * 58 - 2)
    assert 40 < names < 120
    assert size_of("vae/reconstructions/n-32.png")[1] == 8 * 58 - 2 + 3 * 10
    done("reconstruct", vae, "-n", "3", "-o", "three.png")
    assert size_of("three.png") == (3 * 58 - 2 + names, 2 * 58 - 2)


def test_reconstructed_rows_of_a_table_have_its_columns_and_say_which_they_are(
    table: Path, folder: Path, done: Say
) -> None:
    done("reconstruct", table, "-o", "made.csv")
    made = pyarrow.csv.read_csv("made.csv")
    assert made.column_names == [*COLUMNS, "row"]
    assert made["row"].to_pylist() == gv.load(table).open_data().held_out.tolist()
    assert np.mean(made["weight"].to_numpy()) == pytest.approx(7e4, rel=0.1)
    done("reconstruct", table, "-n", "2", "-o", "made.parquet")
    assert pyarrow.parquet.read_table("made.parquet").num_rows == 2


def test_a_column_of_the_user_called_row_stays_as_it_is(folder: Path, done: Say) -> None:
    Path("x.csv").write_text(
        "row,b\n" + "".join(f"{1000 + 2 * number},{number % 3}\n" for number in range(40))
    )
    train(folder / "run", "--plugin", "vae", "--data", "x.csv", "generator.hidden=[4]", "encoder.hidden=[4]")
    done("reconstruct", "run", "-o", "made.csv")
    made = pyarrow.csv.read_csv("made.csv")
    assert made.column_names == ["row", "b", "row_"]
    assert np.mean(made["row"].to_numpy()) == pytest.approx(1040, rel=0.1)
    assert max(made["row_"].to_pylist()) < 40


def test_other_data_is_passed_through_all_of_it(table: Path, folder: Path, done: Say) -> None:
    other = write_table(folder / "other.csv", rows=7)
    done("reconstruct", table, "--data", other, "-o", "made.csv")
    assert pyarrow.csv.read_csv("made.csv")["row"].to_pylist() == list(range(7))


# encode


def test_codes_are_the_means_of_the_posterior_in_the_order_of_the_data(vae: Path, done: Say) -> None:
    outcome = done("encode", vae)
    assert (outcome.out, outcome.err) == ("vae/codes.npz\n", "1,797 codes of shape (16,) by vae at step 4\n")
    with np.load("vae/codes.npz") as archive:
        codes, labels = archive["codes"], archive["labels"]
    run = gv.load(vae)
    split = run.open_data()
    x = run.batch(split, np.arange(300)).x
    assert np.allclose(codes[:300], run.model.encode(x).mean.numpy(), atol=1e-5)
    assert (codes.shape, labels.shape) == ((1797, 16), (1797,))
    assert labels[:10].tolist() == list(range(10))


def test_data_without_labels_has_none_beside_its_codes(points: Path, folder: Path, done: Say) -> None:
    done("encode", points, "-o", "codes.npz")
    with np.load("codes.npz") as archive:
        assert list(archive) == ["codes"]
        assert archive["codes"].shape == (60, 16)


def test_rows_of_another_table_get_the_codes_that_they_had_in_training(
    table: Path, kept: Path, folder: Path, done: Say
) -> None:
    """Standardised by the scale of the run, and not by that of the few rows."""
    lines = (kept / "table.csv").read_text().splitlines(keepends=True)
    Path("few.csv").write_text("".join(lines[:4]))
    done("encode", table, "-o", "all.npz")
    done("encode", table, "--data", "few.csv", "-o", "few.npz")
    assert np.allclose(array("few.npz")["codes"], array("all.npz")["codes"][:3], atol=1e-5)


def test_other_data_must_have_the_shape_and_the_columns_of_the_run(
    table: Path, vae: Path, folder: Path, refused: Refused
) -> None:
    Path("other.csv").write_text("height,weight,arms\n1,2,3\n4,5,6\n")
    for verb in ("encode", "reconstruct"):
        assert "cannot" in (said := refused(verb, table, "--data", "digits")) or "does not fit" in said
        said = refused(verb, table, "--data", "other.csv")
        assert "arms" in said or "legs" in said
        np.save("big.npy", np.zeros((5, 16, 16), np.uint8))
        said = refused(verb, vae, "--data", "big.npy")
        assert "it has shape (1, 16, 16), and the model takes (1, 8, 8)" in said
        assert "scale the images to 8 × 8 before" in said


def test_a_model_of_images_that_the_run_scaled_takes_a_folder_of_any_size(folder: Path, done: Say) -> None:
    for name, side in (("photos", 20), ("others", 33)):
        Path(name).mkdir()
        for number in range(6):
            pixels = np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(f"{name}/{number}.png")
    train(folder / "run", "--plugin", "vae", "--data", "photos/", "data.resize=12", "generator.hidden=[4]",
          "encoder.hidden=[4]")  # fmt: skip
    done("encode", "run", "--data", "others/", "-o", "codes.npz")
    assert array("codes.npz")["codes"].shape == (6, 16)


@pytest.mark.parametrize("verb", ["encode", "reconstruct"])
def test_a_run_without_an_encoder_says_how_to_get_one(verb: str, gan: Path, refused: Refused) -> None:
    said = refused(verb, gan)
    assert "has no encoder" in said
    assert "ganvae run --plugin vae" in said


def test_a_run_on_data_from_python_asks_for_it_where_it_is_needed(
    folder: Path, done: Say, refused: Refused
) -> None:
    x = np.random.default_rng(0).random((40, 3))
    keys = {word.split("=")[0]: word.split("=")[1] for word in SMALL}
    gv.train(
        "vae", data=x, steps=2, out="run", overrides={**keys, "engine.batch_size": 16, "engine.log_every": 1}
    )
    assert "which is not stored with it" in refused("encode", "run")
    assert "given again" in refused("run", "--resume", "run", "--steps", "4")
    assert "drawn without the real data" in done("sample", "run", "-o", "x.png").err
    np.save("x.npy", x)
    done("encode", "run", "--data", "x.npy", "-o", "codes.npz")
    expected = gv.load("run").model.encode(torch.tensor(0.0).expand(1, 3)).mean.shape[1]
    assert array("codes.npz")["codes"].shape == (40, expected)


# Whole numbers, and other ranges


def test_columns_of_whole_numbers_come_back_whole(folder: Path, done: Say) -> None:
    generator = np.random.default_rng(0)
    lines = [
        f"{age},{height:.2f}"
        for age, height in zip(generator.integers(18, 90, 40), generator.normal(size=40), strict=True)
    ]
    Path("people.csv").write_text("\n".join(["age,height", *lines]) + "\n")
    run = train(
        folder / "run",
        "--plugin",
        "vae",
        "--data",
        "people.csv",
        "generator.hidden=[4]",
        "encoder.hidden=[4]",
    )
    for verb in (("sample", run, "-n", "20", "-o"), ("reconstruct", run, "--data", "people.csv", "-o")):
        done(*verb, "made.csv")
        made = pyarrow.csv.read_csv("made.csv")
        assert [str(field.type) for field in made.schema][:2] == ["int64", "double"]
        assert "." not in Path("made.csv").read_text().splitlines()[1].partition(",")[0]
        done(*verb, "made.parquet")
        assert str(pyarrow.parquet.read_schema("made.parquet").field("age").type) == "int64"


@pytest.fixture(scope="session")
def by_range(kept: Path) -> dict[str, Path]:
    """Runs on the same images as bytes, as numbers in 0 to 1, and in -1 to 1."""
    grey = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    grey[:, 0, :2] = 0, 255  # whatever part of them is taken, it has both ends of the range
    scaled = {"bytes": grey, "unit": grey / 255, "signed": grey / 127.5 - 1}
    runs: dict[str, Path] = {}
    for name, x in scaled.items():
        np.save(kept / f"{name}.npy", x)
        small = ("generator.hidden=[4]", "encoder.hidden=[4]", "latent.shape=[2]", "prior.components=2")
        runs[name] = train(kept / f"on-{name}", "--plugin", "ae", "--data", kept / f"{name}.npy", *small)
    return runs


@pytest.mark.parametrize(("trained", "given"), [("bytes", "unit"), ("unit", "bytes"), ("signed", "signed")])
def test_data_of_another_type_means_the_same_to_a_model(
    trained: str, given: str, by_range: dict[str, Path], kept: Path, done: Say
) -> None:
    done("encode", by_range[trained], "-o", "own.npz")
    done("encode", by_range[trained], "--data", kept / f"{given}.npy", "-o", "other.npz")
    np.testing.assert_allclose(np.load("other.npz")["codes"], np.load("own.npz")["codes"], atol=1e-5)


@pytest.mark.parametrize(
    ("trained", "given", "told"),
    [("bytes", "signed", "-1 to 1, and the model was trained on data in 0 to 1"),
     ("unit", "signed", "-1 to 1, and the model was trained on data in 0 to 1"),
     ("signed", "unit", "0 to 1, and the model was trained on data in -1 to 1"),
     ("signed", "bytes", "0 to 1, and the model was trained on data in -1 to 1")],
)  # fmt: skip
def test_data_of_another_range_is_refused(
    trained: str, given: str, told: str, by_range: dict[str, Path], kept: Path, refused: Refused
) -> None:
    for verb in ("reconstruct", "encode"):
        assert f"this data lies in {told}" in refused(
            verb, by_range[trained], "--data", kept / f"{given}.npy", "-o", "x.npz"
        )
