"""One experiment from recipe to report, in a run folder; each stage starts from what the one before left there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jerboa import __version__
from jerboa.errors import JerboaError
from jerboa.recipe import Recipe, dump_recipe, load_recipe

if TYPE_CHECKING:
    from jerboa.audio.corpus import Corpus
    from jerboa.build import Build
    from jerboa.evaluate import Evaluation
    from jerboa.graph import Graph

EXAMPLES = 12


def demo_recipe(words: str | None, overrides: tuple[str, ...]) -> tuple[Recipe, Path]:
    """The built-in recipe on synthetic speech, for the user's words if given, and the run folder it belongs in."""
    path = Path(str(files("jerboa").joinpath("demo.toml")))
    if words is None:
        return load_recipe(path, overrides), Path("runs/demo")
    listed = [word.strip().lower() for word in words.split(",") if word.strip()]
    if not listed:
        raise JerboaError("names no word", where="--words", allowed="words separated by commas, such as lumos,nox,accio")
    quoted = ", ".join(f'"{word}"' for word in listed)
    recipe = load_recipe(path, (f"corpus.words=[{quoted}]", "corpus.unknown=[]", *overrides))
    return recipe, Path("runs") / "-".join(["demo", *listed])


def execute(recipe: Recipe, folder: Path, command: str, log: Console, source: str | None = None) -> Path:
    """Train, quantise, generate, build, evaluate on the emulated chip, report. Resumes what an earlier call began.

    Returns:
        The run folder: recipe.toml, metrics.jsonl, checkpoint.pt, graph.json, c/, firmware.elf, results.json, report.html.

    Raises:
        JerboaError: the folder belongs to another recipe, or any stage cannot go on.
    """
    from jerboa.audio.corpus import load_corpus
    from jerboa.build import compile as build_for
    from jerboa.generate import provenance_of, write_sources
    from jerboa.graph import serialize
    from jerboa.report.page import write_report
    from jerboa.targets.compiler import cache_folder
    from jerboa.targets.target import load_target

    load_target(recipe.target.board)
    _claim(folder, recipe)
    cache = cache_folder() / "features"
    log.print(f"[bold]corpus[/]    {recipe.corpus.path or 'synthetic speech'}")
    corpus = load_corpus(recipe.corpus, recipe.seed, cache)
    if corpus.skipped:
        log.print(f"[yellow]skipped {len(corpus.skipped)} unreadable files[/], the first: {corpus.skipped[0]}")
    graph, float_accuracy = _train(recipe, corpus, folder, cache, log)
    serialize.save(graph, folder / "graph.json")
    log.print(f"[bold]building[/]  for {recipe.target.board}")
    target = recipe.target
    provenance = provenance_of(graph, target.board, None)
    build = build_for(graph, target.board, target.compiler, target.prefix, target.stride_frames, folder, provenance)
    evaluation = _evaluate(build, corpus, log)
    _write_results(build, corpus, evaluation, float_accuracy, folder, command, source)
    accuracy = f"{float((evaluation.predicted == evaluation.labels).mean()):.2%} (emulated, {len(evaluation.labels)} clips)"
    write_sources(graph, folder / "c", target.board, target.compiler, target.prefix, target.stride_frames, accuracy)
    write_report([folder], folder / "report.html")
    return folder


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe into the folder, or check that it is the one there."""
    from jerboa.files import write_text

    text = dump_recipe(recipe)
    place = folder / "recipe.toml"
    if place.is_file():
        if place.read_text(encoding="utf-8") != text:
            what = "this folder holds a run of another recipe"
            raise JerboaError(what, where=folder, hint="choose another folder with --out, or delete this one")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise JerboaError("this folder is not empty and holds no run", where=folder, hint="choose another folder with --out")
    write_text(place, text)


def _train(recipe: Recipe, corpus: Corpus, folder: Path, cache: Path, log: Console) -> tuple[Graph, float]:
    # Threads that spin while they wait cost ten times the time where cores are shared; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch  # noqa: F401
    except ImportError:
        from jerboa.errors import missing_extra

        raise missing_extra("torch", "train", "training") from None
    from jerboa.importers.from_torch import import_program
    from jerboa.training.data import load_data
    from jerboa.training.loop import evaluate
    from jerboa.training.quantize import export
    from jerboa.training.trainer import train

    log.print("[bold]features[/]  computed by the C that ships")
    data = load_data(recipe, corpus, cache)
    log.print(f"[bold]training[/]  {recipe.model.name}, {len(data.train_labels):,} clips, classes: {', '.join(data.labels)}")
    trained = train(recipe, data, folder)
    program = export(trained.quantized, data.test.real(slice(0, 1)))
    graph = import_program(program, recipe.model.name, tuple(data.labels), data.spec.to_json())
    return graph, evaluate(trained.float_module, data.test)[0]


def _evaluate(build: Build, corpus: Corpus, log: Console) -> Evaluation:
    from jerboa.evaluate import evaluate

    clips = corpus.split("test")
    pcm = np.stack([corpus.pcm(clip) for clip in clips])
    labels = np.array([clip.label for clip in clips])
    with _bar(log, f"[bold]emulating[/] {build.target.core}", len(clips)) as advance:
        return evaluate(build, pcm, labels, advance)


@contextmanager
def _bar(log: Console, text: str, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"), TimeRemainingColumn())
    if not log.is_terminal:
        log.print(f"{text}, {total} clips")
    with Progress(*columns, console=log, transient=True) as progress:
        task = progress.add_task(text, total=total)
        yield lambda count: progress.advance(task, count)


def _write_results(
    build: Build,
    corpus: Corpus,
    evaluation: Evaluation,
    float_accuracy: float,
    folder: Path,
    command: str,
    source: str | None,
) -> None:
    from jerboa.graph.serialize import fingerprint
    from jerboa.report.results import Provenance, make_example, write_examples, write_results

    clips = corpus.split("test")
    results = build.profile(corpus.pcm(clips[0])).model_copy(
        update={
            "accuracy": evaluation.accuracy(tuple(corpus.labels), float_accuracy),
            "agreement": evaluation.agreement(),
            "confusion": evaluation.confusion(len(corpus.labels)),
            "provenance": Provenance(
                tool=f"jerboa {__version__}",
                model_hash=fingerprint(build.graph),
                command=command,
                recipe=source,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            ),
        }
    )
    height, width, channels = build.graph.tensors[build.graph.input].shape
    predicted = evaluation.predicted
    examples = [
        make_example(
            clips[index].key,
            corpus.labels[evaluation.labels[index]],
            corpus.labels[predicted[index]],
            evaluation.posteriors[index],
            corpus.pcm(clips[index]),
            evaluation.features[index].reshape(height, width * channels),
        )
        for index in _chosen(evaluation)
    ]
    write_examples(examples, folder / "examples.json")
    write_results(results, folder / "results.json")


def _chosen(evaluation: Evaluation) -> list[int]:
    """Clips to show: half of them mistakes if there are as many, the rest one per class."""
    wrong = np.flatnonzero(evaluation.predicted != evaluation.labels)[: EXAMPLES // 2]
    right = np.flatnonzero(evaluation.predicted == evaluation.labels)
    _, first = np.unique(evaluation.labels[right], return_index=True)
    return [int(index) for index in [*wrong, *right[first]]][:EXAMPLES]
