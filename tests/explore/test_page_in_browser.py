"""The page in headless Chromium, from a file and from the server; skipped where there is no Chromium or Playwright."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browsing import CHROMIUM, quiet
from command_line import Say, train
from PIL import Image

import ganvae_core as gv
from ganvae_core.errors import GanvaeError

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("starlette")
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


class Pages:
    """Pages of runs: as files, where ONNX Runtime Web is in the cache, and from servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[tuple[Any, threading.Thread]] = []
        self.addresses: dict[tuple[Path, ...], str] = {}

    def file(self, *runs: Path) -> str | None:
        from ganvae_explore.content import content_of
        from ganvae_explore.page import page_file

        loaded = [gv.load(run) for run in runs]
        file = self.folder / f"{'-'.join(run.name for run in runs)}.html"
        if file.exists():
            return file.as_uri()
        try:
            file.write_text(page_file(loaded, [content_of(run, None, 60) for run in loaded]))
        except GanvaeError:  # neither in the cache nor to be downloaded
            return None
        return file.as_uri()

    def server(self, *runs: Path) -> str:
        import uvicorn
        from ganvae_explore.content import content_of
        from ganvae_explore.page import page_of_server
        from ganvae_explore.server import application

        if runs in self.addresses:
            return self.addresses[runs]
        loaded = [gv.load(run) for run in runs]
        page = page_of_server([content_of(run, None, 60) for run in loaded])
        server = uvicorn.Server(
            uvicorn.Config(application(loaded, page, "secret"), port=0, log_level="error")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        self.servers.append((server, thread))
        while not server.started:
            thread.join(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        self.addresses[runs] = f"http://127.0.0.1:{port}/?token=secret"
        return self.addresses[runs]

    def close(self) -> None:
        for server, thread in self.servers:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    made = Pages(tmp_path_factory.mktemp("pages"))
    yield made
    made.close()


@contextlib.contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """The page, which complains of nothing and asks nobody else."""
    page = browser.new_page(viewport={"width": 1200, "height": 800}, **options)
    with quiet(page, address.partition("?")[0], "blob:", "data:"):
        page.goto(address)
        page.wait_for_selector("body[data-ready]", timeout=30_000)
        yield page
        page.close()


@pytest.fixture(params=["file", "server"])
def page(request: pytest.FixtureRequest, browser: Any, pages: Pages, run: Path) -> Iterator[Any]:
    address = pages.file(run) if request.param == "file" else pages.server(run)
    if address is None:
        pytest.skip("ONNX Runtime Web is not in the cache")
    with opened(browser, address) as found:
        yield found


def decoded(page: Any, do: Any) -> None:
    """Do something, and wait for the picture that it leads to."""
    before = page.evaluate("Number(document.body.dataset.decoded)")
    do()
    until(page, "before => Number(document.body.dataset.decoded) > before", before)


def until(page: Any, expression: str, given: Any = None) -> None:
    """Wait until an expression of the page is true. (Playwright's own waiting uses eval, which the page forbids.)"""
    for _ in range(300):
        if page.evaluate(expression, given):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"never true: {expression}")


def test_pixels_are_those_of_torch(page: Any, run: Path) -> None:
    z = [0.3, -1.2, 0.8, 2.0]
    made = page.evaluate("z => networks[0].decode(Float32Array.from(z), null).then((x) => Array.from(x))", z)
    with torch.no_grad():
        exact = gv.load(run).model(torch.tensor([z]))[0]
    assert np.abs(np.array(made) - exact.numpy().ravel()).max() <= 1e-4


def test_cells_of_a_table_are_those_of_the_command_line(page: Any) -> None:
    """Dates with their place in the week and the day, numbers that may be missing, and bounds."""
    from ganvae_core.data.fields import rows_of_fields

    day, start = 86_400.0, 1.64e9
    knots = ((start, -1.7), (start + 4e7, 1.7))
    fields = (
        gv.Field("day", "date", 0, 3, knots=knots, step=day, cycles=(7 * day,), bounds=(start, start + 3e7)),
        gv.Field("hour", "date", 3, 5, knots=knots, step=3_600.0, cycles=(7 * day, day)),
        gv.Field("number", "number", 8, 4, missing=True, modes=((0.5, 0.1), (-0.5, 0.2)), spikes=(7.0,),
                 knots=((0.0, -1.0), (3.0, 0.0), (4.0, 1.0)), step=0.1),
        gv.Field("whole", "whole", 12, 1, knots=((0.0, -1.0), (9.0, 1.0)), step=1.0, bounds=(0.0, 9.0)),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(60, 13)).astype(np.float32)
    choices = np.exp(3 * x[:, 9:12])
    x[:, 9:12] = choices / choices.sum(1, keepdims=True)
    cells = page.evaluate(
        """([fields, rows]) => rows.map((x) => fields.map((field) => {
          const cell = cellOf({encoded: true}, {...field, numbers_in_x: field.numbers}, Float32Array.from(x));
          return [cell.text, Number.isNaN(cell.value) ? null : cell.value];
        }))""",
        [[{**dataclasses.asdict(field), "numbers": field.numbers} for field in fields], x.tolist()],
    )
    values = np.array([[np.nan if value is None else value for _, value in row] for row in cells])
    wanted = rows_of_fields(x, fields)
    np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-6)
    assert np.isnan(wanted).any()
    for row, (days, hours) in zip(cells, wanted[:, :2].astype(np.int64).astype("datetime64[s]"), strict=True):
        assert [row[0][0], row[1][0]] == [str(days)[:10], str(hours).replace("T", " ")]


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
        page.click(f"#pin-{name.upper()}")
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
    (tmp_path / "cut.json").write_text('{"code": [0.3, ')
    (tmp_path / "hostile.png").write_bytes(b"<script>alert(1)</script>")
    (tmp_path / "hostile.safetensors").write_bytes(b"\xff" * 40)
    decoded(page, lambda: page.set_input_files("#file", tmp_path / "right.png"))
    assert page.inner_text("#about") == "right.png"
    page.set_input_files("#file", tmp_path / "large.png")
    page.wait_for_selector("#question button:has-text('scale large.png')")
    assert page.inner_text("#about") == "right.png"
    decoded(page, lambda: page.click("#question button"))
    assert page.inner_text("#about") == "large.png"
    reasons = {"hostile.json": "no code", "hostile.png": "no", "hostile.safetensors": "it is no safetensors file",
               "cut.json": "it is no JSON"}  # fmt: skip
    for name, reason in reasons.items():
        page.set_input_files("#file", tmp_path / name)
        page.wait_for_selector(f"#message.error:has-text('{name}: '):has-text('{reason}')")
        assert page.inner_text("#about") == "large.png"
    page.set_input_files("#file", tmp_path / "large.png")
    page.wait_for_selector("#question button")
    decoded(page, lambda: page.keyboard.press("n"))  # what was said and asked before is over
    assert page.inner_text("#message") == ""
    assert not page.is_visible("#question")


