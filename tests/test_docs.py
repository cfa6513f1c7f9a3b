"""The pages say what the code does: generated pages are current, examples work, tables name every key."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import Builder
from pydantic.fields import FieldInfo
from typer.main import get_command

from jerboa.audio.frontend import FrontendSpec
from jerboa.cli import app
from jerboa.codegen.emit import generate
from jerboa.documentation import operators_page
from jerboa.recipe import Recipe
from jerboa.report.results import (
    Accuracy,
    Agreement,
    FlashBytes,
    Latency,
    LayerCost,
    ModelFacts,
    Provenance,
    RamBytes,
    Results,
    TargetFacts,
)
from jerboa.targets.elf import defined_symbols
from jerboa.targets.target import load_target
from jerboa.targets.toolchain import objects, undefined_symbols

ROOT = Path(__file__).parents[1]


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_operators_page_is_current() -> None:
    assert _text("docs/supported-operators.md") == operators_page(), "run: make docs"


def _apply_guide(guide: str, root: Path) -> list[str]:
    """Write the guide's new files and apply its edits below ``root``; the paths changed, in order."""
    changed = []
    path = None
    pattern = re.compile(r"`((?:src|tests)/\S+\.py)`|```(python|diff)\n(.*?)```", re.DOTALL)
    for named, kind, body in pattern.findall(guide):
        if named:
            path = root / named
            changed.append(named)
            continue
        assert path is not None
        if kind == "python":
            assert not path.exists(), f"{path} is no new file"
            path.write_text(body, "utf-8")
            continue
        old = "".join(line[1:] for line in body.splitlines(keepends=True) if line[0] in " -")
        new = "".join(line[1:] for line in body.splitlines(keepends=True) if line[0] in " +")
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{path.name} has no single\n{old}"
        path.write_text(text.replace(old, new), "utf-8")
    return changed


GUIDE_CHECK = """
import numpy as np, torch
from torch import nn
from graphs import random_graph
from jerboa import compile
from jerboa.documentation import operators_page
from jerboa.graph.execute import run
from jerboa.importers.from_torch import import_program
from jerboa.training.quantize import export, quantize

graphs = [graph for graph in map(random_graph, range(40)) if any(node.operator.name == "hard_swish" for node in graph)][:3]
torch.manual_seed(0)
module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Hardswish(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3)).eval()
features = torch.randint(-128, 128, (32, 1, 8, 8)) * 0.05
network = quantize(module, features, 0.05, 0)
graphs.append(import_program(export(network, features[:1]), "guide"))
assert [node.operator.name for node in graphs[-1]] == ["conv2d", "hard_swish", "dense", "softmax"]
for graph in graphs:
    shape = graph.tensors[graph.input].shape
    inputs = np.random.default_rng(0).integers(-128, 128, (2, *shape), dtype=np.int8)
    for target in ("host", "stm32f746"):
        np.testing.assert_array_equal(compile(graph, target)(inputs), run(graph, inputs).reshape(2, -1))
with torch.no_grad():
    wanted = module(features[:8]).softmax(1).numpy()
integers = (features[:8].permute(0, 2, 3, 1) / 0.05).round().numpy().astype(np.int8)
assert np.abs((run(graphs[-1], integers).reshape(8, -1) + 128.0) / 256 - wanted).max() < 0.05
assert "## hard_swish" in operators_page() and "aten.hardswish" in operators_page()
assert len(graphs) == 4
"""


def test_the_guides_operator_works(tmp_path: Path) -> None:
    """CONTRIBUTING.md applied to a copy of the source gives an operator that all executors compute alike."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/graphs.py", tmp_path / "tests")
    changed = _apply_guide(_text("CONTRIBUTING.md").split("## Add a kernel")[0], tmp_path)
    assert "src/jerboa/codegen/kernels/hard_swish.py" in changed
    environment = {"PYTHONPATH": f"{tmp_path / 'src'}:{tmp_path / 'tests'}"}
    done = _python(["-c", GUIDE_CHECK], tmp_path, environment)
    assert done.returncode == 0, done.stderr


def _python(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    merged = {**os.environ, **environment}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=merged, capture_output=True, text=True)


def _section(page: str, title: str) -> str:
    """The text below a heading, up to the next one."""
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", page, re.DOTALL | re.MULTILINE)
    assert match, f"no heading '{title}'"
    return match[1]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, tuple):
        value = list(value)
    return "none" if value is None else f"`{json.dumps(value)}`"


def test_usage_lists_every_key_of_a_recipe_with_its_default() -> None:
    page = _text("docs/usage.md")
    sections = {name: field.annotation for name, field in Recipe.model_fields.items() if hasattr(field.annotation, "model_fields")}
    tables = {name: (f"[{name}]", dict(model.model_fields)) for name, model in sections.items()}
    tables["recipe"] = ("Recipes", {name: field for name, field in Recipe.model_fields.items() if name not in sections})
    for title, fields in tables.values():
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", _section(page, title), re.MULTILINE)
        assert dict(rows) == {name: _default(field) for name, field in fields.items()}, f"docs/usage.md, {title}"


def test_usage_names_every_command_and_option() -> None:
    page = _text("docs/usage.md")
    commands = get_command(app).commands
    assert commands
    for name, command in commands.items():
        section = _section(page, f"jerboa {name}")
        options = {max(parameter.opts, key=len) for parameter in command.params if parameter.opts[0].startswith("-")}
        assert options <= set(re.findall(r"`(--[\w-]+)", section)), name
        assert set(re.findall(r"`(--[\w-]+)[ `]", section)) <= options, name


def test_usage_names_every_key_of_the_results() -> None:
    section = _section(_text("docs/usage.md"), "results.json")
    named = set(re.findall(r"`(\w+)`", section))
    for name, field in Results.model_fields.items():
        assert (field.alias or name) in named
        for model in (Latency, LayerCost, Accuracy, Agreement, ModelFacts, TargetFacts, FlashBytes, RamBytes, Provenance):
            assert {inner.alias or key for key, inner in model.model_fields.items()} <= named, model.__name__


@pytest.mark.parametrize("page, missing", [("README.md", set()), ("docs/usage.md", {"microphone_read", "heard"})])
def test_the_c_example_compiles_and_needs_only_what_it_declares(page: str, missing: set[str], tmp_path: Path) -> None:
    examples = re.findall(r"```c\n(.*?)```", _text(page), re.DOTALL)
    assert len(examples) == 1
    spec = FrontendSpec()
    builder = Builder(np.random.default_rng(0), (spec.frames, spec.features, 1))
    builder.conv(4, (9, 8), (4, 4))
    builder.dense(3)
    builder.softmax()
    graph = replace(builder.graph(), frontend=spec.to_json(), labels=("yes", "unknown", "silence"))
    sources = generate(graph, "dsp").files | {"main.c": examples[0]}
    built = objects(sources, load_target("stm32f746"), tmp_path)
    wanted = {name for path in built for name in undefined_symbols(path)}
    defined = {name for path in built for name in defined_symbols(path)}
    assert wanted - defined == missing


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", _text(page)):
        link = target[0] or target[1]
        if not link.startswith(("http://", "https://")):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"
