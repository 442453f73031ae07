"""Bad input gets one line that says what was wrong and where, a way on, and an exit code. Nothing is half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganvae_core.cli import main

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Type a command line: exit code, standard output, standard error."""

    def type_it(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return type_it


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refused(say: Say, folder: Path, line: str, *expected: str) -> None:
    """A command line is refused with exit code 2, one error line and nothing written."""
    before = everything(folder)
    code, out, err = say(*line.split())
    assert code == 2, err
    assert out == ""
    assert len([text for text in err.splitlines() if text.startswith("error: ")]) == 1
    assert "Traceback" not in err
    for part in expected:
        assert part in err
    assert everything(folder) == before


WORDS = [
    ("run", "which plugin?"),
    ("run vae", "ganvae run --plugin vae"),
    (
        "run --plugin vea",
        "there is no plugin 'vea'. Did you mean 'vae'?",
        "installed: ae, audio-gan, audio-vae, bigan",
    ),
    ("run --plugin vae --recipe vaee", "no recipe 'vaee'. Did you mean 'vae'?"),
    ("run --plugin vae generator=mpl", "no generator 'mpl'. Did you mean 'mlp'?"),
    ("run --plugin vae objectiv=elbo", "no setting 'objectiv'. Did you mean 'objective'?"),
    (
        "run --plugin vae objective.bta=4",
        "'vae/elbo' has no option 'bta'. Did you mean 'beta' (float or a schedule, now 1.0)?",
    ),
    ("run --plugin vae engine.stpes=4", "engine.stpes", "Did you mean 'steps' (int, now 3000)?"),
    ("run --plugin vae optimizers.defalt.lr=1", "no optimizer 'defalt'", "'default'"),
    ("run --plugin vae optimizers.default.name=adm", "Did you mean 'adam'?"),
    ("run --plugin vae metrics=elob", "no metric 'elob'. Did you mean 'elbo'?"),
    (
        "run --plugin vae engine.steps=many",
        "engine.steps: 'many' is not possible here: it must be a whole number.",
    ),
    ("run --plugin vae objective.beta=much", "objective.beta", "must be a number"),
    ("run --plugin vae objective.beta=nan", "objective.beta", "must be a number"),
    ("run --plugin vae data.condition=perhaps", "data.condition", "data.condition=true"),
    ("run --plugin vae --precision fp8", "one of: auto, fp32, tf32, bf16"),
    ("run --plugin vae engine.device=tpu", "no device 'tpu'", "auto, cpu"),
    ("run --plugin vae --steps -5", "engine.steps: -5 is not possible: it must be at least 1."),
    ("run --plugin vae --steps 0", "engine.steps: 0"),
    ("run --plugin vae --epochs 0", "--epochs"),
    ("run --plugin vae --epochs 2 --steps 5", "--epochs and --steps"),
    ("run --plugin vae --steps 10 engine.steps=20", "engine.steps is given twice"),
    ("run --plugin vae =3", "'=3' is not a setting"),
    ("run --plugin vae engine=5", "engine: it takes settings by name"),
    ("run --plugin vae objective=${x}", "interpolation"),
    ("run --plugin vae latent.shape=[0]", "latent.shape: [0] is not possible"),
    ("run --plugin vae latent.shape=[]", "latent.shape: [] is not possible"),
    ("run --plugin vae latent.shape=wide", "latent.shape: 'wide' is not possible", "data or a list of int"),
    ("run --plugin vae latent.shape=[wide]", "latent.shape[0]", "a whole number"),
    ("run --plugin vae generator.hidden=[-3]", "generator.hidden must be positive"),
    ("run --plugin vae encoder=null", "'vae/elbo' needs an encoder", "add one: encoder=mlp"),
    ("run --plugin vae objective=null", "every run needs one"),
    ("run --plugin vae observation=point", "needs an observation with a likelihood", "observation=bernoulli"),
    ("run --plugin vae prior=uniform", "the support of its codes is bounded", "prior=normal"),
    ("run --plugin gan prior=gaussian-mixture", "is fitted only after it"),
    ("run --plugin vae prior=gaussian-mixture", "ganvae fit-prior RUN --prior gaussian-mixture"),
    ("run --plugin vae prior=mixture prior.components=0", "prior.components: 0 is not possible"),
    ("run --plugin ae --recipe vq-vae encoder.codes=0", "encoder.codes: 0 is not possible"),
    ("run --plugin ae --recipe fsq-vae encoder.levels=[]", "encoder.levels=[5,5,5,5]"),
    ("run --plugin ae --recipe fsq-vae encoder.levels=[1,8]", "encoder.levels=[2,8,5,5]"),
    ("run --plugin ae --recipe fsq-vae encoder.levels=[8,8]", "latent.shape=[2,4,4]"),
    (
        "run --plugin vae --recipe rae",
        "plugin 'vae' has no recipe 'rae'. 'ae' has one.",
        "--plugin ae --recipe rae",
    ),
    ("run --plugin vae objective=vq", "ganvae run --plugin ae --recipe vq-vae"),
    ("run --plugin vae prior=uniform", "'builtin/uniform'"),
    ("run --plugin vae prior=latent-flow", "train it afterwards, on the codes:  ganvae fit-prior RUN"),
    ("run --plugin gan objective=elbo", "needs an encoder", "encoder=mlp"),
    ("run --plugin vae objective=non-saturating", "needs a critic", "critic=mlp"),
    ("run --plugin vae data.resize=3", "'builtin/digits' has no option 'resize'"),
    ("run --plugin vae data.held_out=1.5", "data.held_out: 1.5"),
    ("run --plugin vae --data nowhere.npy", "there is no file 'nowhere.npy'"),
    ("run --plugin vae --data digit", "Did you mean 'digits'?"),
    ("run --plugin vae --config nowhere.yaml", "there is no file 'nowhere.yaml'"),
    ("run --resume nowhere", "there is no run 'nowhere'"),
    ("run --plugin vae --bogus", "no such option '--bogus'"),
    ("sample nowhere", "there is no run 'nowhere'"),
    ("sample", "missing argument 'RUN'"),
    ("show nowhere", "there is no run 'nowhere'"),
    ("data nowhere", "there is no source and no file 'nowhere'"),
    ("plugins info vea", "Did you mean 'vae'?"),
    ("components generater", "Did you mean 'generator'?"),
    ("smaple", "there is no verb 'smaple'. Did you mean 'sample'?"),
]


@pytest.mark.parametrize("case", WORDS, ids=lambda case: case[0])
def test_words_that_mean_nothing_are_refused_with_what_was_meant(
    case: tuple[str, ...], say: Say, own_folder: Path
) -> None:
    refused(say, own_folder, *case)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"- a\n- b\n", "must hold settings"),
        (b"engine:\n\tsteps: 3\n", "line 2"),
        (b"engine: {steps: 3}\nengine: {steps: 4}\n", "given twice"),
        (b"engine: [1, 2\n", "mine.yaml"),
        (bytes(range(256)), "not a text file"),
        (b"a: &x 1\nb: *x\n", "aliases"),
        (b"engine: 5\n", "engine: it takes settings by name"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    text: bytes, expected: str, say: Say, own_folder: Path
) -> None:
    (own_folder / "mine.yaml").write_bytes(text)
    refused(say, own_folder, "run --plugin vae --config mine.yaml", expected)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def picture(path: Path, height: int = 16, width: int = 16) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(noise(height, width, 3)).save(path)
    return path


