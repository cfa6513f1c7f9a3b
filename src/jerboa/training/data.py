"""From a corpus to batches: features of every split on the front end's grid, augmented copies cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from jerboa.audio.augment import augment, clip_rng, spec_augment, warp_bands
from jerboa.audio.corpus import Corpus
from jerboa.audio.features import compute_features
from jerboa.audio.frontend import FrontendSpec, calibrate
from jerboa.errors import JerboaError
from jerboa.files import replacing
from jerboa.models import architecture
from jerboa.recipe import AugmentRecipe, Recipe

Make = Callable[[], NDArray[np.int8]]


@dataclass(frozen=True)
class Features:
    """Clips as the network reads them.

    Attributes:
        values: int8 [N, T, F] on the front end's grid.
        labels: int64 [N], indices into the corpus' labels.
        scale, zero_point: ``real = scale · (q − zero_point)``, as the front end's.
    """

    values: NDArray[np.int8]
    labels: NDArray[np.int64]
    scale: float
    zero_point: int

    def __len__(self) -> int:
        return len(self.values)

    def real(self, index: slice | NDArray[np.int64] = slice(None)) -> Tensor:
        """Dequantised features as float32 (n, 1, T, F)."""
        return dequantize(self.values[index], self.scale, self.zero_point)


@dataclass(frozen=True)
class Dataset:
    """Everything that training reads.

    Attributes:
        spec: the front end with its grid calibrated on the training clips.
        labels: class names in class order.
        copies: augmented versions of the training clips, each int8 [N, T, F] in the same order; the first is as recorded.
        train_labels: int64 [N].
        fingerprint: of the corpus, the front end and the augmentation.
    """

    spec: FrontendSpec
    labels: tuple[str, ...]
    copies: tuple[NDArray[np.int8], ...]
    train_labels: NDArray[np.int64]
    validation: Features
    test: Features
    fingerprint: str

    @property
    def train(self) -> Features:
        """The training clips as recorded."""
        return Features(self.copies[0], self.train_labels, self.validation.scale, self.validation.zero_point)

    def calibration(self, count: int, seed: int) -> Tensor:
        """``count`` training clips with and without augmentation, drawn at random, float32 (n, 1, T, F)."""
        rng = np.random.default_rng([seed, 0xCA11])
        chosen = rng.choice(len(self.train_labels), min(count, len(self.train_labels)), replace=False)
        versions = rng.integers(len(self.copies), size=len(chosen))
        values = np.stack([self.copies[version][clip] for version, clip in zip(versions, chosen)])
        return dequantize(values, self.validation.scale, self.validation.zero_point)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some training clips.

    Attributes:
        features: float32 (n, 1, T, F), already mixed.
        labels: int64 (n).
        versions, clips: which version of which training clip each one is, int64 [n].
        share, partner: how much of each clip is itself and which clip of the batch the rest is; None if nothing is mixed.
    """

    features: Tensor
    labels: Tensor
    versions: NDArray[np.int64]
    clips: NDArray[np.int64]
    share: Tensor | None = None
    partner: Tensor | None = None

    def mixed(self, values: Tensor) -> Tensor:
        """One value per clip, mixed as the batch is."""
        if self.share is None:
            return values
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        return values * share + values[self.partner] * (1 - share)


class Batches:
    """Seeded batches of the training clips, with masks and mixtures drawn anew in every epoch."""

    def __init__(self, data: Dataset, recipe: AugmentRecipe, batch_size: int, seed: int) -> None:
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.fill = round(float(data.copies[0].mean(dtype=np.float64)))
        self.batch_size = min(batch_size, len(data.train_labels))

    def __len__(self) -> int:
        return len(self.data.train_labels) // self.batch_size

    @property
    def clips(self) -> int:
        """Clips in an epoch."""
        return len(self) * self.batch_size

    def epoch(self, phase: str, number: int, mixup: float) -> Iterator[Batch]:
        """The batches of one epoch; the same phase and number give the same batches."""
        rng = np.random.default_rng([self.seed, number, int.from_bytes(phase.encode()[:8])])
        data = self.data
        order = rng.permutation(len(data.train_labels))[: self.clips]
        for clips in order.reshape(-1, self.batch_size):
            versions = rng.integers(len(data.copies), size=len(clips))
            values = np.stack([data.copies[version][clip] for version, clip in zip(versions, clips)])
            if self.recipe.warp and data.spec.kind == "logmel":
                values = warp_bands(values, rng, self.recipe.warp)
            values = spec_augment(values, rng, self.recipe, self.fill)
            x = dequantize(values, data.spec.scale, data.spec.zero_point)
            share, partner = None, None
            if mixup:
                drawn = rng.beta(mixup, mixup, size=len(clips))
                share = torch.from_numpy(np.maximum(drawn, 1 - drawn).astype(np.float32))
                partner = torch.from_numpy(rng.permutation(len(clips)))
            batch = Batch(x, torch.from_numpy(data.train_labels[clips]), versions, clips, share, partner)
            yield replace(batch, features=batch.mixed(x))


