"""The schema of ``results.json``: what one network costs on one target, and how well it does there.

Sections that a command did not produce are ``null`` (``jerboa profile`` on a bare model knows no accuracy).
Fractions are 0…1, sizes are bytes, times milliseconds. Whatever is *modelled* says so in the file itself.
"""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from jerboa.errors import JerboaError
from jerboa.files import read_text, write_text

SCHEMA = 1
ONE_CYCLE = "one cycle per instruction"

Fraction = Field(None, ge=0, le=1)
Count = Field(ge=0)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class ModelFacts(_Section):
    """The network: multiply-accumulates of one inference, stored weight bytes (biases and scales are counted under tables)."""

    name: str
    parameters: int = Count
    macs: int = Count
    weight_bytes: int = Count


class TargetFacts(_Section):
    """What the program was built for.

    ``flash_bytes`` and ``ram_bytes`` are what the board has; ``null`` where there is no such limit.
    """

    name: str
    core: str
    clock_hz: int = Count
    compiler: str
    flags: str
    flash_bytes: int | None = Field(None, gt=0)
    ram_bytes: int | None = Field(None, gt=0)


class LayerCost(_Section):
    """One layer of the generated code, run once on the emulated core."""

    name: str
    op: str
    kernel: str
    macs: int = Count
    cycles: int = Count
    instructions: int = Count


class Latency(_Section):
    """One classification of a whole clip, from PCM to class.

    ``cycles`` and ``instructions`` hold everything, the front end included; ``frontend_cycles`` is the front end's
    part of ``cycles`` for all ``frontend_frames`` frames of the clip. ``layers`` are the network's, in order.
    ``method`` says how instructions were turned into cycles.
    """

    cycles: int = Count
    instructions: int = Count
    ms: float = Count
    modelled: bool = True
    method: str = ONE_CYCLE
    frontend_cycles: int = Count
    frontend_frames: int | None = Field(None, ge=1)
    layers: list[LayerCost] = []

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        parts = self.frontend_cycles + sum(layer.cycles for layer in self.layers)
        if parts > self.cycles:
            raise ValueError(f"front end and layers take {parts} cycles, more than the {self.cycles} in all")
        return self


class FlashBytes(_Section):
    """Flash of the linked program; ``total`` is the linker's and may hold more than the three parts."""

    code: int = Count
    weights: int = Count
    tables: int = Count
    total: int = Count

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.code + self.weights + self.tables > self.total:
            raise ValueError("code, weights and tables are more than the total")
        return self


class RamBytes(_Section):
    """RAM: the static arena, the caller's ``kws_state``, the deepest stack seen; ``total`` may hold more."""

    arena: int = Count
    state: int = Count
    stack: int = Count
    total: int = Count

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.arena + self.state + self.stack > self.total:
            raise ValueError("arena, state and stack are more than the total")
        return self


class Accuracy(_Section):
    """Fractions of ``clips`` classified right; ``ci95`` is the Wilson interval of the last of float, int8, emulated that is known.

    ``per_class`` is the recall by label.
    """

    float_: float | None = Field(None, alias="float", ge=0, le=1)
    int8: float | None = Fraction
    emulated: float | None = Fraction
    clips: int = Field(ge=1)
    ci95: tuple[float, float]
    per_class: dict[str, float] = {}

    @property
    def best_known(self) -> tuple[str, float]:
        """Name and value of the accuracy nearest to the chip: emulated, else int8, else float."""
        for name, value in (("emulated", self.emulated), ("int8", self.int8), ("float", self.float_)):
            if value is not None:
                return name, value
        raise AssertionError("checked when the model was made")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.float_ is None and self.int8 is None and self.emulated is None:
            raise ValueError("one of float, int8, emulated must be known")
        low, high = self.ci95
        if not 0 <= low <= self.best_known[1] <= high <= 1:
            raise ValueError(f"the interval {low}…{high} does not hold the accuracy {self.best_known[1]}")
        return self


class Agreement(_Section):
    """Of ``samples`` clips, how many gave the NumPy definition's bytes on each executor; ``null`` where it did not run."""

    host: int | None = Field(None, ge=0)
    emulator: int | None = Field(None, ge=0)
    wasm: int | None = Field(None, ge=0)
    samples: int = Field(ge=1)

    @property
    def executors(self) -> dict[str, int]:
        """Equal samples by the executors that ran."""
        rows = {"host C": self.host, "WASM": self.wasm, "emulated chip": self.emulator}
        return {name: equal for name, equal in rows.items() if equal is not None}

    @property
    def all_equal(self) -> bool:
        return bool(self.executors) and all(equal == self.samples for equal in self.executors.values())

    @model_validator(mode="after")
    def _no_more_than_samples(self) -> Self:
        if any(equal > self.samples for equal in self.executors.values()):
            raise ValueError(f"more equal samples than the {self.samples} that were run")
        return self


class ArenaPlacement(_Section):
    """``bytes`` bytes at ``offset`` of the arena, in use from step ``first`` to step ``last``, both included."""

    name: str
    offset: int = Count
    bytes: int = Count
    first: int = Count
    last: int = Count