def empty_file(folder: Path) -> str:
    (folder / "x.npy").touch()
    return "x.npy"


def truncated_array(folder: Path) -> str:
    np.save(folder / "x.npy", noise(40, 16, 16))
    (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:500])
    return "x.npy"


def truncated_archive(folder: Path) -> str:
    np.savez(folder / "x.npz", x=noise(40, 16, 16))
    (folder / "x.npz").write_bytes((folder / "x.npz").read_bytes()[:500])
    return "x.npz"


def truncated_idx(folder: Path) -> str:
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (40, 8, 8))
    (folder / "x-ubyte").write_bytes(header + bytes(100))
    return "x-ubyte"


def truncated_table(folder: Path) -> str:
    (folder / "x.parquet").write_bytes(b"PAR1 and then nothing")
    return "x.parquet"


def pickled_objects(folder: Path) -> str:
    np.save(folder / "x.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    return "x.npy"


def empty_folder(folder: Path) -> str:
    (folder / "photos").mkdir()
    return "photos/"


def differing_sizes(folder: Path) -> str:
    picture(folder / "photos" / "a.png")
    picture(folder / "photos" / "b.png", 20, 18)
    return "photos/"


def corrupt_image(folder: Path) -> str:
    for name in "abc":
        picture(folder / "photos" / f"{name}.jpg")
    broken = folder / "photos" / "b.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    return "photos/"


def not_a_number(folder: Path) -> str:
    rows = np.ones((40, 3))
    rows[7, 1] = np.nan
    np.save(folder / "x.npy", rows)
    return "x.npy"


def infinite(folder: Path) -> str:
    (folder / "x.csv").write_text("height,weight\n1,2\n3,inf\n")
    return "x.csv"


def too_few_labels(folder: Path) -> str:
    np.savez(folder / "x.npz", x=noise(40, 8, 8), labels=np.arange(30))
    return "x.npz"


def ragged(folder: Path) -> str:
    (folder / "x.csv").write_text("a,b\n1,2\n3\n")
    return "x.csv"


def header_only(folder: Path) -> str:
    (folder / "x.csv").write_text("a,b\n")
    return "x.csv"


def unknown_ending(folder: Path) -> str:
    (folder / "x.docx").write_text("words")
    return "x.docx"


DATA = [
    (empty_file, "x.npy", "empty"),
    (truncated_array, "x.npy", "truncated"),
    (truncated_archive, "x.npz", ""),
    (truncated_idx, "x-ubyte", "truncated"),
    (truncated_table, "x.parquet", ""),
    (pickled_objects, "x.npy", "Python objects"),
    (empty_folder, "photos", "no image"),
    (differing_sizes, "photos/b.png", "data.resize="),
    (corrupt_image, "photos/b.jpg", "data.skip_corrupt=true", "1 of 3"),
    (not_a_number, "row 7, column 1", "nan"),
    (infinite, "weight", "inf"),
    (too_few_labels, "labels do not match", "30 labels for 40 rows"),
    (ragged, "x.csv", ""),
    (header_only, "x.csv", "no rows"),
    (unknown_ending, "no source reads files like 'x.docx'", ""),
]


@pytest.mark.parametrize("case", DATA, ids=lambda case: case[0].__name__)
def test_unfit_data_is_refused_by_name_with_what_to_do(
    case: tuple[Callable[[Path], str], str, str], say: Say, own_folder: Path
) -> None:
    make, *expected = case
    name = make(own_folder)
    refused(say, own_folder, f"run --plugin vae --data {name}", *expected)
    refused(say, own_folder, f"data {name}", *expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((40, 5, 16, 16), "1 to 4 channels"), ((40, 1, 1), "1 × 1"), ((40, 3), "are for images")],
)
def test_dcgan_says_which_data_it_cannot_take(
    shape: tuple[int, ...], expected: str, say: Say, own_folder: Path
) -> None:
    np.save(own_folder / "x.npy", noise(*shape))
    refused(say, own_folder, "run --plugin dcgan --data x.npy", expected)


