"""What a MODEL argument may be: a run folder, a graph file, or a program that torch exported."""

from __future__ import annotations

from pathlib import Path

from jerboa.errors import JerboaError
from jerboa.graph import Graph, serialize

KINDS = "a run folder, graph.json or an exported program .pt2"


def load(model: str | Path) -> Graph:
    """The int8 graph of a model.

    Raises:
        JerboaError: nothing there, a run that is not trained yet, or a file of another kind.
    """
    path = Path(model)
    if path.is_dir():
        inside = path / "graph.json"
        if not inside.is_file():
            raise JerboaError("no trained network in this folder", where=path, allowed=KINDS, hint="jerboa train makes one")
        return serialize.load(inside)
    if not path.is_file():
        raise JerboaError("no such file or folder", where=path, allowed=KINDS)
    if path.suffix == ".json":
        return serialize.load(path)
    if path.suffix == ".pt2":
        return _load_program(path)
    raise JerboaError(f"files of kind '{path.suffix or path.name}' cannot be read", where=path, allowed=KINDS)


def _load_program(path: Path) -> Graph:
    try:
        import torch
    except ImportError:
        from jerboa.errors import missing_extra

        raise missing_extra("torch", "train", "reading a .pt2 file") from None
    import jerboa.models.normalize  # noqa: F401  (registers the operator that exported programs may name)
    from jerboa.importers.from_torch import import_program

    try:
        program = torch.export.load(path)
    except Exception as error:
        raise JerboaError(f"not a program that torch exported ({type(error).__name__})", where=path) from None
    return import_program(program, path.stem)