class Provenance(_Section):
    """Where the numbers come from; ``command`` is what a reader types to get them again."""

    tool: str
    model_hash: str
    command: str
    recipe: str | None = None
    created: str


class Results(_Section):
    """One network on one target.

    ``confusion[t][p]`` counts the clips of class ``labels[t]`` that were taken for ``labels[p]`` by the executor
    nearest to the chip; ``steps`` are the layer names in order of execution, which ``arena_plan`` counts from 0.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    model: ModelFacts
    target: TargetFacts
    latency: Latency | None = None
    flash_bytes: FlashBytes | None = None
    ram_bytes: RamBytes | None = None
    accuracy: Accuracy | None = None
    agreement: Agreement | None = None
    labels: list[str] = []
    confusion: list[list[int]] = []
    steps: list[str] = []
    arena_plan: list[ArenaPlacement] = []
    provenance: Provenance | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        classes = len(self.labels)
        if self.confusion and (len(self.confusion) != classes or any(len(row) != classes for row in self.confusion)):
            raise ValueError(f"confusion must be {classes} × {classes}, one row and column per label")
        if any(count < 0 for row in self.confusion for count in row):
            raise ValueError("confusion holds a negative count")
        for tensor in self.arena_plan:
            if not tensor.first <= tensor.last < len(self.steps):
                raise ValueError(f"arena_plan: '{tensor.name}' lives outside the {len(self.steps)} steps")
        return self


class Example(_Section):
    """A clip to show: ``waveform`` are (minimum, maximum) pairs in −1…1, ``features`` int8 frames × bands, ``posteriors`` 0…1."""

    key: str
    label: str
    predicted: str
    posteriors: list[float]
    waveform: list[tuple[float, float]]
    features: list[list[int]]

    @property
    def right(self) -> bool:
        return self.label == self.predicted


def wilson(correct: int, clips: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927). Raises ValueError unless 0 ≤ correct ≤ clips and clips > 0."""
    if clips <= 0 or not 0 <= correct <= clips:
        raise ValueError(f"{correct} of {clips} is no proportion")
    z = 1.959963984540054
    p = correct / clips
    centre = p + z * z / (2 * clips)
    spread = z * sqrt(p * (1 - p) / clips + z * z / (4 * clips * clips))
    scale = 1 + z * z / clips
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return min(p, max(0.0, low)), max(p, min(1.0, high))


def to_json(results: Results) -> dict[str, Any]:
    """The results as plain values, keys as in the file."""
    return results.model_dump(mode="json", by_alias=True)


def write_results(results: Results, path: Path) -> None:
    """Write ``results.json`` in one step. Raises JerboaError if the disk refuses or the values break the schema."""
    _parse(to_json(results), path)
    write_text(path, json.dumps(to_json(results), indent=1, ensure_ascii=False) + "\n")


def load_results(path: Path) -> Results:
    """Read ``results.json``. Raises JerboaError for a file that is missing, foreign, of a newer schema, or wrong in a key."""
    values = _load_json(path)
    if not isinstance(values, dict) or "schema" not in values:
        raise JerboaError("not a results file: it has no 'schema'", where=path, hint="jerboa profile --json writes one")
    schema = values["schema"]
    if isinstance(schema, int) and schema > SCHEMA:
        raise JerboaError(
            f"written by a newer jerboa (schema {schema})", where=path, allowed=f"schema {SCHEMA}", hint="upgrade jerboa"
        )
    return _parse(values, path)


def write_examples(examples: list[Example], path: Path) -> None:
    """Write ``examples.json``: the clips that the report shows, as a list."""
    write_text(path, json.dumps([item.model_dump(mode="json") for item in examples], ensure_ascii=False) + "\n")


def load_examples(path: Path) -> list[Example]:
    """Read ``examples.json``. Raises JerboaError for a missing or wrong file."""
    values = _load_json(path)
    if not isinstance(values, list):
        raise JerboaError("must be a list of clips", where=path)
    try:
        return [Example.model_validate(item) for item in values]
    except ValidationError as error:
        raise _wrong(error, path) from None


def make_example(key: str, label: str, predicted: str, posteriors: Any, pcm: Any, features: Any) -> Example:
    """A clip to show.

    Args:
        key: the clip's file or key, as shown.
        label: what was said.
        predicted: what was recognised.
        posteriors: [classes] int8, scale 1/256 and zero point −128.
        pcm: [samples] int16.
        features: [frames, bands] int8.
    """
    import numpy as np

    slices = np.array_split(np.asarray(pcm, np.float64) / 32768, min(400, len(pcm)))
    return Example(
        key=key,
        label=label,
        predicted=predicted,
        posteriors=[(int(q) + 128) / 256 for q in posteriors],
        waveform=[(round(float(part.min()), 4), round(float(part.max()), 4)) for part in slices],
        features=np.asarray(features, np.int8).tolist(),
    )


def _load_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise JerboaError(f"not valid JSON ({error})", where=path) from None


def _parse(values: dict[str, Any], path: Path) -> Results:
    try:
        return Results.model_validate(values)
    except ValidationError as error:
        raise _wrong(error, path) from None


def _wrong(error: ValidationError, path: Path) -> JerboaError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return JerboaError(f"{key}: {message}" if key else message, where=path)
