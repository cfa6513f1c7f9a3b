"""What a person sees of an epoch while it runs: clips, clips per second, time left, validation accuracy."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class EpochProgress:
    """A bar on stderr for one phase; off a terminal one line per finished epoch.

    Args:
        name: of the phase.
        epochs, steps, batch: length of the phase, batches per epoch, clips per batch.
        first: epochs that are done already.
    """

    def __init__(self, name: str, epochs: int, steps: int, batch: int, first: int) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.batch = batch
        self.task = self.bar.add_task(name, total=epochs * steps, completed=first * steps, rate="")

    def __enter__(self) -> EpochProgress:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def step(self) -> None:
        """One batch is done."""
        speed = self.bar.tasks[self.task].speed
        self.bar.update(self.task, advance=1, rate=f"{speed * self.batch:,.0f} clips/s" if speed else "")

    def epoch(self, line: dict[str, Any]) -> None:
        """One epoch is done: its metrics line."""
        self.console.print(
            f"{line['phase']} epoch {line['epoch']}/{line['epochs']}  loss {line['loss']:.3f}  "
            f"validation {100 * line['validation_accuracy']:.2f} %  {line['clips_per_second']:,} clips/s",
            highlight=False,
        )
