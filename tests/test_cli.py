"""The verbs on a small network, and what a wrong word gets: one sentence, exit code 2, nothing overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import Outcome, jerboa
from graphs import Builder

from jerboa.graph import Graph, serialize
from jerboa.targets.target import load_target
from jerboa.targets.toolchain import objects, undefined_symbols

Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *arguments: jerboa(monkeypatch, capsys, *arguments)


def _graph(weights: int = 0) -> Graph:
    """A small network; with ``weights``, one with a dense layer of about that many bytes."""
    builder = Builder(np.random.default_rng(1), (12, 1, 8))
    builder.conv(16, (3, 1), (1, 1), (1, 1), (1, 1, 0, 0))
    builder.depthwise((3, 1), gain=1.0, clamp=(-128, 127))
    if weights:
        builder.dense(weights // builder.last.size)
    builder.dense(4)
    builder.softmax()
    return replace(builder.graph(), name="small", labels=("yes", "no", "unknown", "silence"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    serialize.save(_graph(), path)
    return path


def test_analyze_counts_without_torch_or_compiler(model: Path) -> None:
    code = (
        "import sys; sys.argv = ['jerboa', 'analyze', sys.argv[1], '--json']\n"
        "from jerboa.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'unicorn' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    graph = _graph()
    assert values["macs"] == 12 * 16 * 24 + 10 * 16 * 3 + 160 * 4 == graph.macs
    assert [layer["name"] for layer in values["layers"]] == [node.name for node in graph]
    assert values["ram_bytes"]["arena"] >= values["ram_bytes"]["arena_lower_bound"] > 0


def test_generate_prints_what_the_linker_says(run: Run, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    outcome = run("generate", model, "--out", folder, "--json")
    assert outcome.code == 0
    sizes = json.loads(outcome.out)
    assert sorted(path.name for path in folder.iterdir()) == sizes["files"]
    header = (folder / "kws.h").read_text()
    for macro, size in (("ARENA", sizes["ram_bytes"]["arena"]), ("WEIGHT", sizes["constant_bytes"]["weights"])):
        assert f"#define KWS_{macro}_BYTES {size}\n" in header
    sources = {path.name: path.read_text() for path in folder.iterdir()}
    built = objects(sources, load_target("stm32f746"), tmp_path / "o")
    assert {name for path in built for name in undefined_symbols(path)} <= {"kws_arena"}
    assert sizes["flash_bytes"]["weights"] == sizes["constant_bytes"]["weights"]
    parts = ("code", "weights", "tables")
    assert sum(sizes["flash_bytes"][part] for part in parts) == sizes["flash_bytes"]["total"]


def test_generate_obeys_the_prefix_and_writes_over_its_own_files(run: Run, model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("generate", model, "--out", tmp_path / "c", "--prefix", "ear_", "--target", "stm32l4r5").code == 0
    for path in (tmp_path / "c").iterdir():
        assert "kws" not in path.read_text().lower(), path.name
    assert "int ear_infer" not in (tmp_path / "c" / "ear.h").read_text()


def test_generate_never_replaces_a_file_of_the_user(run: Run, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "kws.h").write_text("precious")
    outcome = run("generate", model, "--out", folder)
    assert outcome.code == 2
    assert "not one that jerboa wrote" in outcome.err
    assert (folder / "kws.h").read_text() == "precious"
    assert len(list(folder.iterdir())) == 1


def test_profile_shares_the_results_schema(run: Run, model: Path) -> None:
    values = json.loads(run("profile", model, "--json").out)
    assert values["schema"] == 1
    layers = values["latency"]["layers"]
    assert [layer["name"] for layer in layers] == [node.name for node in _graph()]
    assert all(layer["instructions"] > 0 for layer in layers)
    assert sum(layer["instructions"] for layer in layers) <= values["latency"]["instructions"]
    assert values["latency"]["modelled"] and "one cycle per instruction" in values["latency"]["method"]
    assert values["ram_bytes"]["stack"] > 0


def test_validate_says_equal(run: Run, model: Path) -> None:
    values = json.loads(run("validate", model, "--inputs", 5, "--json").out)
    assert values["equal"]
    assert [row["equal_inputs"] for row in values["executors"]] == [5, 5, 5]


def test_validate_names_the_layer_that_differs(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jerboa import executors

    good = executors.sources_with_harness

    def broken(generated):
        sources = good(generated)
        bias = f"{generated.symbols['depthwise_conv2d_1']}_bias[16] = {{\n    "
        head, tail = sources["kws_network.c"].split(bias)
        return sources | {"kws_network.c": f"{head}{bias}-1000000 + {tail}"}

    monkeypatch.setattr(executors, "sources_with_harness", broken)
    outcome = run("validate", model, "--inputs", 2, "--json")
    assert outcome.code == 1
    named = [row["first_difference"]["layer"] for row in json.loads(outcome.out)["executors"]]
    assert named == ["depthwise_conv2d_1"] * 3
    assert "depthwise_conv2d_1" in run("validate", model, "--inputs", 2).out


def test_a_network_too_large_for_the_board_says_by_how_much(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    serialize.save(_graph(weights=600_000), path)
    outcome = run("generate", path, "--out", tmp_path / "c", "--target", "stm32g0b1")
    assert outcome.code == 2
    assert "bytes more flash than stm32g0b1 has (524,288)" in outcome.err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["analyze", "nowhere.json"], ["nowhere.json", "no such file or folder", "run folder"]),
        (["analyze", "{folder}"], ["no trained network", "jerboa train"]),
        (["analyze", "{odd}"], ["files of kind '.xyz' cannot be read"]),
        (["analyze", "{damaged}"], ["damaged.json", "not a graph file"]),
        (["analyze", "{model}", "--target", "stm32f74"], ["did you mean 'stm32f746'"]),
        (["profile", "{model}", "--target", "host"], ["name a board"]),
        (["profile", "{model}", "--compiler", "clang"], ["clang"]),
        (["generate", "{model}", "--out", "{folder}/c", "--prefix", "9 lives"], ["--prefix", "cannot begin C names"]),
        (["train", "nowhere.toml"], ["nowhere.toml", "cannot read the recipe"]),
        (["train", "{toml}"], ["not valid TOML", "line 1"]),
        (["train", "{unknown_key}"], ["unknown key 'training.epoch'", "did you mean 'epochs'"]),
        (["train", "{one_word}"], ["corpus.words", "at least 2"]),
        (["train", "{no_corpus}"], ["no corpus folder 'nowhere'", "JERBOA_DATA"]),
        (["train", "{unknown_board}"], ["stm32f999"]),
        (["train", "{good}", "--set", "training"], ["not key=value", "training.epochs=5"]),
        (["report", "{folder}"], ["not a run folder"]),
        (["demo", "--words", ","], ["--words", "names no word"]),
    ],
)
def test_wrong_input_is_one_sentence(run: Run, model: Path, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    base = '[corpus]\nkind = "folder"\npath = "nowhere"\nwords = ["yes", "no"]\n'
    texts = {
        "toml": "= 3",
        "unknown_key": base + "[training]\nepoch = 3\n",
        "one_word": '[corpus]\nwords = ["yes"]\n',
        "no_corpus": base,
        "good": base,
        "unknown_board": base.replace('"nowhere"', f'"{tmp_path}"') + '[target]\nboard = "stm32f999"\n',
    }
    places = {"folder": tmp_path / "empty", "odd": tmp_path / "odd.xyz", "damaged": tmp_path / "damaged.json", "model": model}
    places["folder"].mkdir()
    places["odd"].write_text("?")
    places["damaged"].write_text(model.read_text()[:2000])
    for name, text in texts.items():
        places[name] = tmp_path / f"{name}.toml"
        places[name].write_text(text)
    before = sorted(tmp_path.rglob("*"))
    outcome = run(*(argument.format(**places) for argument in arguments))
    assert outcome.code == 2
    flat = " ".join(outcome.err.split())
    for word in words:
        assert word in flat
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("package", "extra"), [("ziglang", "compile"), ("unicorn", "emulate")])
def test_a_missing_part_names_its_extra(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    outcome = run("profile", model)
    assert outcome.code == 2
    assert f"jerboa[{extra}]" in outcome.err
