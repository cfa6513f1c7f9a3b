"""Who may import whom: the rules of docs/architecture.md, read from the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from graphs import random_graph

from jerboa.graph.serialize import save

SOURCE = Path(__file__).parents[1] / "src"

# A part and what it may import, lowest first: a part may only name parts above it in this table.
MAY_IMPORT = {
    "errors": "",
    "runtime": "",
    "recipe": "errors",
    "graph": "errors",
    "targets": "errors",
    "report": "errors",
    "frontend": "errors runtime",
    "codegen": "errors runtime graph frontend",
    "build": "errors runtime graph targets report frontend codegen",
    "audio": "errors recipe targets frontend",
    "models": "errors",
    "importers": "errors graph models",
    "training": "errors recipe frontend audio models",
    "verbs": "errors graph targets report frontend codegen build models importers",
    "run": "errors recipe graph targets report frontend build audio models importers training verbs",
    "cli": "errors recipe report build verbs run",
}
PARTS = {
    "jerboa.files": "errors",
    "jerboa.audio.frontend": "frontend",
    "jerboa.audio.frontend_source": "frontend",
    "jerboa.audio.frontend_tables": "frontend",
    "jerboa.executors": "build",
    "jerboa.build": "build",
    "jerboa.profile": "build",
    "jerboa.analysis": "verbs",
    "jerboa.documentation": "verbs",
    "jerboa.evaluate": "verbs",
    "jerboa.generate": "verbs",
    "jerboa.model_file": "verbs",
    "jerboa.show": "verbs",
    "jerboa.validate": "verbs",
}
WITHOUT_TORCH = ("errors", "runtime", "recipe", "graph", "targets", "report", "frontend", "codegen", "build", "cli")
MODULES = sorted(path for path in (SOURCE / "jerboa").rglob("*.py") if path != SOURCE / "jerboa/__init__.py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


NAMES = {_name(path) for path in MODULES}


def _part(module: str) -> str:
    return PARTS.get(module, module.split(".")[1])


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else node.module for name in names)


def test_a_part_imports_only_what_it_may() -> None:
    wrong = []
    for path in MODULES:
        part = _part(_name(path))
        allowed = {part, *MAY_IMPORT[part].split()}
        for module in _imports(path):
            package = module.split(".")[0]
            ours = package == "jerboa" and module != "jerboa" and _part(module) not in allowed
            if ours or (package == "torch" and part in WITHOUT_TORCH):
                wrong.append(f"{_name(path)} ({part}) imports {module}")
    assert not wrong, "\n".join(wrong)


def test_arrows_point_one_way() -> None:
    parts = list(MAY_IMPORT)
    for part, allowed in MAY_IMPORT.items():
        assert all(parts.index(other) < parts.index(part) for other in allowed.split()), part


def test_gpl_libraries_stay_in_workers_that_import_nothing_of_the_package() -> None:
    for path in MODULES:
        packages = {module.split(".")[0] for module in _imports(path)}
        if path.name.endswith("_worker.py"):
            assert "jerboa" not in packages, path
            assert "SPDX-License-Identifier: MIT" in path.read_text("utf-8")[:200], path
        else:
            assert not packages & {"unicorn", "espeakng_loader"}, path


def test_the_compilers_path_loads_without_torch(tmp_path: Path) -> None:
    """``analyze``, ``generate`` and ``profile`` do their work where torch cannot be imported."""
    save(random_graph(3), tmp_path / "graph.json")
    names = [name for name in NAMES if _part(name) in WITHOUT_TORCH and not name.endswith(("_worker", "cli"))]
    program = (
        "import importlib, sys\n"
        "sys.modules['torch'] = None\n"
        f"for name in {sorted(names)}: importlib.import_module(name)\n"
        "from jerboa.cli import app\n"
        "for arguments in (['analyze', 'graph.json'], ['generate', 'graph.json', '--out', 'c'], ['profile', 'graph.json']):\n"
        "    app(arguments, standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c" / "kws.h").is_file()
