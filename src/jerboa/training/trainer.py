"""A whole training run: float, then int8, each phase resumable from the run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from jerboa import models
from jerboa.recipe import Recipe
from jerboa.training import checkpoint
from jerboa.training.data import Batches, Dataset
from jerboa.training.loop import Lesson, Phase, choose_device, fit, float_phase, make_deterministic, teach
from jerboa.training.progress import EpochProgress
from jerboa.training.quantize import quantize

_OWN_WEIGHT = 0.7


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        float_module: the network before quantisation, in evaluation mode, on the CPU.
        quantized: the same with int8 rounding, for ``quantize.freeze`` and ``quantize.export``.
        history: the lines of ``metrics.jsonl``.
    """

    float_module: nn.Module
    quantized: fx.GraphModule
    history: list[dict[str, Any]]


def train(recipe: Recipe, data: Dataset, run: Path, device: torch.device | None = None) -> Trained:
    """Train the recipe's network on the data, float first, then with int8 rounding in the forward pass.

    Writes ``checkpoint.pt`` and ``metrics.jsonl`` into ``run`` after every epoch. Called again on the same folder it goes
    on after the last finished epoch; on the CPU the result has the bytes of an uninterrupted run.

    Raises:
        JerboaError: unknown network or option, a damaged or foreign checkpoint, a full disk, no such device.
    """
    make_deterministic()
    device = device or choose_device(recipe.training.device)
    run_state = _Run(run, _fingerprint(recipe, data), device)
    batches = Batches(data, recipe.augment, recipe.training.batch_size, recipe.seed)

    def fresh() -> nn.Module:
        return _build(recipe, data, recipe.model.name, recipe.model.options)

    def large() -> nn.Module:
        return _build(recipe, data, recipe.distillation.name, recipe.distillation.options)

    lesson = None
    if recipe.distillation.epochs:
        teacher = run_state.phase(_teacher_phase(recipe), large, batches, data)
        lesson = partial(teach, teacher, data, recipe.distillation.weight, recipe.distillation.temperature, device)
    network = run_state.phase(float_phase(recipe), fresh, batches, data, lesson)
    settings = recipe.quantization

    def rounded() -> nn.Module:
        clips = data.calibration(settings.calibration_clips, recipe.seed)
        return quantize(network, clips, data.spec.scale, data.spec.zero_point, settings.calibration)

    own = partial(teach, network, data, _OWN_WEIGHT, 1.0, device) if settings.qat_epochs else None
    tuned = run_state.phase(_int8_phase(recipe), rounded, batches, data, own)
    assert isinstance(tuned, fx.GraphModule)
    return Trained(network, tuned, run_state.history)


def _build(recipe: Recipe, data: Dataset, name: str, options: Mapping[str, Any]) -> nn.Module:
    torch.manual_seed(recipe.seed)
    return models.build(name, data.spec.frames, data.spec.features, len(data.labels), options)


def _teacher_phase(recipe: Recipe) -> Phase:
    return replace(float_phase(recipe), name="teacher", epochs=recipe.distillation.epochs)


def _int8_phase(recipe: Recipe) -> Phase:
    """Fine-tuning with rounding, taught by the float network so that the two stay alike."""
    return replace(
        float_phase(recipe),
        name="int8",
        epochs=recipe.quantization.qat_epochs,
        learning_rate=recipe.quantization.qat_learning_rate,
        schedule="cosine",
        mixup=0.0,
    )


class _Run:
    """The run folder: which phases are done and where the current one stands."""

    def __init__(self, folder: Path, fingerprint: str, device: torch.device) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.device = device
        state = checkpoint.load(folder, fingerprint) or {}
        self.done: dict[str, Any] = state.get("done", {})
        self.current: dict[str, Any] | None = state.get("current")
        self.history: list[dict[str, Any]] = state.get("history", [])

    def phase(
        self,
        phase: Phase,
        make: Callable[[], nn.Module],
        batches: Batches,
        data: Dataset,
        lesson: Callable[[], Lesson] | None = None,
    ) -> nn.Module:
        """The network that the phase ends with, trained or read."""
        module = make()
        if phase.name in self.done:
            module.load_state_dict(self.done[phase.name])
            return module.eval()
        if lesson is not None:
            phase = replace(phase, lesson=lesson())
        resume = self.current if self.current and self.current["phase"] == phase.name else None
        first = resume["epoch"] if resume else 0
        with EpochProgress(phase.name, phase.epochs, len(batches), batches.batch_size, first) as progress:

            def report(line: dict[str, Any]) -> None:
                self.history.append(line)
                progress.epoch(line)

            module = fit(module, phase, batches, data.validation, self.device, self._save, report, progress.step, resume).cpu()
        self.done[phase.name] = module.state_dict()
        self._save(None)
        return module

    def _save(self, current: dict[str, Any] | None) -> None:
        self.current = current
        state = {"fingerprint": self.fingerprint, "done": self.done, "current": current}
        checkpoint.save(self.folder, state, self.history)


def _fingerprint(recipe: Recipe, data: Dataset) -> str:
    sections = (recipe.augment, recipe.model, recipe.training, recipe.distillation, recipe.quantization)
    parts = [
        data.fingerprint,
        str(recipe.seed),
        *(section.model_dump_json() for section in sections),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
