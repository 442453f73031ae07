"""``ganvae compare``: one budget and one judge for all, a report that needs no network, and nothing done twice."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, quiet
from command_line import Ended, Say, at_once, train, write_table
from ganvae_compare import jobs
from ganvae_compare.budget import Budget
from ganvae_compare.evaluate_verb import with_spread
from ganvae_compare.jobs import Worker, work_through
from ganvae_compare.pictures import SECTIONS, drawn
from ganvae_compare.plan import PLAN, Plan, ganvae, parse_budget, read_settings, write_settings
from ganvae_compare.report import as_csv, as_markdown, compile_report, sentences
from ganvae_compare.rules import Entry, Summary, is_ahead, is_telling, pareto_front, summary, verdict

import ganvae_core as gv
from ganvae_core.cli.main import main
from ganvae_core.types import COST_OF_TRAINING

TINY = ("generator.hidden=[4]", "latent.shape=[2]", "engine.device=cpu")


def test_a_difference_counts_at_95_percent_of_students_t() -> None:
    first, second = Summary(10.0, 1.0, 4), Summary(8.0, 1.0, 4)  # √0.5 together, times 2.447: 1.73
    assert is_ahead(first, second, "higher")
    assert not is_ahead(second, first, "higher")
    assert is_ahead(second, first, "lower")
    assert not is_ahead(Summary(9.0, 1.0, 4), second, "higher")
    assert not is_ahead(Summary(99.0, 0.1, 1), second, "higher")  # one seed


def test_a_summary_of_one_seed_has_the_figures_own_error() -> None:
    assert summary([3.0], [0.5]) == Summary(3.0, 0.5, 1, 0.5)
    assert summary([1.0, 3.0], [None, None]) == Summary(2.0, pytest.approx(2**0.5), 2)
    assert summary([], []) is None


def test_a_verdict_names_whom_the_best_is_ahead_of() -> None:
    found = verdict(
        {"a": Summary(1.0, 0.1, 3), "b": Summary(1.05, 0.1, 3), "c": Summary(9.0, 0.1, 3), "d": None}, "lower"
    )
    assert (found.best, found.level, found.ahead_of) == ("a", ("b",), ("c",))
    assert verdict({"a": None}, "lower").best == ""


def test_the_front_has_whom_nobody_beats_in_both() -> None:
    quality, seconds = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 2.5}, {"a": 9.0, "b": 5.0, "c": 1.0, "d": 6.0}
    assert pareto_front(quality, seconds, "lower") == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("60s", (None, 60)),
        ("5m", (None, 300)),
        ("1.5h", (None, 5400)),
        ("2000", (2000, None)),
        (None, (None, None)),
    ],
)
def test_a_budget_is_a_time_or_a_number_of_steps(
    text: str | None, found: tuple[int | None, float | None]
) -> None:
    assert parse_budget(text) == found


@pytest.mark.parametrize("text", ["5 parsecs", "0s", "1.5", "-3", ""])
def test_another_budget_is_refused(text: str) -> None:
    with pytest.raises(gv.ConfigurationError, match="--budget"):
        parse_budget(text)


def test_a_budget_of_time_ends_training_as_complete_and_counts_on(tmp_path: Path) -> None:
    overrides = {
        "generator.hidden": [4],
        "encoder.hidden": [4],
        "engine.log_every": 1,
        "engine.device": "cpu",
    }
    run = gv.train(
        "vae", steps=500, out=tmp_path / "run", overrides=overrides, callbacks=[Budget(seconds=1e-6)]
    )
    assert run.step == 1
    assert run.directory.manifests()[1]["complete"]
    spent = Budget(seconds=5.0)
    spent.load_state_dict({"spent": 4.0, "stage": 0})
    assert spent.state_dict()["spent"] >= 4.0
    with pytest.raises(gv.ConfigurationError):
        Budget(seconds=0)


def test_a_plan_is_read_as_it_was_written_and_candidates_take_turns(tmp_path: Path) -> None:
    plan = Plan(tmp_path, ("vae", "ae/flow"), 2, "x.csv", ("engine.batch_size=8",), None, 60.0, "frechet", 50)
    write_settings(plan, PLAN)
    assert read_settings(Plan, tmp_path, PLAN, "comparison") == plan
    values = json.loads((tmp_path / PLAN).read_text())
    (tmp_path / PLAN).write_text(json.dumps({**values, "format": 1}))
    assert read_settings(Plan, tmp_path, PLAN, "comparison") == plan, "one that an earlier version began"
    assert [job.name for job in plan.jobs] == ["vae-seed-0", "ae-flow-seed-0", "vae-seed-1", "ae-flow-seed-1"]
    assert plan.jobs[1].train == (
        "run", "--plugin", "ae", "--recipe", "flow", "--data", "x.csv", "--seed", "0", "engine.batch_size=8",
        "callbacks=[{name: compare/budget, seconds: 60}]",
    )  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that exist, compared."""
    folder = tmp_path_factory.mktemp("compared")
    vae = train(folder / "vae", "--plugin", "vae", "encoder.hidden=[4]", *TINY)
    gan = train(folder / "gan", "--plugin", "gan", "critic.hidden=[4]", *TINY)
    words = [
        "compare",
        vae,
        gan,
        "--metrics",
        "kernel,fidelity",
        "--samples",
        "40",
        "--out",
        folder / "report",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_start", at_once)
        assert main([str(word) for word in words]) == 0
    return folder / "report"


def test_a_report_has_every_part(compared: Path) -> None:
    page = (compared / "report.html").read_text("utf-8")
    for part in ("Recommendation", "Leaderboard", "Samples", "Nearest training rows", "Reconstructions",
                 "Interpolations", "Codes", "Training", "real against real"):  # fmt: skip
        assert part in page, part
    assert len(page) < 5_000_000
    # No address but those inside of the page.
    assert set(re.findall(r'(?:src|href)="([a-z]+):', page)) == {"data"}
    assert "http" not in re.sub(r"data:[^\"]+", "", page)
    assert "the model has no encoder" in page
    text = (compared / "report.md").read_text("utf-8")
    assert "| vae |" in text
    heading = next(line for line in text.splitlines() if line.startswith("|"))
    assert "MSE" in heading  # beside the PSNR: what --metrics names is all shown
    assert "PSNR" in heading
    rows = (compared / "leaderboard.csv").read_text("utf-8").splitlines()
    assert any(row.startswith("gan,candidate,kd_pixels,,lower,") for row in rows)


def test_nothing_is_done_twice(compared: Path, say: Say) -> None:
    files = sorted((compared / "evaluations").iterdir())
    before = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 2
    outcome = say("compare", "--resume", compared)
    assert outcome.code == 0
    assert "2 runs, 0 to do" in outcome.err
    assert outcome.out.strip() == str(compared / "report.html")
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_damaged_run_is_a_gap_and_the_others_are_measured(
    compared: Path, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_start", at_once)
    damaged = tmp_path / "damaged"
    shutil.copytree(compared.parent / "vae", damaged)
    for weights in damaged.rglob("model.safetensors"):
        weights.write_bytes(b"")
    words = ["compare", damaged, compared.parent / "gan", "--metrics", "kernel", "--samples", "40"]
    outcome = say(*words, "--out", tmp_path / "report")
    assert outcome.code == 2
    assert f"error: {damaged}: " in outcome.err
    report = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "| damaged | n/a |" in report
    assert "\n- damaged: " in report
    assert "| real against real |" in report
    assert f"$ ganvae run --config {damaged}/config.yaml" in report
    assert say("compare", damaged, tmp_path / "nowhere", "--out", tmp_path / "none").code == 2
    assert not (tmp_path / "none").exists()


def test_the_first_run_that_is_trained_is_measured_with_the_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def start(worker: Worker, words: list[str], output: int) -> Ended:
        if words[0] == "run":
            worker.job.log.write_text("error: the loss is not finite.\n")
            return Ended(int("gan" in words), b"")
        measured.append(f"{worker.job.candidate} {words[-1]}")
        part = {"references": {} if "--no-references" in words else {"noise": {}}}
        return Ended(0, json.dumps([{"measured": [part]}]).encode())

    monkeypatch.setattr(Worker, "_start", start)
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.0)
    failed = work_through(Plan(tmp_path, ("gan", "vae", "ae")).jobs, 1, lambda workers: None)
    assert [(worker.job.candidate, worker.error) for worker in failed] == [("gan", "the loss is not finite.")]
    assert measured == ["vae --json", "ae --no-references"]


def test_runs_on_other_data_are_refused_before_they_are_measured(tmp_path: Path, say: Say) -> None:
    runs = [train(tmp_path / str(share), "--plugin", "gan", f"data.held_out={share}", "critic.hidden=[4]", *TINY)
            for share in (0.1, 0.2)]  # fmt: skip
    outcome = say("compare", *runs, "--out", tmp_path / "c")
    assert outcome.code == 2
    assert "were not trained on the same data: held_out differ" in outcome.err
    assert not (tmp_path / "c").exists()


def fabricated(
    folder: Path,
    values: dict[str, list[float | None]],
    seconds: dict[str, float] | None = None,
    ceiling: float | None = None,
    noise: float = 99.0,
) -> Plan:
    """A comparison of candidates with these kernel distances by seed, as it lies on disk."""
    plan = Plan(folder, tuple(values), len(next(iter(values.values()))), "digits", steps=100)
    for job in plan.jobs:
        value = values[job.candidate][job.seed]
        result: dict[str, Any] = {
            "value": value,
            "error": None,
            "reason": "" if value is not None else "the reason",
        }
        figure = {"name": "kd_judge", "label": "KD, judge", "unit": "", "better": "lower"}
        beside = {"real against real": ceiling, "noise": noise}
        references = {} if ceiling is None else {name: {"kd_judge": {"value": value, "error": 0.5, "reason": ""}}
                                                 for name, value in beside.items()}  # fmt: skip
        one = {
            "metric": "kernel",
            "figures": [figure],
            "results": {"kd_judge": result},
            "references": references,
        }
        job.evaluation.parent.mkdir(parents=True, exist_ok=True)
        spent = {"value": seconds and seconds[job.candidate], "error": None, "reason": "not known"}
        cost = {"metric": "cost", "figures": [{"name": "training_seconds", "label": "training", "unit": "s"}],
                "results": {"training_seconds": spent}, "references": {}}  # fmt: skip
        whole = {"measured": [one, cost], "samples": 9, "held_out": 9, "seed": 0, "step": 7,
                 "complete": job.seed == 0}  # fmt: skip
        job.evaluation.write_text(json.dumps([whole]))
    return plan


def test_the_recommendation_says_what_seeds_separate(tmp_path: Path) -> None:
    plan = fabricated(tmp_path, {"gan": [1.0, 1.1, 0.9], "vae": [1.2, 0.8, 1.1], "ae": [5.0, 5.1, 4.9]})
    report = compile_report(plan, [("machine", "this one")])
    assert sentences(report) == [
        "to generate: gan and vae are level within the spread of seeds;"
        " gan is ahead of ae beyond the spread — by KD, judge"
    ]
    assert (
        "3 seeds do not separate the first candidates (to generate): repeat with more seeds, --seeds 6"
        in report.next_steps
    )
    assert "| gan | 1.00 ± 0.10 |" in as_markdown(report)
    assert ("not complete", "gan at step 7") in report.facts


def test_of_candidates_that_are_level_the_fastest_stands_first(tmp_path: Path) -> None:
    values: dict[str, list[float | None]] = {
        "gan": [1.0, 1.1, 0.9],
        "vae": [1.2, 0.8, 1.1],
        "ae": [5.0, 5.1, 4.9],
    }
    seconds = {"gan": 80.0, "vae": 40.0, "ae": 10.0}
    report = compile_report(fabricated(tmp_path, values, seconds), [])
    assert [entry.name for entry in report.entries] == ["vae", "gan", "ae"]
    assert report.front == {"gan", "vae", "ae"}
    assert (
        "gan and vae are level within the spread of seeds; vae trains fastest, in 40 s"
        in sentences(report)[0]
    )
    assert "vae,candidate,training_seconds,s,higher,40.0," in as_csv(report)


@pytest.mark.parametrize(("ceiling", "is_reached"), [(0.7, True), (0.2, False)])
def test_a_candidate_that_is_as_good_as_data_needs_no_longer_training(
    ceiling: float, is_reached: bool, tmp_path: Path
) -> None:
    report = compile_report(fabricated(tmp_path, {"gan": [1.0, 1.1, 0.9]}, ceiling=ceiling), [])
    steps = " · ".join(report.next_steps)
    said = "to generate: KD, judge does not tell gan from data (1.00 ± 0.10, data in place of samples 0.70 ± 0.50)"
    assert (said in steps) == is_reached
    assert ("train gan longer" in steps) != is_reached


def test_a_figure_tells_noise_from_data_by_two_standard_errors() -> None:
    ceiling = Summary(-10.0, 310.0, 1, 310.0)
    assert not is_telling(Summary(550.0, 250.0, 1, 250.0), ceiling, "lower")
    assert is_telling(Summary(900.0, 250.0, 1, 250.0), ceiling, "lower")
    assert is_telling(Summary(0.2, None, 1), Summary(0.9, None, 1), "higher")


def test_a_candidate_that_is_no_better_than_a_floor_is_said_to_be(tmp_path: Path) -> None:
    report = compile_report(fabricated(tmp_path, {"gan": [9.0, 9.1, 8.9]}, ceiling=0.1, noise=9.2), [])
    assert (
        "gan, the only one that has the figure; no better than noise — by KD, judge" in sentences(report)[0]
    )


def test_a_figure_that_does_not_tell_noise_from_data_recommends_nobody(tmp_path: Path) -> None:
    report = compile_report(fabricated(tmp_path, {"gan": [1.0, 1.1]}, ceiling=0.7, noise=1.0), [])
    assert sentences(report) == []


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (-8.19, 3.17, "−8.2 ± 3.2"),
        (312_972.0, 98_078.0, "313,000 ± 98,000"),
        (0.9614, 0.0278, "0.961 ± 0.028"),
        (-0.001, 3.0, "−0.0 ± 3.0"),
        (0.248064, 0.0, "0.248"),
        (1234.5, None, "1,234"),
    ],
)
def test_values_are_written_to_the_second_digit_of_their_spread(
    value: float, spread: float | None, text: str
) -> None:
    assert with_spread(value, spread) == text