def test_a_folder_that_is_something_else_is_never_written_to(say: Say, own_folder: Path) -> None:
    (own_folder / "thesis").mkdir()
    (own_folder / "thesis" / "chapter.txt").write_text("words")
    (own_folder / "file").write_text("words")
    refused(say, own_folder, "run --plugin vae --out thesis", "thesis", "not a run and not empty")
    refused(say, own_folder, "run --plugin vae --out file", "file")
    refused(say, own_folder, "run --resume thesis", "no config.yaml")
    refused(say, own_folder, "sample thesis", "'thesis' is not a run")
    refused(say, own_folder, "encode thesis", "'thesis' is not a run")


SMALL = ("--steps", "3", "generator.hidden=[8]", "encoder.hidden=[8]", "--quiet")


def test_fewer_rows_than_the_batch_are_said_and_the_batch_is_made_smaller(say: Say, own_folder: Path) -> None:
    np.save(own_folder / "x.npy", noise(20, 8, 8))
    code, _, err = say("run", "--plugin", "vae", "--data", "x.npy", *SMALL[:-1])
    assert code == 0
    assert "there are only 18 rows to learn from, so the batch is 18 instead of 128" in err


@pytest.mark.parametrize("rows", ["1.5,x", "1.5,x\n1.5,x\n1.5,x"])
def test_a_table_of_constants_is_refused_before_training(say: Say, own_folder: Path, rows: str) -> None:
    (own_folder / "x.csv").write_text(f"a,b\n{rows}\n")
    refused(
        say, own_folder, "run --plugin table-vae --data x.csv", "each column has one value", "--data FILE"
    )