def test_a_phone_needs_no_sideways_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_film_is_dragged_from_one_code_to_another(page: Any) -> None:
    box = page.locator("#map").bounding_box()
    decoded(page, lambda: page.mouse.click(box["x"] + 100, box["y"] + 200))
    left, top = page.evaluate("map.toPixels(...map.project(codes.kept.z))")
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 90, steps=3)
    page.mouse.up()
    page.wait_for_selector("#about:has-text('from A to B')")
    ends = page.evaluate("['A', 'B'].map((name) => map.toPixels(...map.project(pins[name].z)))")
    assert np.allclose(ends, [[left, top], [300, 90]], atol=1)


def test_the_map_is_dragged_where_there_is_no_code(page: Any) -> None:
    box = page.locator("#map").bounding_box()
    decoded(page, lambda: page.mouse.click(box["x"] + 100, box["y"] + 200))
    before, pins = page.evaluate("map.centre"), page.evaluate("Object.keys(pins)")
    page.mouse.move(box["x"] + 300, box["y"] + 60)  # which shows what is decoded there
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 90, steps=3)
    page.mouse.up()
    moved = np.subtract(page.evaluate("map.centre"), before) * page.evaluate("map.scale")
    assert np.allclose(moved, [40, 30], atol=1)
    assert page.evaluate("Object.keys(pins)") == pins


