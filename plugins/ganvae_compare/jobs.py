"""Training and measuring the jobs of a comparison, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import final

from ganvae_compare.plan import Job, ganvae
from ganvae_core.cli.run_files import outline
from ganvae_core.engine.environment import LAUNCHER, cores
from ganvae_core.errors import GanvaeError
from ganvae_core.store.directory import CONFIG, RunDirectory
from ganvae_core.store.files import whole_file

POLL_SECONDS = 0.2
SAVING_SECONDS = 60.0
"""How long a run that is asked to stop may take to save."""


@final
class Worker:
    """A job that is under way: its training, then its measuring.

    Args:
        job: that is to be done.
        threads: of its processes.
        lacks_references: whether the references are still to be measured when this job's turn comes.
    """

    def __init__(self, job: Job, threads: int, lacks_references: Callable[[], bool]) -> None:
        self.job = job
        self.threads = threads
        self.with_references = False
        self._lacks_references = lacks_references
        self.state = "trains"
        self.error = ""
        self._tries = 0
        job.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._start_training()

    def _start_training(self) -> subprocess.Popen[bytes]:
        if not self.job.train or is_finished(self.job.run):
            return self._start_measuring()
        if (self.job.run / CONFIG).is_file():
            words = ["run", "--resume", str(self.job.run), "--quiet"]
        else:
            words = [*self.job.train, "--out", str(self.job.run), "--quiet"]
        return self._start(words, subprocess.DEVNULL)

    def _start_measuring(self) -> subprocess.Popen[bytes]:
        self.state, self.with_references = "is measured", self._lacks_references()
        words = [*self.job.measure, *([] if self.with_references else ["--no-references"])]
        return self._start(words, subprocess.PIPE)

    def _start(self, words: list[str], output: int) -> subprocess.Popen[bytes]:
        # A child saves and ends when this process is gone. It has a session of its own: Ctrl-C reaches it through us.
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), LAUNCHER: str(os.getpid())}
        with self.job.log.open("ab") as log:
            return subprocess.Popen(ganvae(words), stdin=subprocess.DEVNULL, stdout=output, stderr=log,
                                    env=environment, start_new_session=True)  # fmt: skip

    def step(self) -> bool:
        """Look at the process, and go on where it has ended; false when the job is over."""
        process = self._process
        if self.state == "is measured":
            try:
                text, _ = process.communicate(timeout=0.01)
            except subprocess.TimeoutExpired:
                return True
            if process.returncode == 0:
                with whole_file(self.job.evaluation) as file:
                    file.write(text)
                self.state = "done"
                return False
        elif process.poll() is None:
            return True
        elif process.returncode == 0 or is_finished(
            self.job.run
        ):  # by a process of a comparison that was killed
            self._process = self._start_measuring()
            return True
        error = last_error(self.job.log)
        if "in use" in error and self._tries < SAVING_SECONDS:  # such a process saves it still
            self._tries += 1
            time.sleep(1.0)
            self._process = self._start_training()
            return True
        self.state, self.error = "failed", error
        return False

    def stop(self) -> None:
        """Ask the process to save and end."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait for the process to end, and kill it when it takes long."""
        try:
            self._process.wait(SAVING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def work_through(jobs: list[Job], processes: int, show: Callable[[list[Worker]], None]) -> list[Worker]:
    """Train and measure all jobs that are not done, so many at once.

    Args:
        jobs: in the order in which they are begun. The first one that comes so far is measured with the references.
        processes: at once.
        show: called again and again with all workers so far.

    Returns:
        The workers of the jobs that failed.

    Raises:
        KeyboardInterrupt: on a signal, when all processes have saved and ended.
    """
    waiting = [job for job in jobs if not job.is_done]
    threads = max(1, cores() // max(1, min(processes, len(waiting))))
    running: list[Worker] = []
    workers: list[Worker] = []

    def lacks_references() -> bool:
        return not any(each.with_references for each in running) and not any(
            job.has_references for job in jobs
        )

    try:
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(Worker(waiting.pop(0), threads, lacks_references))
                workers.append(running[-1])
            running[:] = [worker for worker in running if worker.step()]
            show(workers)
            time.sleep(POLL_SECONDS)
    finally:
        for worker in running:
            worker.stop()
        for worker in running:
            worker.wait()
    return [worker for worker in workers if worker.error]


def is_finished(run: Path) -> bool:
    """Whether a run has come to its end."""
    try:
        return outline(RunDirectory.open(run)).finished
    except GanvaeError:
        return False


def progress(job: Job) -> tuple[int, int]:
    """Steps done, and steps in all; zeros where nothing is known yet."""
    try:
        about = outline(RunDirectory.open(job.run))
    except (GanvaeError, OSError, ValueError):
        return 0, 0
    return about.step, about.steps


def last_error(log: Path) -> str:
    """The last error that a process printed, with its hints."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if not starts:
        return lines[-1] if lines else "it ended without a word"
    first, *hints = lines[starts[-1] :]
    return "\n".join([first.removeprefix("error: "), *(line for line in hints if line.startswith("  "))])
