"""The schema of results.json: what is refused, what comes back, and the interval."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fixture_run import fixture_values
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from jerboa.errors import JerboaError
from jerboa.report.results import (
    Results,
    load_examples,
    load_results,
    make_example,
    to_json,
    wilson,
    write_examples,
    write_results,
)
from jerboa.report.summary import summary


def _text(renderable: Any) -> str:
    console = Console(width=160, record=True, file=StringIO())
    console.print(renderable)
    return console.export_text()


def test_results_survive_the_file(tmp_path: Path) -> None:
    results = Results.model_validate(fixture_values())
    write_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
    assert [item.name for item in tmp_path.iterdir()] == ["results.json"]


def test_file_has_the_keys_that_other_tools_rely_on(tmp_path: Path) -> None:
    write_results(Results.model_validate(fixture_values()), tmp_path / "results.json")
    values = json.loads((tmp_path / "results.json").read_text())
    expected = {
        "model": {"name", "parameters", "macs", "weight_bytes"},
        "target": {"name", "core", "clock_hz", "compiler", "flags"},
        "latency": {"cycles", "instructions", "ms", "modelled", "frontend_cycles", "layers"},
        "flash_bytes": {"code", "weights", "tables", "total"},
        "ram_bytes": {"arena", "state", "stack", "total"},
        "accuracy": {"float", "int8", "emulated", "clips", "ci95", "per_class"},
        "agreement": {"host", "emulator", "samples"},
    }
    assert values["schema"] == 1
    for section, keys in expected.items():
        assert keys <= set(values[section]), section
    assert {"name", "op", "kernel", "macs", "cycles", "instructions"} == set(values["latency"]["layers"][0])
    assert values["latency"]["modelled"] is True
    assert values["latency"]["method"] == "one cycle per instruction"


def test_sections_not_produced_are_null(tmp_path: Path) -> None:
    values = {key: fixture_values()[key] for key in ("schema", "model", "target")}
    write_results(Results.model_validate(values), tmp_path / "results.json")
    again = load_results(tmp_path / "results.json")
    assert again.accuracy is None and again.latency is None
    assert to_json(again)["accuracy"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "newer jerboa"),
        ({"schema": "one"}, "schema"),
        ({"model": None}, "model"),
        ({"energy": 3}, "energy"),
        ({"confusion": [[1, 2]]}, "confusion must be 12 × 12"),
        ({"flash_bytes": {"code": 5, "weights": 5, "tables": 0, "total": 9}}, "more than the total"),
        ({"agreement": {"host": 9, "emulator": 8, "samples": 8}}, "more equal samples"),
        ({"steps": ["only"]}, "lives outside the 1 steps"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**json.loads(json.dumps(fixture_values())), **change}))
    with pytest.raises(JerboaError, match=message) as caught:
        load_results(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"loss": 1}', '{"schema": null}'])
def test_foreign_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(JerboaError):
        load_results(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JerboaError, match=r"absent\.json"):
        load_results(tmp_path / "absent.json")


def test_layers_cannot_cost_more_than_the_whole() -> None:
    values = fixture_values()
    values["latency"]["cycles"] = 1000
    with pytest.raises(ValueError, match="more than the 1000 in all"):
        Results.model_validate(values)


def test_interval_must_hold_the_accuracy() -> None:
    values = fixture_values()
    values["accuracy"]["ci95"] = (0.1, 0.2)
    with pytest.raises(ValueError, match="does not hold"):
        Results.model_validate(values)


def test_unwritable_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JerboaError, match="cannot be written"):
        write_results(Results.model_validate(fixture_values()), tmp_path / "file" / "results.json")


def test_wilson_known_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_mirrors(pair: tuple[int, int]) -> None:
    correct, clips = pair
    low, high = wilson(correct, clips)
    assert 0 <= low <= correct / clips <= high <= 1
    mirrored = wilson(clips - correct, clips)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("pair", [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        wilson(*pair)


def test_example_states_posteriors_and_envelope(tmp_path: Path) -> None:
    pcm = [0] * 15_999 + [-32_768]
    example = make_example("a.wav", "yes", "no", [127, -128], pcm, [[-128, 127], [0, 1]])
    assert example.posteriors == [255 / 256, 0.0]
    assert len(example.waveform) == 400 and example.waveform[-1] == (-1.0, 0.0)
    assert not example.right
    write_examples([example], tmp_path / "examples.json")
    assert load_examples(tmp_path / "examples.json") == [example]


def test_summary_says_the_numbers_and_where_the_report_is() -> None:
    values = fixture_values()
    text = _text(summary(Results.model_validate(values), Path("runs/demo/report.html")))
    assert "emulated" in text and f"{values['ram_bytes']['arena']:,}" in text
    assert "modelled (one cycle per instruction)" in text
    assert "runs/demo/report.html" in text and "equal" in text
    values["agreement"]["emulator"] = 255
    assert "DIFFERENT" in _text(summary(Results.model_validate(values)))