def test_a_map_of_many_rows_has_each_at_its_place_in_its_colour(page: Any) -> None:
    pixel, colour = page.evaluate("""() => {
        const context = map.dots.getContext("2d"), last = map.count - 1;
        map.drawMany(context, [...Array(map.count).keys()], 1);
        const place = map.toPixels(map.places[2 * last], map.places[2 * last + 1]).map(Math.round);
        return [Array.from(context.getImageData(...place, 1, 1).data), map.colourOfRow(last)];
    }""")
    assert pixel == [*bytes.fromhex(colour.removeprefix("#")), 255]


@pytest.fixture(scope="module")
def of_one_dimension(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("line")
    tiny = ("latent.shape=[1]", "generator.hidden=[4]")
    return [train(folder / "vae", "--plugin", "vae", "generator=mlp", "encoder=mlp", "encoder.hidden=[4]", *tiny),
            train(folder / "gan", "--plugin", "gan", "critic.hidden=[4]", *tiny)]  # fmt: skip


def test_two_runs_of_one_dimension_show_the_same_code_under_a_finger(
    browser: Any, pages: Pages, of_one_dimension: list[Path]
) -> None:
    address = pages.file(*of_one_dimension) or pages.server(*of_one_dimension)
    with opened(browser, address, has_touch=True) as page:
        box = page.locator("#map").bounding_box()
        decoded(page, lambda: page.touchscreen.tap(box["x"] + 300, box["y"] + 200))
        assert page.inner_text("#about") == "a place on the map"
        assert not page.is_enabled("#kind option[value=two]")
        until(page, "!decoding")
        z = page.evaluate("codes.kept.z[0]")
        expected = page.evaluate("map.toCodes([300, 200])[0]")
        assert z == pytest.approx(expected, abs=1e-6)
        for number, path in enumerate(of_one_dimension):
            shown = page.evaluate(
                "number => Array.from(by('rows').children[number].querySelector('canvas').getContext('2d')"
                ".getImageData(0, 0, 8, 8).data)",
                number,
            )
            loaded = gv.load(path)
            with torch.no_grad():
                x = loaded.model(torch.tensor([[z]]))[0, 0].numpy()
            low, high = loaded.spec.range or (0, 1)
            pixels = np.clip(np.rint(255 * (x - low) / (high - low)), 0, 255)
            assert np.abs(np.array(shown).reshape(8, 8, 4)[..., 0] - pixels).max() <= 1
        before = page.evaluate("map.span")
        touch = page.context.new_cdp_session(page)
        for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", 0)):
            points = [
                {"x": box["x"] + 250 + side * apart, "y": box["y"] + 200, "id": side} for side in (-1, 1)
            ]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if apart else []})
        until(page, "before => map.span < 0.7 * before", before)


def test_sounds_are_drawn_and_played(browser: Any, pages: Pages, tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    for kind in ("mel", "waveform"):
        run = train(tmp_path / kind, "--plugin", "vae", "--data", "audio", f"data.representation={kind}",
                    "generator=mlp", "encoder=mlp", "generator.hidden=[4]", "encoder.hidden=[4]",
                    "latent.shape=[2]")  # fmt: skip
        loaded = gv.load(run)
        with opened(browser, pages.server(run)) as page:
            page.click("#rows button:has-text('play')")
            until(page, "Boolean(audio && audio.state === 'running')")
            assert page.locator("#message.error").count() == 0
            if kind == "mel":
                bands, frames = loaded.spec.shape
                assert page.evaluate("[document.querySelector('#rows canvas').width,"
                                     "document.querySelector('#rows canvas').height]") == [frames, bands]  # fmt: skip
                seconds = page.evaluate(
                    "networks[0].decode(codes.kept.z).then((x) => soundOfSpectrogram(run, x, networks[0]))"
                    ".then((sound) => sound.duration)"
                )
                length = loaded.spec.details["length"] / loaded.spec.details["sample_rate"]
                assert seconds == pytest.approx(length, abs=0.15)  # and the pause after a sound
