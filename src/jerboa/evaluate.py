"""Accuracy where it counts: PCM in, class out, on the emulated chip, and agreement with the other executors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count

import numpy as np
from numpy.typing import NDArray

from jerboa.audio.frontend import FrontendSpec, reference
from jerboa.build import Build
from jerboa.build import compile as build_for
from jerboa.errors import JerboaError
from jerboa.graph.execute import run
from jerboa.report.results import Accuracy, Agreement, wilson

BLOCK = 16


@dataclass(frozen=True)
class Evaluation:
    """What the emulated chip answered to labelled clips.

    Attributes:
        posteriors: int8 (clips, classes).
        features: int8 (clips, inputs), as the chip's front end computed them.
        labels: true class per clip.
        reference: posteriors of the NumPy definition, front end included.
        host: posteriors of the host library, or None where it could not be built.
        wasm: posteriors of the WebAssembly module, or None where it is not installed.
    """

    posteriors: NDArray[np.int8]
    features: NDArray[np.int8]
    labels: NDArray[np.int64]
    reference: NDArray[np.int8]
    host: NDArray[np.int8] | None
    wasm: NDArray[np.int8] | None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class per clip; the first one on a tie, as ``kws_top`` has it."""
        return self.posteriors.argmax(axis=1)

    def accuracy(self, labels: tuple[str, ...], float_accuracy: float | None) -> Accuracy:
        """Accuracies with the interval of the emulated one."""
        right = self.predicted == self.labels
        recall = {
            label: float(right[self.labels == index].mean()) for index, label in enumerate(labels) if (self.labels == index).any()
        }
        return Accuracy(
            float_=float_accuracy,
            int8=float((self.reference.argmax(axis=1) == self.labels).mean()),
            emulated=float(right.mean()),
            clips=len(self.labels),
            ci95=wilson(int(right.sum()), len(right)),
            per_class=recall,
        )

    def agreement(self) -> Agreement:
        """Clips whose posteriors have the definition's bytes, by executor."""

        def equal(posteriors: NDArray[np.int8] | None) -> int | None:
            return None if posteriors is None else int((posteriors == self.reference).all(axis=1).sum())

        return Agreement(host=equal(self.host), emulator=equal(self.posteriors), wasm=equal(self.wasm), samples=len(self.labels))

    def confusion(self, classes: int) -> list[list[int]]:
        """Counts by true class, then by predicted class."""
        table = np.zeros((classes, classes), int)
        np.add.at(table, (self.labels, self.predicted), 1)
        return table.tolist()


def evaluate(
    build: Build, pcm: NDArray[np.int16], labels: NDArray[np.int64], progress: Callable[[int], None] = lambda clips: None
) -> Evaluation:
    """Classify labelled clips on the emulated board, one emulator per core, and on host, WASM and NumPy.

    Args:
        pcm: int16 (clips, samples).
        labels: class per clip.
        progress: called with the number of clips just finished.
    """
    graph = build.graph
    if graph.frontend is None:
        raise JerboaError("this network has no front end", where=graph.name)
    spec = FrontendSpec.from_json(graph.frontend)
    build.firmware  # noqa: B018  (link once, before the workers ask for it)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(pcm), BLOCK)]
    posteriors = np.zeros((len(pcm), graph.tensors[graph.output].size), np.int8)
    features = np.zeros((len(pcm), graph.tensors[graph.input].size), np.int8)
    pending = iter(blocks)
    lock = threading.Lock()

    def work(_: int) -> None:
        with build.executor() as executor:
            while True:
                with lock:
                    block = next(pending, None)
                if block is None:
                    return
                posteriors[block], features[block] = executor.classify(pcm[block])
                progress(len(pcm[block]))

    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(work, range(cpu_count() or 1)))
    expected = np.stack([reference(spec, clip) for clip in pcm]).reshape(features.shape)
    shaped = expected.reshape(len(pcm), *graph.tensors[graph.input].shape)
    return Evaluation(
        posteriors, features, np.asarray(labels), run(graph, shaped), _elsewhere(build, "host", pcm), _elsewhere(build, "wasm", pcm)
    )


def _elsewhere(build: Build, place: str, pcm: NDArray[np.int16]) -> NDArray[np.int8] | None:
    try:
        return build_for(build.graph, place, folder=build.folder).classify(pcm)
    except JerboaError as error:
        if "is not installed" in error.what:
            return None
        raise