def test_a_seed_that_failed_is_a_marked_gap(tmp_path: Path) -> None:
    plan = fabricated(tmp_path, {"gan": [1.0, 1.1], "vae": [None, None]})
    plan.jobs[3].evaluation.unlink()
    plan.jobs[3].log.parent.mkdir()
    plan.jobs[3].log.write_text("measuring\nerror: the loss is not finite.\n  try a smaller rate\nbye\n")
    report = compile_report(plan, [])
    (vae,) = [entry for entry in report.entries if entry.name == "vae"]
    assert vae.failures == ["seed 1: the loss is not finite.\n  try a smaller rate"]
    assert vae.figure("kd_judge") is None
    assert vae.reason("kd_judge") == "the reason"
    assert "vae,candidate,kd_judge" not in as_csv(report)


def test_a_stop_by_a_signal_has_its_exit_code_and_says_how_to_go_on(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt(signal.SIGTERM)

    monkeypatch.setattr(jobs, "work_through", stopped)
    outcome = say("compare", "--plugin", "ae", "--out", tmp_path / "c", "encoder.hidden=[4]", *TINY)
    assert outcome.code == 143
    assert f"go on:  ganvae compare --resume {tmp_path / 'c'}" in outcome.err


def test_a_figure_that_one_seed_lacks_is_said(tmp_path: Path) -> None:
    report = compile_report(fabricated(tmp_path, {"gan": [1.0, 1.1], "vae": [2.0, None]}), [])
    assert "- vae: no KD, judge of 1 of 2 seeds: the reason\n" in as_markdown(report)


def test_a_figure_that_no_candidate_has_is_said(tmp_path: Path) -> None:
    report = compile_report(fabricated(tmp_path, {"gan": [None], "vae": [None]}), [])
    assert "- no candidate has KD, judge: the reason\n" in as_markdown(report)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to compare"),
        (["--plugin", "vae", "--plugin", "vae"], "given twice"),
        (["--plugin", "vea"], "Did you mean 'vae'"),
        (["--plugin", "vae", "objective.bta=1"], "bta"),
        (["--plugin", "vae", "--budget", "soon"], "--budget"),
        (["--plugin", "vae", "--metrics", "{"], "--metrics"),
        (["--plugin", "vae", "--metrics", "frechett"], "Did you mean 'frechet'"),
        (["nowhere", "elsewhere"], "nowhere"),
        (["--resume", "nowhere"], "is not a comparison"),
        (["--plugin", "vae", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    words: list[str], expected: str, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = say("compare", *words)
    assert outcome.code == 2
    assert expected in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_that_is_killed_goes_on_and_trains_nothing_twice(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after the first checkpoint of the run, which is trained and measured in processes of its own."""
    monkeypatch.chdir(tmp_path)
    every = ("engine.checkpoint_every=50", "engine.log_every=25", "engine.threads=1")
    words = ["--plugin", "ae", "--seeds", "1", "--budget", "400", "--metrics", "kernel", "--samples", "20",
             "--out", "c", *TINY, "encoder.hidden=[4]", *every]  # fmt: skip
    run = tmp_path / "c" / "runs" / "ae-seed-0"
    with subprocess.Popen(ganvae(["compare", *words]), stderr=subprocess.DEVNULL) as begun:
        while not list(run.glob("checkpoints/step-*/manifest.json")):
            assert begun.poll() is None
            time.sleep(0.05)
        begun.kill()
    outcome = say("compare", "--resume", "c")
    assert outcome.code == 0, outcome.err
    assert "ae-seed-0: done" in outcome.err
    assert "ganvae run --plugin ae --steps 400 --seed 0" in (tmp_path / "c" / "report.md").read_text("utf-8")
    words = [
        "--plugin",
        "ae",
        "--steps",
        "400",
        "--seed",
        "0",
        *TINY,
        "encoder.hidden=[4]",
        *every,
        "--quiet",
    ]
    assert say("run", *words, "--out", "whole").code == 0
    assert logged(gv.load(run)) == logged(gv.load("whole"))


def logged(run: gv.Run) -> list[dict[str, Any]]:
    """``metrics.jsonl`` without what depends on the machine."""
    return [{name: value for name, value in record.items() if name not in COST_OF_TRAINING}
            for record in run.metrics]  # fmt: skip


def test_a_browser_shows_the_page_without_an_error(compared: Path) -> None:
    """At the width of a phone and of a screen, in both colour schemes."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("there is no Chromium")
    grounds: set[str] = set()
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM))
        for width, scheme in ((390, "dark"), (1280, "light")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            with quiet(page, "file:", "data:"):
                page.goto((compared / "report.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert (
                    page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True] * 10
                )
                first = "document.querySelector('tbody td').textContent"
                before = page.evaluate(first)
                page.locator("thead button").first.click()
                page.locator("thead button").first.click()
                assert page.evaluate(first) != before  # sorted the other way round
                fits = page.evaluate("""() => {  // a table of thirteen columns of means with spreads
                    for (const row of document.querySelector("table").rows) {
                        while (row.cells.length < 13) row.append(row.cells[1].cloneNode(true));
                        const cells = [...row.querySelectorAll("td")].slice(1);
                        for (const cell of cells) cell.textContent = "93.667 ±\u00a00.024";
                    }
                    const wide = document.querySelector(".wide");
                    return wide.scrollWidth <= wide.clientWidth;
                }""")  # fmt: skip
                assert fits == (width == 1280)
                grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        browser.close()
    assert len(grounds) == 2


@pytest.mark.parametrize("data", ["table", "points"])
def test_single_rows_of_tables_and_points_are_shown(data: str, tmp_path: Path) -> None:
    """Two candidates would have the same sections; one is enough."""
    source = write_table(tmp_path / "rows.csv") if data == "table" else "ring"
    run = train(tmp_path / "vae", "--plugin", "vae", "--data", source, "encoder.hidden=[4]", *TINY)
    pictures = drawn([Entry("vae", [], [run], [], [])])
    assert [title for title, _, _ in pictures.sections] == [*SECTIONS]
    for title in ("Nearest training rows", "Reconstructions", "Interpolations"):
        shown = pictures.shown[title]["vae"]
        if isinstance(shown, str):
            assert data == "points"
            continue
        assert list(shown.headings)[:2] == ["height", "weight"]
        assert all(len(cells) == len(shown.headings) for _, _, cells in shown.rows)
        legs = list(shown.headings).index("legs")
        assert {cells[legs] for _, _, cells in shown.rows} == {"5"}
    assert isinstance(pictures.shown["Samples"]["vae"], str)
