"""A search over settings by Optuna: trials are runs in one folder, which any number of processes share."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from filelock import FileLock, Timeout

import ganvae_core as gv
from ganvae_core.cli.output import four_digits
from ganvae_core.config.layers import Text
from ganvae_core.store.files import whole_file
from ganvae_core.store.manifests import texts

if TYPE_CHECKING:
    import optuna

SWEEP, JOURNAL, TRIALS, LOCKS, TABLE, PLOT, BEST = ("sweep.json", "journal.log", "trials", "locks", "trials.csv",
                                                    "sweep.png", "best.yaml")  # fmt: skip
STUDY = "sweep"
RUN, RESULTS = "run", "results"
"""What a trial keeps beside its values: the path of its run, and all figures of it."""
CLAIM = "claim"
"""The lock under which trials are claimed, one process at a time."""
POLL_SECONDS = 1.0
STARTUP_TRIALS = 8
"""Trials that are drawn at random, and complete before any is pruned."""
JUDGED_FROM = 0.3
"""Share of a trial's steps before which it is not stopped: what begins slowly may end well."""
FEWEST = 10
"""Complete trials from which on importances are estimated: fewer say more of chance than of a setting."""
MOST_DRAWN = 4
"""Figures that are drawn; all of them are in the table."""
BEST_MARK: dict[str, Any] = {"s": 60, "facecolors": "none", "edgecolors": "C3", "linewidths": 1.5}
LIST = re.compile(r"\[(?P<inner>.*)\]")
NUMBERS = re.compile(r"(?P<log>log:)?(?P<low>[-+0-9.eE]+)\.\.(?P<high>[-+0-9.eE]+)")
WHOLE = re.compile(r"[-+]?\d+")


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that a setting may take.

    Args:
        low: the least number.
        high: the largest.
        is_whole: whether numbers are whole.
        is_log: whether their logarithms are evenly spread.
        choices: texts instead of numbers.
        in_list: whether the value stands in a list, as a shape of one number does.
    """

    low: float = 0.0
    high: float = 0.0
    is_whole: bool = False
    is_log: bool = False
    choices: tuple[str, ...] = ()
    in_list: bool = False

    @property
    def first(self) -> Any:
        """A value to check a configuration with, as it is typed."""
        if self.choices:
            return self._typed(Text(self.choices[0]))
        return self._typed(int(self.low) if self.is_whole else self.low)

    def drawn(self, trial: optuna.Trial, key: str) -> Any:
        """A value for a trial, as it is typed."""
        if self.choices:
            return self._typed(Text(trial.suggest_categorical(key, list(self.choices))))
        if self.is_whole:
            return self._typed(trial.suggest_int(key, int(self.low), int(self.high), log=self.is_log))
        return self._typed(trial.suggest_float(key, self.low, self.high, log=self.is_log))

    def _typed(self, value: Any) -> Any:
        return [value] if self.in_list else value


def parse_range(key: str, text: str) -> Range | None:
    """``2..64``, ``log:0.1..10``, ``any:mlp,dcgan`` or one of them in brackets; None for a plain value.

    Raises:
        ConfigurationError: the bounds make no range.
    """
    match = LIST.fullmatch(text)
    inner = match["inner"] if match else text
    if inner.startswith("any:"):
        return Range(choices=tuple(inner.removeprefix("any:").split(",")), in_list=match is not None)
    found = NUMBERS.fullmatch(inner)
    if found is None:
        return None
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError:
        raise gv.ConfigurationError(f"{key}: '{text}' is not a range of numbers.") from None
    if not low < high or (found["log"] and low <= 0):
        what = (
            "a logarithmic range begins above 0"
            if found["log"] and low <= 0
            else "the first number is the lower one"
        )
        raise gv.ConfigurationError(
            f"{key}: '{text}' is not a range: {what}.", f"like  {key}=2..64  {key}=log:0.1..10"
        )
    is_whole = all(WHOLE.fullmatch(found[part]) for part in ("low", "high"))
    return Range(low, high, is_whole, bool(found["log"]), in_list=match is not None)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A search.

    Args:
        folder: where everything is written.
        plugin: that is trained.
        recipe: of it; empty for the default one.
        data: the source; empty for the default.
        settings: KEY=VALUE that all trials share, and ranges.
        metric: the figure that is searched by.
        direction: ``maximize`` or ``minimize``.
        trials: in all.
        seed: of the search by one process; the runs have the recipe's.
    """

    folder: Path
    plugin: str
    recipe: str
    data: str
    settings: tuple[tuple[str, str], ...]
    metric: str
    direction: Literal["maximize", "minimize"]
    trials: int
    seed: int

    @property
    def ranges(self) -> dict[str, Range]:
        """The settings that are searched."""
        return {key: found for key, text in self.settings if (found := parse_range(key, text)) is not None}

    @property
    def fixed(self) -> list[tuple[str, Any]]:
        """The settings that are not."""
        return [(key, Text(text)) for key, text in self.settings if key not in self.ranges]


