"""The one training loop: float, distilled and quantisation-aware phases differ only in what they are given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from jerboa.errors import JerboaError
from jerboa.recipe import Recipe
from jerboa.training.data import Batch, Batches, Dataset, Features

Save = Callable[[dict[str, Any]], None]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Lesson:
    """A teacher's posteriors at a temperature, of every version of every training clip without masks.

    Attributes:
        posteriors: float32 [versions, N, classes].
        weight: share in the loss.
        temperature: what teacher's and pupil's logits are divided by.
    """

    posteriors: NDArray[np.float32]
    weight: float
    temperature: float


@dataclass(frozen=True)
class Phase:
    """One pass of the loop over a number of epochs.

    Attributes:
        name: what metrics and progress call it.
        epochs, learning_rate: length and peak rate.
        schedule: ``one-cycle`` warms up over a quarter of the steps, ``cosine`` only falls.
        ema: decay per step of the weight average that is validated and returned; 0 takes the weights themselves.
        mixup: parameter of the Beta distribution that two clips are mixed by; 0 mixes none (arXiv 1710.09412).
        lesson: what a teacher says about the training clips, learnt beside the labels (arXiv 1503.02531), or None.
    """

    name: str
    epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    schedule: str
    ema: float
    mixup: float = 0.0
    lesson: Lesson | None = None


def float_phase(recipe: Recipe) -> Phase:
    """The recipe's ``[training]`` as a phase."""
    t = recipe.training
    return Phase("float", t.epochs, t.learning_rate, t.weight_decay, t.label_smoothing, t.schedule, t.ema, t.mixup)


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA where present. Raises JerboaError for a device that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise JerboaError("no CUDA device is present", where="training.device", allowed="auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def make_deterministic() -> None:
    """The same run gives the same bytes on the same machine: thread count and algorithms fixed."""
    torch.set_num_threads(min(torch.get_num_threads(), 8))
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def fit(
    module: nn.Module,
    phase: Phase,
    batches: Batches,
    validation: Features,
    device: torch.device,
    save: Save,
    report: Report,
    tick: Callable[[], None],
    resume: dict[str, Any] | None = None,
) -> nn.Module:
    """Train ``module`` and return it with the best weights by validation accuracy (ties: by validation loss).

    Data order, augmentation and dropout are seeded by epoch, so a resumed run gives the bytes of an uninterrupted one.

    Args:
        save: called with the phase's state after every epoch; what ``resume`` takes.
        report: called with one metrics line after every epoch, before ``save``.
        tick: called after every batch.

    Raises:
        JerboaError: the loss is no longer a number.
    """
    # Channels last halves the time of a step on CPUs: most of it is depthwise convolution and batch norm.
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(module)
    optimizer = _optimizer(module, phase)
    best: tuple[float, float] = (-1.0, -math.inf)
    best_weights: dict[str, Tensor] = {}
    first = 0
    if resume is not None:
        module.load_state_dict(resume["module"])
        average.load_state_dict(resume["average"])
        optimizer.load_state_dict(resume["optimizer"])
        best, best_weights, first = tuple(resume["best"]), resume["best_weights"], resume["epoch"]
    steps = len(batches)
    for epoch in range(first, phase.epochs):
        began = time.monotonic()
        torch.manual_seed(batches.seed + 7919 * epoch)
        module.train()
        total = 0.0
        for step, batch in enumerate(batches.epoch(phase.name, epoch, phase.mixup)):
            number = epoch * steps + step
            rate = learning_rate(phase, number, phase.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _loss(module, phase, batch, device)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            _follow(average, module, min(phase.ema, (number + 1) / (number + 10)))
            total += loss.item()
            tick()
        if not math.isfinite(total):
            raise JerboaError("the loss is no longer a number", where=f"epoch {epoch + 1}", hint="lower learning_rate")
        accuracy, loss_ = evaluate(average, validation, device)
        if (accuracy, -loss_) >= best:
            best = (accuracy, -loss_)
            best_weights = {key: value.detach().cpu().clone() for key, value in average.state_dict().items()}
        took = time.monotonic() - began
        report(
            {
                "phase": phase.name,
                "epoch": epoch + 1,
                "epochs": phase.epochs,
                "loss": round(total / steps, 5),
                "validation_accuracy": round(accuracy, 5),
                "validation_loss": round(loss_, 5),
                "learning_rate": rate,
                "clips_per_second": round(batches.clips / took),
                "seconds": round(took, 2),
            }
        )
        save(
            {
                "phase": phase.name,
                "epoch": epoch + 1,
                "module": module.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "best": list(best),
                "best_weights": best_weights,
            }
        )
    if best_weights:
        module.load_state_dict(best_weights)
    # The next phase folds and quantises in plain order, as it does when it reads this one from disk.
    return module.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def learning_rate(phase: Phase, step: int, steps: int) -> float:
    """The rate of one step. One-cycle: cosine from 1/25 up over a quarter of the steps, then cosine down to nearly 0."""
    done = step / max(steps - 1, 1)
    if phase.schedule == "one-cycle" and done < 0.25:
        return phase.learning_rate * (0.04 + 0.96 * (1 - math.cos(math.pi * done / 0.25)) / 2)
    if phase.schedule == "one-cycle":
        done = (done - 0.25) / 0.75
    return phase.learning_rate * (1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def predict(module: nn.Module, features: Features, device: torch.device | None = None) -> NDArray[np.float32]:
    """Logits (N, classes) of int8 features."""
    device = device or next(module.parameters()).device
    module.eval()
    parts = [module(features.real(slice(i, i + 256)).to(device)).cpu() for i in range(0, len(features), 256)]
    return torch.cat(parts).numpy()


def evaluate(module: nn.Module, features: Features, device: torch.device | None = None) -> tuple[float, float]:
    """(accuracy, mean cross-entropy) over labelled features."""
    logits = torch.from_numpy(predict(module, features, device))
    labels = torch.from_numpy(features.labels)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return accuracy, functional.cross_entropy(logits.double(), labels).item()


def _loss(module: nn.Module, phase: Phase, batch: Batch, device: torch.device) -> Tensor:
    """Cross-entropy with the labels, and the Kullback-Leibler distance to the teacher's posteriors if there are any."""
    logits = module(batch.features.to(device, memory_format=torch.channels_last))
    classes = logits.shape[1]
    wanted = batch.mixed(functional.one_hot(batch.labels, classes).float()).to(device)
    wanted = wanted * (1 - phase.label_smoothing) + phase.label_smoothing / classes
    loss = -(wanted * functional.log_softmax(logits, 1)).sum(1).mean()
    if phase.lesson is None:
        return loss
    heat, weight = phase.lesson.temperature, phase.lesson.weight
    taught = batch.mixed(torch.from_numpy(phase.lesson.posteriors[batch.versions, batch.clips])).to(device)
    distance = functional.kl_div(functional.log_softmax(logits / heat, 1), taught, reduction="batchmean")
    return (1 - weight) * loss + weight * heat**2 * distance


def teach(teacher: nn.Module, data: Dataset, weight: float, temperature: float, device: torch.device) -> Lesson:
    """What a teacher says about every version of every training clip."""
    grid = (data.train_labels, data.spec.scale, data.spec.zero_point)
    logits = np.stack([predict(teacher, Features(values, *grid), device) for values in data.copies])
    return Lesson(functional.softmax(torch.from_numpy(logits) / temperature, -1).numpy(), weight, temperature)


def _optimizer(module: nn.Module, phase: Phase) -> torch.optim.Optimizer:
    weights = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": phase.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=phase.learning_rate, fused=True)


@torch.no_grad()
def _follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    for target, source in zip(average.state_dict().values(), module.state_dict().values()):
        if target.dtype.is_floating_point:
            target.lerp_(source, 1 - decay)
        else:
            target.copy_(source)
