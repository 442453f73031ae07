"""The page in headless Chromium, from a file and from the server; skipped where there is no Chromium or Playwright."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Say, train
from PIL import Image

import ganvae_core as gv
from ganvae_core.errors import GanvaeError

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no Chromium")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("page") / "vae", "--plugin", "vae", "generator=mlp", "encoder=mlp",
                 "generator.hidden=[8]", "encoder.hidden=[8]", "latent.shape=[4]", steps=20)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def addresses(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of the page as a file, where ONNX Runtime Web is in the cache, and from a server."""
    import uvicorn
    from ganvae_explore.content import content_of
    from ganvae_explore.page import page_file, page_of_server
    from ganvae_explore.server import application

    loaded = gv.load(run)
    content = content_of(loaded, None, 60)
    found: dict[str, str] = {}
    file = tmp_path_factory.mktemp("page") / "page.html"
    try:
        file.write_text(page_file([loaded], [content]))
        found["file"] = file.as_uri()
    except GanvaeError:  # neither in the cache nor to be downloaded
        pass
    settings = uvicorn.Config(
        application([loaded], page_of_server([content]), "secret"), port=0, log_level="error"
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.02)
    found["server"] = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/?token=secret"
    yield found
    server.should_exit = True
    thread.join()


@pytest.fixture(params=["file", "server"])
def page(request: pytest.FixtureRequest, browser: Any, addresses: dict[str, str]) -> Iterator[Any]:
    if request.param not in addresses:
        pytest.skip("ONNX Runtime Web is not in the cache")
    address = addresses[request.param]
    opened = browser.new_page(viewport={"width": 1200, "height": 800})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    outside: list[str] = []
    origin = address.partition("?")[0]
    opened.on("request", lambda asked: None if asked.url.startswith((origin, "blob:", "data:"))
              else outside.append(asked.url))  # fmt: skip
    opened.goto(address)
    opened.wait_for_selector("body[data-ready]", timeout=30_000)
    yield opened
    opened.close()
    assert complaints == []
    assert outside == []


def decoded(page: Any, do: Any) -> None:
    """Do something, and wait for the picture that it leads to."""
    before = int(page.get_attribute("body", "data-decoded"))
    do()
    for _ in range(200):
        if int(page.get_attribute("body", "data-decoded")) > before:
            return
        page.wait_for_timeout(10)
    raise AssertionError("nothing was decoded")


def test_pixels_are_those_of_torch(page: Any, run: Path) -> None:
    z = [0.3, -1.2, 0.8, 2.0]
    made = page.evaluate("z => networks[0].decode(Float32Array.from(z), null).then((x) => Array.from(x))", z)
    with torch.no_grad():
        exact = gv.load(run).model(torch.tensor([z]))[0]
    assert np.abs(np.array(made) - exact.numpy().ravel()).max() <= 1e-4


def test_a_slider_the_map_undo_and_a_command_that_makes_the_same(
    page: Any, run: Path, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slider = page.locator("#axes input").first
    decoded(page, lambda: slider.fill("1"))
    box = page.locator("#map").bounding_box()
    decoded(page, lambda: page.mouse.move(box["x"] + 200, box["y"] + 180))
    assert page.inner_text("#about") == "under the pointer"
    decoded(page, lambda: page.mouse.click(box["x"] + 220, box["y"] + 170))
    assert page.inner_text("#about") != "under the pointer"
    page.click("#copy")
    page.wait_for_selector("#copy[data-command]")
    words = shlex.split(page.get_attribute("#copy", "data-command"))
    monkeypatch.chdir(run.parent)  # a page as a file has the run's name in place of its path
    picture = tmp_path / "picture.png"
    assert words[-2:] == ["-o", "picture.png"]
    assert say(*words[1:-1], picture).code == 0
    shown = page.evaluate("Array.from(document.querySelector('#rows canvas').getContext('2d').getImageData(0, 0, 8, 8)"
                          ".data)")  # fmt: skip
    image = np.asarray(Image.open(picture).convert("L").resize((8, 8), Image.Resampling.NEAREST), int)
    assert np.abs(np.array(shown).reshape(8, 8, 4)[..., 0] - image).max() <= 1
    decoded(page, lambda: page.click("#undo"))
    assert page.is_enabled("#redo")


def test_a_film_and_a_plane_of_three_codes(page: Any) -> None:
    for name in "abc":
        page.keyboard.press(name)
        decoded(page, lambda: page.keyboard.press("n"))
    decoded(page, lambda: page.keyboard.press(" "))
    assert "from A to B" in page.inner_text("#about")
    page.keyboard.press(" ")
    page.select_option("#kind", "three")
    a, b, c = (page.evaluate(f"map.project(pins.{name}.z)") for name in "ABC")
    assert np.allclose(a, 0, atol=1e-5)
    assert abs(b[1]) < 1e-5
    assert abs(c[1]) > 1e-3


def test_files_are_encoded_resized_on_demand_only_and_refused(page: Any, tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "right.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "large.png")
    (tmp_path / "hostile.json").write_text('{"code": ["<img src=x onerror=alert(1)>"]}')
    (tmp_path / "hostile.png").write_bytes(b"<script>alert(1)</script>")
    (tmp_path / "hostile.safetensors").write_bytes(b"\xff" * 40)
    decoded(page, lambda: page.set_input_files("#file", tmp_path / "right.png"))
    assert page.inner_text("#about") == "right.png"
    page.set_input_files("#file", tmp_path / "large.png")
    page.wait_for_selector("#question button:has-text('scale large.png')")
    assert page.inner_text("#about") == "right.png"
    decoded(page, lambda: page.click("#question button"))
    assert page.inner_text("#about") == "large.png"
    for name in ("hostile.json", "hostile.png", "hostile.safetensors"):
        page.set_input_files("#file", tmp_path / name)
        page.wait_for_selector(f"#message.error:has-text('{name}')")
        assert page.inner_text("#about") == "large.png"


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