def test_a_constant_column_is_said_and_restored_exactly(say: Say, own_folder: Path) -> None:
    rows = "\n".join(f"{number // 2},7.25,{number * number % 7}" for number in range(40))
    (own_folder / "x.csv").write_text(f"a,b,c\n{rows}\n")
    code, _, err = say("run", "--plugin", "vae", "--data", "x.csv", *SMALL[:-1])
    assert code == 0
    assert "column 'b' is constant (7.25)" in err
    assert say("sample", "runs/vae-x-1", "-n", "5", "-o", "made.csv")[0] == 0
    header, *lines = (own_folder / "made.csv").read_text().splitlines()
    assert header == "a,b,c"
    assert [line.split(",")[1] for line in lines] == ["7.25"] * 5


@pytest.fixture
def run(say: Say) -> Path:
    code, out, _ = say("run", "--plugin", "vae", *SMALL)
    assert code == 0
    return Path(out.strip())


def test_a_checkpoint_that_is_cut_short_or_something_else_is_named(
    run: Path, say: Say, own_folder: Path
) -> None:
    file = run / "checkpoints" / "step-000003" / "model.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-10], b"not safetensors at all", b""):
        file.write_bytes(damaged)
        refused(say, own_folder, f"sample {run}", "model.safetensors", "SHA-256")
    file.unlink()
    refused(say, own_folder, f"sample {run}", "model.safetensors is missing")


def test_a_run_of_another_version_is_refused_with_the_command_that_trains_it_anew(
    run: Path, say: Say, own_folder: Path
) -> None:
    record = json.loads((run / "data.json").read_text())
    assert record.pop("format") == 2
    (run / "data.json").write_text(json.dumps(record))
    made_by = f"'{run}' was made by another version of ganvae, which stores runs differently."
    anew = f"ganvae run --config {run / 'config.yaml'}"
    for words in (
        f"sample {run}",
        f"reconstruct {run}",
        f"run --resume {run}",
        f"run --from {run} --out new",
    ):
        refused(say, own_folder, words, made_by, anew)
    code, out, _ = say("show", str(run))
    assert code == 0
    assert made_by in " ".join(out.split())
    assert say(*anew.split()[1:], "--dry-run")[0] == 0
    (run / "data.json").write_text(json.dumps({**record, "format": 3}))
    refused(say, own_folder, f"sample {run}", "was made by another version of ganvae")


def test_a_run_whose_files_are_damaged_is_refused_by_the_file(run: Path, say: Say, own_folder: Path) -> None:
    for name, text in (
        ("data.json", "{}"),
        ("config.yaml", "- 1"),
        ("config.yaml", "objective: {name: nowhere/x}"),
    ):
        before = (run / name).read_text()
        (run / name).write_text(text)
        code, _, err = say("sample", str(run))
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("error: ") == 1
        (run / name).write_text(before)
    assert say("sample", str(run))[0] == 0


def test_what_a_run_cannot_do_is_refused(run: Path, say: Say, own_folder: Path) -> None:
    refused(say, own_folder, f"sample {run} -o made.csv", "endings: .png, .npz, .npy")
    refused(say, own_folder, f"sample {run} -o made.docx", "endings")
    refused(say, own_folder, f"sample {run} -n 0", "-n")
    refused(say, own_folder, f"sample {run} --checkpoint 77", "no checkpoint '77'", "it has: 3")
    refused(say, own_folder, f"sample {run} --condition 7", "trained without conditions")
    refused(say, own_folder, f"sample {run} --device tpu", "no device 'tpu'")
    refused(say, own_folder, f"encode {run} -o codes.txt", ".npz")
    refused(say, own_folder, f"run --resume {run}", "is finished", "engine.steps=6")
    refused(say, own_folder, f"run --resume {run} objective.beta=2", "objective", "these differ")
    refused(say, own_folder, f"run --resume {run} --plugin vae", "--plugin does not go with --resume")
    refused(say, own_folder, f"run --plugin vae --out {run}", "there is a run already", f"--resume {run}")


def test_other_data_that_does_not_fit_the_run_is_refused(run: Path, say: Say, own_folder: Path) -> None:
    np.save(own_folder / "x.npy", noise(20, 9, 9))
    refused(say, own_folder, f"encode {run} --data x.npy", "does not fit the run", "(1, 9, 9)")


def test_a_run_without_an_encoder_says_so(say: Say, own_folder: Path) -> None:
    small = ["--steps", "2", "generator.hidden=[8]", "critic.hidden=[8]", "--quiet"]
    _, out, _ = say("run", "--plugin", "gan", *small)
    refused(say, own_folder, f"encode {out.strip()}", "has no encoder", "--plugin vae")
    refused(say, own_folder, f"reconstruct {out.strip()}", "has no encoder")