def study_of(sweep: Sweep) -> optuna.Study:
    """The study in the sweep's folder, which all processes and machines share.

    Raises:
        ConfigurationError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ModuleNotFoundError:
        raise gv.ConfigurationError("a sweep needs Optuna, which is not installed.",
                                    "pip install 'ganvae[sweep]'") from None  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(sweep.folder / JOURNAL)
    # A lock by exclusive creation works on network file systems, too.
    storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    study = optuna.create_study(
        storage=storage, study_name=STUDY, direction=sweep.direction, load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
    )  # fmt: skip
    # Who goes on draws other values than the first process did.
    seed = sweep.seed + len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    return study


@final
class Pruning(gv.Callback):
    """Reports each measurement to a trial, and stops one that is below the median of the others at the same step."""

    def __init__(self, trial: optuna.Trial, metric: str) -> None:
        self.trial = trial
        self.metric = metric
        self.pruned = False

    def on_results(self, training: gv.TrainingView, results: Mapping[str, float]) -> None:
        """Report, and stop where it is hopeless."""
        if self.metric not in results or training.ending:
            return
        self.trial.report(results[self.metric], training.step)
        if training.step >= JUDGED_FROM * training.target_steps and self.trial.should_prune():
            self.pruned = True
            training.stop("the trial is worse than the median of the others")


def run_trials(sweep: Sweep, say: Any) -> None:
    """Ask for trials, train them and report them, until as many have ended as there are to be.

    A trial of the same values as one that has ended is not trained again, and ends as it did. While other processes run
    the last trials this one waits, since one that is killed leaves its trial to be claimed.

    Args:
        sweep: what is searched.
        say: called with a line for each trial that has ended.
    """
    from optuna.trial import TrialState

    study = study_of(sweep)
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    (sweep.folder / LOCKS).mkdir(exist_ok=True)
    while len(study.get_trials(deepcopy=False, states=ended)) < sweep.trials:
        if (claimed := _claim(sweep, study)) is None:
            time.sleep(POLL_SECONDS)
            continue
        trial, held = claimed
        with held:
            drawn = {key: found.drawn(trial, key) for key, found in sweep.ranges.items()}
            said = _run_trial(sweep, study, trial, drawn)
        settings = " ".join(f"{key}={short(value)}" for key, value in drawn.items())
        say(f"trial {trial.number}: {said}   {settings}")


def _claim(sweep: Sweep, study: optuna.Study) -> tuple[optuna.Trial, AbstractContextManager[Any]] | None:
    """A new trial, and its lock that is held; None where those that have ended or run are enough."""
    with FileLock(sweep.folder / LOCKS / CLAIM):
        states = [_state(sweep, trial) for trial in study.get_trials(deepcopy=False)]
        if len(states) - states.count("lost") >= sweep.trials:
            return None
        trial = study.ask()
        return trial, _lock_of(sweep, trial.number).acquire()


def _lock_of(sweep: Sweep, number: int) -> FileLock:
    """What a process holds while it runs a trial."""
    return FileLock(sweep.folder / LOCKS / f"trial-{number:04d}")


def short(value: Any) -> str:
    """A setting for people: best.yaml and trials.csv have all digits."""
    if isinstance(value, list):
        return f"[{short(value[0])}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _run_trial(sweep: Sweep, study: optuna.Study, trial: optuna.Trial, drawn: Mapping[str, Any]) -> str:
    """Train a trial, or take what one of the same values has given, report it, and say how it ended."""
    from optuna.trial import TrialState

    known = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    if equal := next((other for other in known if other.params == trial.params), None):
        for name in (RUN, RESULTS):
            trial.set_user_attr(name, equal.user_attrs[name])
        is_complete = equal.state == TrialState.COMPLETE
        study.tell(trial, equal.value if is_complete else None, state=equal.state)
        return f"the same values as trial {equal.number}, not trained again"
    pruning = Pruning(trial, sweep.metric)
    try:
        run = gv.train(
            sweep.plugin, recipe=sweep.recipe or None, data=sweep.data or None,
            out=sweep.folder / TRIALS / f"{trial.number:04d}", overrides=dict([*sweep.fixed, *drawn.items()]),
            callbacks=[pruning],
        )  # fmt: skip
        if sweep.metric not in run.results:
            because = texts(run.directory.newest_measured().get("gaps")).get(sweep.metric)
            raise gv.ConfigurationError(f"no figure {sweep.metric}" + (f": {because}" if because else ""))
        value = run.results[sweep.metric]
    except gv.GanvaeError as error:
        reason = error.message
        trial.set_user_attr("error", reason)
        study.tell(trial, state=TrialState.FAIL)
        return f"failed: {reason}"
    trial.set_user_attr(RUN, str(run.path))
    trial.set_user_attr(RESULTS, dict(run.results))
    if pruning.pruned:
        study.tell(trial, state=TrialState.PRUNED)
        return f"pruned at step {run.step:,}"
    study.tell(trial, value)
    return f"{sweep.metric} {four_digits(value)}"


def finish(sweep: Sweep) -> optuna.trial.FrozenTrial:
    """Write the table, the plot and the best configuration, and give the best trial.

    Raises:
        RunError: no trial has come to its end.
    """
    from optuna.trial import TrialState

    study = study_of(sweep)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        errors = [trial.user_attrs["error"] for trial in study.get_trials() if "error" in trial.user_attrs]
        raise gv.RunError(f"no trial of '{sweep.folder}' has come to its end.", *errors[:1])
    best = study.best_trial
    with whole_file(sweep.folder / TABLE) as file:
        file.write(_table(sweep, study.get_trials(deepcopy=False)).encode())
    configuration = (_run_of(sweep, best) / "config.yaml").read_bytes()
    with whole_file(sweep.folder / BEST) as file:
        file.write(configuration)
    _plot(sweep, study, complete)
    return best


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each of several settings decides, in shares; empty with fewer than ten complete trials."""
    import optuna
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST or len(study.best_params) < 2:
        return {}
    return optuna.importance.get_param_importances(study)


