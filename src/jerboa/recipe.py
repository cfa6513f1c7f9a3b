"""A recipe: what one experiment is, as a TOML file that is checked before anything runs."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jerboa.errors import JerboaError, did_you_mean


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusRecipe(_Section):
    """Where the recordings come from and which words are to be spotted."""

    kind: Literal["speech-commands", "folder", "synthetic"] = "speech-commands"
    path: Path | None = None
    words: tuple[str, ...] = Field(min_length=2)
    unknown: tuple[str, ...] = ()
    skip_bad_audio: bool = False
    download: bool = False
    max_clips_per_word: int | None = Field(None, ge=10)
    clips_per_word: int = Field(240, ge=20, description="synthetic speech only")

    @field_validator("words", "unknown")
    @classmethod
    def _distinct(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if not word or word != word.strip() or "/" in word or word.startswith(("_", ".")):
                raise ValueError(f"'{word}' cannot be a word: it names a folder and a class")
        if len(set(words)) != len(words):
            raise ValueError("a word is listed twice")
        return words

    @model_validator(mode="after")
    def _disjoint(self) -> CorpusRecipe:
        both = set(self.words) & set(self.unknown)
        if both:
            raise ValueError(f"{sorted(both)} cannot be both a keyword and an unknown word")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in class order: the words, then unknown, then silence."""
        return (*self.words, "unknown", "silence")


class AugmentRecipe(_Section):
    """Random changes to a training clip; every range is symmetric or a pair, every draw is seeded."""

    shift_ms: float = Field(100.0, ge=0, le=500)
    gain_db: float = Field(6.0, ge=0, le=40)
    noise_probability: float = Field(0.7, ge=0, le=1)
    snr_db: tuple[float, float] = (0.0, 25.0)
    speed: float = Field(0.08, ge=0, le=0.3)
    warp: float = Field(0.12, ge=0, le=0.4, description="stretch of the mel axis, as by another vocal tract; log-mel only")
    time_masks: int = Field(2, ge=0)
    time_mask_frames: int = Field(6, ge=0)
    frequency_masks: int = Field(2, ge=0)
    frequency_mask_bands: int = Field(5, ge=0)
    copies: int = Field(4, ge=1, description="augmented versions of each clip kept in the feature cache")


class FrontendRecipe(_Section):
    """Overrides of the front end that the network declares; ``None`` keeps the network's value."""

    kind: Literal["logmel", "mfcc"] | None = None
    window: int | None = Field(None, ge=64, le=2048)
    hop: int | None = Field(None, ge=32, le=2048)
    fft: Literal[128, 256, 512, 1024, 2048] | None = None
    bands: int | None = Field(None, ge=8, le=128)
    coefficients: int | None = Field(None, ge=1, le=64)
    low_hz: float | None = Field(None, ge=0)
    high_hz: float | None = Field(None, gt=0, le=8000)


class ModelRecipe(_Section):
    """Which registered architecture, and its options."""

    name: str = "temporal"
    options: dict[str, int | float | str | bool | list[int]] = {}


class TrainingRecipe(_Section):
    """The float training run."""

    epochs: int = Field(40, ge=1)
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(6e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    schedule: Literal["one-cycle", "cosine"] = "one-cycle"
    ema: float = Field(0.998, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0, le=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"


class DistillationRecipe(_Section):
    """A larger network that is trained first, on the same features, and then teaches the recipe's network."""

    epochs: int = Field(0, ge=0, description="length of the teacher's training; 0 trains without a teacher")
    name: str = "temporal"
    options: dict[str, int | float | str | bool | list[int]] = {}
    weight: float = Field(0.7, ge=0, le=1, description="share of the teacher's posteriors in the loss")
    temperature: float = Field(2.0, gt=0)


class QuantizationRecipe(_Section):
    """From float to int8: how ranges are found, and whether training goes on with them."""

    calibration: Literal["minmax", "percentile", "mse"] = "mse"
    calibration_clips: int = Field(512, ge=16)
    qat_epochs: int = Field(3, ge=0)
    qat_learning_rate: float = Field(3e-4, gt=0)


class TargetRecipe(_Section):
    """The board the network is built for."""

    board: str = "stm32f746"
    compiler: Literal["zig", "gcc"] = "zig"
    prefix: str = Field("kws_", pattern=r"^[a-z][a-z0-9_]*_$")
    stride_frames: int = Field(10, ge=1)


class Recipe(_Section):
    """One experiment."""

    name: str = "spotter"
    seed: int = Field(1, ge=0)
    corpus: CorpusRecipe
    augment: AugmentRecipe = AugmentRecipe()
    frontend: FrontendRecipe = FrontendRecipe()
    model: ModelRecipe = ModelRecipe()
    training: TrainingRecipe = TrainingRecipe()
    distillation: DistillationRecipe = DistillationRecipe()
    quantization: QuantizationRecipe = QuantizationRecipe()
    target: TargetRecipe = TargetRecipe()


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe file and apply ``key=value`` overrides such as ``training.epochs=5``.

    Raises:
        JerboaError: no such file, bad TOML (with its line), an unknown key, a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JerboaError(f"cannot read the recipe ({error})", where=path) from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JerboaError(f"not valid TOML: {error}", where=path) from None
    for override in overrides:
        _apply(values, override)
    recipe = parse_recipe(values, where=str(path))
    base = path.parent.resolve()
    return recipe.model_copy(update={"corpus": _resolve_corpus(recipe.corpus, base)})


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Check a dictionary against the schema. Raises JerboaError that names the first wrong key."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise JerboaError(
                f"unknown key '{key}'", where=where, hint=did_you_mean(str(first["loc"][-1]), _known(first["loc"]))
            ) from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] in ("missing", "value_error") else f" (got {first['input']!r})"
        raise JerboaError(f"{key or 'recipe'}: {message}{got}", where=where) from None


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML text that :func:`load_recipe` reads back to an equal recipe."""
    import json

    lines: list[str] = []
    values = recipe.model_dump(mode="json", exclude_none=True)

    def render(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {render(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(render(item) for item in value) + "]"
        return json.dumps(value, ensure_ascii=False)

    for key, value in values.items():
        if not isinstance(value, dict):
            lines.append(f"{key} = {render(value)}")
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]"] + [f"{name} = {render(item)}" for name, item in value.items()]
    return "\n".join(lines) + "\n"


def _known(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Recipe
    for part in loc[:-1]:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise JerboaError(f"'{override}' is not key=value", where="--set", allowed="for example training.epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise JerboaError(f"'{section}' is a value, not a section", where=f"--set {override}")
    values[name] = value


def _resolve_corpus(corpus: CorpusRecipe, base: Path) -> CorpusRecipe:
    """Find a relative corpus path: beside the recipe, in the working folder, or under ``JERBOA_DATA``."""
    if corpus.kind == "synthetic" or corpus.path is None or corpus.path.is_absolute():
        return corpus
    data = os.environ.get("JERBOA_DATA")
    places = [base / corpus.path, Path.cwd() / corpus.path] + ([Path(data) / corpus.path] if data else [])
    for place in places:
        if place.is_dir():
            return corpus.model_copy(update={"path": place.resolve()})
    if corpus.download:
        return corpus.model_copy(update={"path": places[-1].resolve()})
    raise JerboaError(
        f"no corpus folder '{corpus.path}'",
        where="corpus.path",
        allowed=f"looked in {', '.join(str(place) for place in places)}",
        hint="set the folder with --set corpus.path=FOLDER or the environment variable JERBOA_DATA",
    )
