"""Reading a run folder for the report; a part that is not there yet is ``None``, not an error."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jerboa.errors import JerboaError
from jerboa.files import read_text
from jerboa.report.results import Example, Results, load_examples, load_results

_MARKS = ("results.json", "recipe.toml", "metrics.jsonl", "examples.json")


@dataclass(frozen=True)
class Run:
    """What a run folder holds: each line of ``metrics`` is one epoch; ``recipe`` are the values of the TOML file."""

    folder: Path
    title: str
    results: Results | None
    examples: list[Example]
    metrics: list[dict[str, Any]]
    recipe: dict[str, Any]

    @property
    def corpus(self) -> str | None:
        """The recipe's kind of corpus, such as ``"speech-commands"``."""
        section = self.recipe.get("corpus")
        return section.get("kind", "speech-commands") if isinstance(section, dict) else None


def load_run(folder: Path) -> Run:
    """Read a run folder. Raises JerboaError if it is none, or if one of its files is damaged."""
    if not folder.is_dir():
        raise JerboaError("no such run folder", where=folder, hint="jerboa train or jerboa demo makes one")
    if not any((folder / name).is_file() for name in _MARKS):
        raise JerboaError("not a run folder", where=folder, allowed=f"a folder with one of {', '.join(_MARKS)}")
    results, examples, recipe = folder / "results.json", folder / "examples.json", folder / "recipe.toml"
    values = _toml(recipe) if recipe.is_file() else {}
    name = values.get("name")
    return Run(
        folder=folder,
        title=name if isinstance(name, str) else folder.resolve().name,
        results=load_results(results) if results.is_file() else None,
        examples=load_examples(examples) if examples.is_file() else [],
        metrics=_metrics(folder / "metrics.jsonl"),
        recipe=values,
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise JerboaError(f"not valid TOML: {error}", where=path) from None


def _metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs written so far; the last line may be cut off by a killed run and is then left out."""
    if not path.is_file():
        return []
    epochs = []
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise JerboaError("not valid JSON", where=f"{path}, line {number}") from None
        if isinstance(value, dict):
            epochs.append(value)
    return epochs