def _figures(sweep: Sweep, trials: Sequence[optuna.trial.FrozenTrial]) -> list[str]:
    """The figure that is searched by, then the others of the trials' metrics."""
    found = dict.fromkeys(name for trial in trials for name in trial.user_attrs.get(RESULTS, {}))
    return [sweep.metric, *(name for name in found if name != sweep.metric)]


def _table(sweep: Sweep, trials: Sequence[optuna.trial.FrozenTrial]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys, figures = list(sweep.ranges), _figures(sweep, trials)
    writer.writerow(["trial", "state", *keys, *figures, "run"])
    for trial in trials:
        results = trial.user_attrs.get(RESULTS, {})
        run = _run_of(sweep, trial) if RUN in trial.user_attrs else ""
        writer.writerow([trial.number, _state(sweep, trial), *(trial.params.get(key, "") for key in keys),
                         *(results.get(name, "") for name in figures), run])  # fmt: skip
    return text.getvalue()


def _run_of(sweep: Sweep, trial: optuna.trial.FrozenTrial) -> Path:
    """The run of a trial as seen from here; the process that trained it may have worked in another folder."""
    return sweep.folder / TRIALS / Path(trial.user_attrs[RUN]).name


def _state(sweep: Sweep, trial: optuna.trial.FrozenTrial) -> str:
    """How a trial has ended; of one that a killed process has left behind, whose lock is free, ``lost``."""
    from optuna.trial import TrialState

    if trial.state == TrialState.RUNNING:
        try:
            with _lock_of(sweep, trial.number).acquire(timeout=0):
                return "lost"
        except Timeout:
            pass
    return trial.state.name.lower()


def _plot(sweep: Sweep, study: optuna.Study, complete: Sequence[optuna.trial.FrozenTrial]) -> None:
    """A line of panels for each figure, against each setting; of several settings their importance, too."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    keys, figures = list(sweep.ranges), _figures(sweep, complete)[:MOST_DRAWN]
    shares = importances(study)
    down, columns = len(figures), len(keys) + bool(shares)
    if columns == 1:  # figures of one setting stand beside each other
        down, columns = columns, down
    chart = Figure(figsize=(3.4 * columns, 2.6 * down + 0.4), layout="constrained")
    panels: Any = chart.subplots(down, columns, squeeze=False).reshape(len(figures), -1)
    if shares:
        panels[0, -1].barh(list(shares), list(shares.values()))
        panels[0, -1].set_xlabel(f"importance for {sweep.metric}, share")
        for axes in panels[1:, -1]:
            axes.set_visible(False)
    best = study.best_trial
    for line, figure in zip(panels, figures, strict=True):
        for key, axes in zip(keys, line, strict=False):
            for trials, style in ((complete, {"s": 16}), ([best], BEST_MARK)):
                there = [trial for trial in trials if figure in trial.user_attrs[RESULTS]]
                axes.scatter([trial.params[key] for trial in there],
                             [trial.user_attrs[RESULTS][figure] for trial in there], **style)  # fmt: skip
            axes.set_xlabel(key)
            axes.set_ylabel(figure)
            if (found := sweep.ranges[key]).is_log:
                axes.set_xscale("log")
                is_wide = found.high > 100 * found.low
                axes.xaxis.set_major_locator(LogLocator(subs=(1,) if is_wide else (1, 2, 5)))
                axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axes.xaxis.set_minor_locator(NullLocator())
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    with whole_file(sweep.folder / PLOT) as file:
        chart.savefig(file, format="png", dpi=110)
