"""``ganvae explore`` without a browser: what is on the page, its server's guard, and what is refused."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Say, train

import ganvae_core as gv

pytest.importorskip("starlette")
SMALLEST = ("--plugin", "vae", "generator=mlp", "encoder=mlp", "generator.hidden=[4]", "encoder.hidden=[4]")


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("explore") / "vae", *SMALLEST, "latent.shape=[3]")


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("explore") / "gan", "--plugin", "gan", "latent.shape=[1]",
                 "generator.hidden=[4]", "critic.hidden=[4]")  # fmt: skip


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_the_content_has_the_codes_and_the_samples_of_the_run(vae: Path) -> None:
    from ganvae_explore.content import content_of

    from ganvae_core.evaluation.sampling import sample_codes

    run = gv.load(vae)
    content = content_of(run, None, 40)
    codes = floats(content["map"]["codes"]).reshape(40, 3)
    rows = np.array(content["map"]["rows"])
    np.testing.assert_allclose(codes, run.encode(run.open_data(), rows), atol=1e-6)
    z, _ = sample_codes(run.model, 1, 5, run.device)
    np.testing.assert_array_equal(floats(content["seeds"]).reshape(-1, 3)[5], z[0].cpu().numpy())
    across, down = floats(content["map"]["across"]), floats(content["map"]["down"])
    assert abs(across @ down) < 1e-6
    assert np.linalg.norm(across) == pytest.approx(1, abs=1e-5)
    json.dumps(content, allow_nan=False)


def test_a_gan_of_one_dimension_has_a_map_of_its_samples(gan: Path) -> None:
    from ganvae_explore.content import content_of

    content = content_of(gv.load(gan), None, 10)
    assert content["map"]["of"] == "samples"
    assert not content["encoder"]
    assert floats(content["map"]["down"]).tolist() == [0.0]


def test_nothing_of_the_page_ends_its_script(vae: Path) -> None:
    from ganvae_explore.page import _page  # pyright: ignore[reportPrivateUsage]

    hostile = {"runs": [{"name": "</script><b>&"}], "server": False}
    page = _page(hostile, {"wasm": bytes(range(256)) * 40}, "blob:")
    assert "</script><b>" not in page
    held = re.search(r'id="wasm" data-length="10240">([^<]+)</script>', page)
    assert held is not None
    assert base64.b85decode(held[1].replace(",", "<"))[:10240] == bytes(range(256)) * 40


def test_names_are_text_whatever_is_in_them() -> None:
    from ganvae_explore.page import _page  # pyright: ignore[reportPrivateUsage]

    content = {"runs": [{"name": "größe {{ content }} {{ blobs }}"}], "server": True}
    page = _page(content, {"wasm": b"1"}, "'self'")
    assert page.isascii()
    held = re.search(r'id="content">([^<]+)</script>', page)
    assert held is not None
    assert json.loads(held[1]) == content


def test_numbers_are_shuffled_by_their_bytes() -> None:
    from ganvae_explore.page import _shuffled  # pyright: ignore[reportPrivateUsage]

    shuffled = _shuffled(b"abcdefghij")
    assert shuffled[:4] == struct.pack("<I", 10)
    assert shuffled[4:] == b"aei" + b"bfj" + b"cg\0" + b"dh\0"


@pytest.fixture
def client(vae: Path) -> Any:
    testing = pytest.importorskip("starlette.testclient")
    from ganvae_explore.server import application

    return testing.TestClient(
        application([gv.load(vae)], "the page", "secret"), base_url="http://127.0.0.1:8000"
    )


def test_the_server_decodes_as_the_model_does(client: Any, vae: Path) -> None:
    import torch

    answer = client.post("/decode/0", json={"values": [0.5, -1, 2]}, headers={"X-Token": "secret"})
    exact = gv.load(vae).model(torch.tensor([[0.5, -1, 2]])).detach().numpy()
    np.testing.assert_allclose(np.frombuffer(answer.content, "<f4"), exact.ravel(), atol=1e-6)
    made = client.post("/encode/0", json={"values": exact.ravel().tolist()}, headers={"X-Token": "secret"})
    assert len(made.content) == 12


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/decode/0", {"values": [0, 0, 0]}, {}, 403),
        ("/decode/0", {"values": [0, 0, 0]}, {"X-Token": "guess"}, 403),
        ("/decode/0", {"values": [0, 0, 0]}, {"X-Token": "secret", "Host": "evil.example"}, 400),
        ("/decode/1", {"values": [0, 0, 0]}, {"X-Token": "secret"}, 404),
        ("/decode/0", {"values": [0, 0]}, {"X-Token": "secret"}, 400),
        ("/decode/0", {"values": "__import__"}, {"X-Token": "secret"}, 400),
        ("/decode/0", ["no"], {"X-Token": "secret"}, 400),
    ],
)
def test_the_server_refuses(client: Any, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    assert client.post(path, json=body, headers=headers).status_code == status


def test_a_hostile_large_request_is_refused_before_it_is_read(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganvae_explore import server

    monkeypatch.setattr(server, "MOST_BYTES", 100)
    sent = {"X-Token": "secret"}
    assert client.post("/decode/0", json={"values": [0] * 200}, headers=sent).status_code == 413
    endless = client.post("/decode/0", content=iter([b"[", b"0," * 99]), headers=sent)  # without a length
    assert endless.status_code == 413


def test_a_file_shows_no_folder_of_this_machine_and_runs_no_other_script(
    vae: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import hashlib

    from ganvae_explore import runtime
    from ganvae_explore.content import content_of
    from ganvae_explore.page import page_file

    (tmp_path / "a.mjs").write_bytes(b"here")
    monkeypatch.setattr(runtime, "runtime_files", lambda: {"runtime": tmp_path / "a.mjs"})
    run = gv.load(vae)
    page = page_file([run], [content_of(run, None, 10)])
    assert str(vae.parent) not in page
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    policy = re.search(r"script-src 'sha256-(\S+)'", page)
    assert len(scripts) == 1
    assert policy is not None
    assert base64.b64decode(policy[1]) == hashlib.sha256(scripts[0].encode()).digest()
    assert "unsafe-inline' " not in page.split("style-src")[0]


def test_columns_of_a_table_have_their_marginals(tmp_path: Path) -> None:
    from command_line import write_table
    from ganvae_explore.content import content_of

    run = train(tmp_path / "run", *SMALLEST, "latent.shape=[2]", "--data", write_table(tmp_path / "t.csv"))
    loaded = gv.load(run)
    marginals = content_of(loaded, None, 40)["marginals"]
    fields = loaded.spec.fields or ()
    assert len(marginals) == len(fields)
    for marginal, field in zip(marginals, fields, strict=True):
        assert sum(marginal["counts"]) + marginal["missing"] == 40
        assert len(marginal["counts"]) == (len(field.categories) if field.categories else 24)


def test_the_page_needs_its_token(client: Any) -> None:
    assert client.get("/").status_code == 403
    assert client.get("/?token=secret").text == "the page"
    assert client.get("/?token=secret", headers={"Host": "evil.example"}).status_code == 400


def test_a_port_in_use_is_named(say: Say, vae: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = say("explore", vae, "-n", 10, "--port", port)
    assert refused.code == 2
    assert f"port {port}" in refused.err


def test_what_is_refused(say: Say, vae: Path, gan: Path, tmp_path: Path) -> None:
    two = say("explore", vae, gan, "-n", 10, "-o", tmp_path / "page.html")
    assert two.code == 2
    assert "3 and 1 values" in two.err
    ending = say("explore", vae, "-o", tmp_path / "page.png")
    assert ending.code == 2
    assert ".html" in ending.err
    three = say("explore", vae, vae, vae)
    assert three.code == 2
    assert "3 are given" in three.err
    both = say("explore", vae, "--port", 8000, "-o", tmp_path / "page.html")
    assert both.code == 2
    assert "--port is of the server" in both.err
    assert not list(tmp_path.iterdir())


def test_a_missing_runtime_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pooch
    from ganvae_explore.runtime import runtime_files

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(gv.DataError, match="no network") as raised:
        runtime_files()
    assert any("onnxruntime-web-" in hint for hint in raised.value.hints)


def test_a_code_is_decoded_from_numbers_and_from_files(say: Say, vae: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    code = np.array([0.5, -1, 2], np.float32)
    (tmp_path / "code.json").write_text(json.dumps({"code": code.tolist(), "condition": None}))
    save_file({"code": code}, tmp_path / "code.safetensors")
    made: list[np.ndarray] = []
    for given in ("0.5,-1,2", tmp_path / "code.json", tmp_path / "code.safetensors"):
        assert say("edit", vae, f"--code={given}", "-o", tmp_path / "made.npy").code == 0
        made.append(np.load(tmp_path / "made.npy"))
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])
    (tmp_path / "bad.json").write_text("[" * 5000)
    for given in ("0.5,-1", "a,b,c", "nan,0,0", tmp_path / "bad.json", tmp_path / "none.safetensors"):
        refused = say("edit", vae, f"--code={given}", "-o", tmp_path / "refused.npy")
        assert refused.code == 2, refused.err
    assert not (tmp_path / "refused.npy").exists()
