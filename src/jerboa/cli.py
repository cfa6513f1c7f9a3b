"""The command line: each verb parses, calls one function and prints what came back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from jerboa.errors import JerboaError

app = typer.Typer(
    help="From recordings of spoken words to a keyword spotter on a microcontroller, and what it costs there.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: jerboa demo",
)
out = Console()
log = Console(stderr=True)

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, graph.json or an exported program .pt2.")]
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file, such as recipes/demo.toml.")]
Board = Annotated[str, typer.Option("--target", "-t", help="A board of boards.toml, 'host' or 'wasm'.")]
Compiler = Annotated[str, typer.Option("--compiler", help="'zig' or 'gcc'.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Replaces the recipe's seed.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replaces a value of the recipe.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print the cost of each layer too.")]
OutFolder = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to write.")]
DEFAULT_BOARD = "stm32f746"


@app.command()
def demo(
    words: Annotated[str | None, typer.Option("--words", help="Your words: lumos,nox,accio")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="A board of boards.toml.")] = None,
    folder: OutFolder = None,
    seed: Seed = None,
    settings: Settings = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """The whole way on synthetic speech: train, quantise, C, emulated chip, report."""
    from jerboa.run import demo_recipe, execute

    recipe, default = demo_recipe(words, tuple(_overrides(settings, seed, target)))
    _finish_run(execute(recipe, folder or default, _command(), log), as_json, verbose)


@app.command()
def train(
    recipe: RecipePath,
    folder: OutFolder = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="A board of boards.toml.")] = None,
    seed: Seed = None,
    settings: Settings = None,
    skip: Annotated[bool, typer.Option("--skip-bad-audio", help="Go on without recordings that cannot be read.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train a recipe and take it to the emulated chip; goes on where an interrupted run stopped."""
    from jerboa.recipe import load_recipe
    from jerboa.run import execute

    extra = ["corpus.skip_bad_audio=true"] if skip else []
    loaded = load_recipe(recipe, tuple([*_overrides(settings, seed, target), *extra]))
    _finish_run(execute(loaded, folder or Path("runs") / recipe.stem, _command(), log, str(recipe)), as_json, verbose)


@app.command()
def analyze(model: Model, target: Board = DEFAULT_BOARD, as_json: Json = False) -> None:
    """Count MACs, parameters, RAM and constants of a network and name the kernel of each layer, without compiling."""
    from jerboa import show
    from jerboa.analysis import analyze as run

    analysis = run(_load(model), target)
    _print(as_json, analysis, show.analysis)


@app.command()
def generate(
    model: Model,
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder, or one of ours.")],
    target: Board = DEFAULT_BOARD,
    compiler: Compiler = "zig",
    prefix: Annotated[str, typer.Option("--prefix", help="Begins every C name.")] = "kws_",
    stride: Annotated[int, typer.Option("--stride-frames", min=1, help="Frames between two decisions.")] = 10,
    as_json: Json = False,
) -> None:
    """Write the C sources of a network for a board."""
    from jerboa import show
    from jerboa.generate import write_sources

    sizes = write_sources(_load(model), folder, target, compiler, prefix, stride, _accuracy_line(model))
    _print(as_json, sizes, show.sizes)


@app.command()
def profile(
    model: Model,
    target: Board = DEFAULT_BOARD,
    compiler: Compiler = "zig",
    as_json: Json = False,
) -> None:
    """Build for a board, run on the emulated core: instructions per layer, RAM, flash, stack."""
    from jerboa import show
    from jerboa.build import compile as build
    from jerboa.report.results import to_json
    from jerboa.report.summary import summary

    results = build(_load(model), target, compiler).profile()
    if as_json:
        _json(to_json(results))
    else:
        out.print(show.layers(results), summary(results))


@app.command()
def validate(
    model: Model,
    target: Board = DEFAULT_BOARD,
    compiler: Compiler = "zig",
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="Random inputs to compare.")] = 50,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Compare NumPy, host C, WASM and the emulated core layer by layer: equal bytes, or the first layer that differs."""
    from jerboa import show
    from jerboa.validate import validate as run

    outcome = run(_load(model), target, compiler, inputs, seed or 0)
    _print(as_json, outcome, show.agreement)
    if not outcome["equal"]:
        raise typer.Exit(1)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One run folder, or several to compare.")],
    page: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The HTML file.")] = None,
) -> None:
    """Write one self-contained HTML page about a run, or about several side by side."""
    from jerboa.report.page import write_report

    out.print(f"report  {write_report(runs, page or runs[0] / 'report.html')}")


def main() -> None:
    """Run the command line: 0 ok, 1 a check failed, 2 wrong input, 130 interrupted; never a traceback for a user's mistake."""
    try:
        app()
    except JerboaError as error:
        _stop(error)
    except KeyboardInterrupt:
        log.print("[bold]interrupted[/]; the same command goes on from the last finished epoch")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


def _stop(error: JerboaError) -> None:
    log.print("[bold red]error[/]", end=" ")
    log.print(str(error), markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


def _load(model: Path) -> Any:
    from jerboa.model_file import load

    return load(model)


def _overrides(settings: list[str] | None, seed: int | None, target: str | None) -> list[str]:
    extra = [f"seed={seed}"] if seed is not None else []
    return [*(settings or []), *extra, *([f'target.board="{target}"'] if target else [])]


def _command() -> str:
    import shlex

    return shlex.join(["jerboa", *sys.argv[1:]])


def _accuracy_line(model: Path) -> str | None:
    """The accuracy of a run, for the header of its C."""
    results = model / "results.json"
    if not results.is_file():
        return None
    from jerboa.report.results import load_results

    accuracy = load_results(results).accuracy
    return None if accuracy is None else f"{accuracy.best_known[1]:.2%} ({accuracy.best_known[0]}, {accuracy.clips} clips)"


def _finish_run(folder: Path, as_json: bool, verbose: bool) -> None:
    from jerboa import show
    from jerboa.report.results import load_results, to_json
    from jerboa.report.summary import summary

    results = load_results(folder / "results.json")
    if as_json:
        _json(to_json(results))
    else:
        if verbose:
            out.print(show.layers(results))
        out.print(summary(results, folder / "report.html"))


def _print(as_json: bool, value: dict[str, Any], render: Callable[[dict[str, Any]], Any]) -> None:
    if as_json:
        _json(value)
    else:
        out.print(render(value))


def _json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