def dequantize(values: NDArray[np.int8], scale: float, zero_point: int) -> Tensor:
    """int8 [N, T, F] as float32 (N, 1, T, F)."""
    return ((torch.from_numpy(np.ascontiguousarray(values)).float() - zero_point) * scale)[:, None]


def frontend_of(recipe: Recipe) -> FrontendSpec:
    """The front end that the recipe's network needs, with the recipe's overrides, not yet calibrated."""
    overrides = recipe.frontend.model_dump(exclude_none=True)
    return FrontendSpec.from_json({**architecture(recipe.model.name).frontend, **overrides})


def load_data(recipe: Recipe, corpus: Corpus, cache: Path | None = None) -> Dataset:
    """Features of all splits.

    Args:
        cache: folder where features are kept; None keeps none.

    Raises:
        JerboaError: a split that holds no clips or lacks a label.
    """
    pcm, labels = {}, {}
    for split in ("train", "validation", "test"):
        clips = corpus.split(split)
        if not clips:
            raise JerboaError(f"the corpus has no clips for its {split} split", where="corpus")
        pcm[split] = np.stack([corpus.pcm(clip) for clip in clips])
        labels[split] = np.array([clip.label for clip in clips], np.int64)
    spec = calibrate(frontend_of(recipe), pcm["train"])
    identity = _digest(recipe, corpus, spec)
    plain = {split: _cached(cache, f"{identity}-{split}", partial(compute_features, spec, pcm[split])) for split in pcm}
    keys = [clip.key for clip in corpus.split("train")]
    copies = [plain["train"]]
    console = Console(stderr=True)
    console.print(f"augmenting {len(keys)} training clips, {recipe.augment.copies} versions each")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("augmenting", total=recipe.augment.copies)
        for copy in range(recipe.augment.copies):
            make = _augmented(recipe, corpus, spec, pcm["train"], keys, copy)
            copies.append(_cached(cache, f"{identity}-augmented-{copy}", make))
            progress.advance(task)
    sets = {split: Features(plain[split], labels[split], spec.scale, spec.zero_point) for split in pcm}
    return Dataset(spec, tuple(corpus.labels), tuple(copies), labels["train"], sets["validation"], sets["test"], identity)


def _augmented(recipe: Recipe, corpus: Corpus, spec: FrontendSpec, pcm: NDArray[np.int16], keys: list[str], copy: int) -> Make:
    noise = corpus.noise["train"]

    def one(index: int) -> NDArray[np.int16]:
        return augment(pcm[index], clip_rng(recipe.seed, keys[index], copy), recipe.augment, noise)

    def make() -> NDArray[np.int8]:
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return compute_features(spec, np.stack(list(pool.map(one, range(len(pcm)), chunksize=64))))

    return make


def _digest(recipe: Recipe, corpus: Corpus, spec: FrontendSpec) -> str:
    waveform = recipe.augment.model_dump_json(include={"shift_ms", "gain_db", "noise_probability", "snr_db", "speed"})
    parts = [corpus.fingerprint, str(recipe.seed), waveform, *spec.c_sources().values()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _cached(cache: Path | None, name: str, make: Make) -> NDArray[np.int8]:
    """What ``make`` gives, from the cache if it is there in one piece."""
    if cache is None:
        return make()
    place = cache / f"training-{name}.npy"
    try:
        found: NDArray[np.int8] = np.load(place, allow_pickle=False)
        return found
    except (OSError, ValueError, EOFError):
        pass
    values: NDArray[np.int8] = make()
    with replacing(place) as temporary, temporary.open("wb") as file:
        np.save(file, values)
    return values
