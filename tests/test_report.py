"""The report page: what it says, what it survives, and that it stands alone."""

from __future__ import annotations

import json
import re
import struct
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from fixture_run import LABELS, fixture_run, fixture_values
from hypothesis import given
from hypothesis import strategies as st

from jerboa.errors import JerboaError
from jerboa.report.page import write_report
from jerboa.report.pictures import heat_png
from jerboa.report.plots import fullest_step, ticks
from jerboa.report.results import ArenaPlacement
from jerboa.report.words import points

VOID = {"meta", "img", "br", "link", "input", "hr"}


class _Page(HTMLParser):
    """Collects tags and visible text, and checks that every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixture_run(tmp_path_factory.mktemp("runs") / "first")


def _page(runs: list[Path], out: Path) -> _Page:
    assert write_report(runs, out) == out
    return _Page(out.read_text(encoding="utf-8"))


def test_page_states_the_run(run: Path, tmp_path: Path) -> None:
    page = _page([run], tmp_path / "report.html")
    values = fixture_values()
    accuracy = values["accuracy"]
    for part in (
        points(accuracy["emulated"]),
        f"95 % interval {points(accuracy['ci95'][0])} to {points(accuracy['ci95'][1])}",
        "modelled: one cycle per instruction",
        f"{values['ram_bytes']['total']:,} bytes",
        f"{values['flash_bytes']['weights']:,}",
        "Every executor gives the same bytes.",
        "256 of 256 clips equal in emulated chip",
        values["provenance"]["command"],
        values["provenance"]["model_hash"],
        "49 frames, 21.4 k cycles each",
    ):
        assert part in page.text, part
    for layer in values["latency"]["layers"]:
        assert layer["name"] in page.text and layer["kernel"] in page.text
    for tensor in values["arena_plan"]:
        assert f"{tensor['name']}: {tensor['bytes']:,} bytes at {tensor['offset']:,}" in page.text


def test_page_shows_every_count_of_the_confusion_matrix(run: Path, tmp_path: Path) -> None:
    page = _page([run], tmp_path / "report.html")
    titles = {attrs.get("title") for tag, attrs in page.tags if tag == "td"}
    for truth, row in zip(LABELS, fixture_values()["confusion"], strict=True):
        for guess, count in zip(LABELS, row, strict=True):
            assert f"{truth} heard as {guess}: {count}" in titles


def test_page_stands_alone(run: Path, tmp_path: Path) -> None:
    page = _page([run], tmp_path / "report.html")
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    for _, attrs in page.tags:
        for name in ("src", "href"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), value
    html = (tmp_path / "report.html").read_text()
    assert "url(" not in html and "@import" not in html and "default-src 'none'" in html


def test_pictures_have_words_for_those_who_do_not_see_them(run: Path, tmp_path: Path) -> None:
    page = _page([run], tmp_path / "report.html")
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 8 and all(attrs.get("alt") for attrs in images)
    for tag, attrs in page.tags:
        if tag == "svg" and attrs.get("role") == "img":
            assert attrs.get("aria-label") is not None
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_mistakes_come_first_and_are_marked(run: Path, tmp_path: Path) -> None:
    page = _page([run], tmp_path / "report.html")
    kinds = [attrs["class"] for tag, attrs in page.tags if tag == "li" and attrs.get("class") in ("right", "wrong")]
    assert kinds == ["wrong"] * 2 + ["right"] * 6


def test_words_of_users_are_text_not_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    labels = [evil, '"><img src=x onerror=y>', *LABELS[2:]]
    run = fixture_run(tmp_path / "evil", labels=labels)
    page = _page([run], tmp_path / "report.html")
    assert not [tag for tag, attrs in page.tags if tag == "script" or "onerror" in attrs]
    assert evil in page.text


def test_several_runs_are_compared(run: Path, tmp_path: Path) -> None:
    second = fixture_run(tmp_path / "second", seed=3, scale=1.6)
    young = tmp_path / "young"
    young.mkdir()
    (young / "recipe.toml").write_text('name = "young"\n')
    page = _page([run, second, young], tmp_path / "report.html")
    assert "3 runs side by side" in page.text and "not yet" in page.text
    assert "(best)" in page.text
    assert {"run1", "run2", "run3", "compare"} <= {attrs.get("id") for _, attrs in page.tags}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("metrics.jsonl", "No training curve"),
        ("examples.json", "No example clips"),
        ("results.json", "No results yet"),
    ],
)
def test_missing_part_is_said_in_place(tmp_path: Path, name: str, words: str) -> None:
    run = fixture_run(tmp_path / "run")
    assert words not in _page([run], tmp_path / "report.html").text
    (run / name).unlink()
    assert words in _page([run], tmp_path / "report.html").text


def test_bare_profile_is_a_page(tmp_path: Path) -> None:
    run = tmp_path / "bare"
    run.mkdir()
    values = {key: fixture_values()[key] for key in ("schema", "model", "target")}
    (run / "results.json").write_text(json.dumps(values))
    text = _page([run], tmp_path / "report.html").text
    for words in ("not evaluated", "Not profiled yet", "No RAM sizes", "No flash sizes", "No provenance", "No arena plan"):
        assert words in text


def test_disagreement_is_not_hidden(tmp_path: Path) -> None:
    run = fixture_run(tmp_path / "run")
    values = json.loads((run / "results.json").read_text())
    values["agreement"]["emulator"] = 255
    (run / "results.json").write_text(json.dumps(values))
    text = _page([run], tmp_path / "report.html").text
    assert "The executors differ." in text and "255 of 256 clips equal in emulated chip" in text


def test_licence_of_the_corpus_goes_with_its_pictures(tmp_path: Path) -> None:
    run = fixture_run(tmp_path / "run")
    assert "Speech Commands, CC BY 4.0, P. Warden" in _page([run], tmp_path / "report.html").text
    (run / "recipe.toml").write_text('[corpus]\nkind = "synthetic"\n')
    assert "CC BY" not in _page([run], tmp_path / "report.html").text


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JerboaError, match="not a run folder"):
        write_report([tmp_path], tmp_path / "report.html")
    with pytest.raises(JerboaError, match="no such run folder"):
        write_report([tmp_path / "absent"], tmp_path / "report.html")
    with pytest.raises(JerboaError, match="no run folder"):
        write_report([], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_line_cut_off_by_a_killed_training_is_left_out(tmp_path: Path) -> None:
    run = fixture_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 61, "train_lo')
    assert "epoch 60" in _page([run], tmp_path / "report.html").text
    with (run / "metrics.jsonl").open("a") as file:
        file.write('\n{"epoch": 62}\n')
    with pytest.raises(JerboaError, match="line 61"):
        write_report([run], tmp_path / "report.html")


def test_feature_picture_is_upright_and_bright_where_loud() -> None:
    uri = heat_png([[-128, 127], [-128, -128], [-128, -128]], -128, 127)
    data = b64decode(uri.partition(",")[2])
    assert struct.unpack(">II", data[16:24]) == (3, 2)
    pixels, palette = b"", b""
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        pixels += body if kind == b"IDAT" else b""
        palette += body if kind == b"PLTE" else b""
        at += 12 + size
    assert zlib.decompress(pixels) == bytes([0, 255, 0, 0, 0, 0, 0, 0])
    light = [0.2126 * palette[i] + 0.7152 * palette[i + 1] + 0.0722 * palette[i + 2] for i in range(0, 768, 3)]
    assert all(after > before - 0.5 for before, after in pairwise(light))
    assert light[0] < 2 and light[-1] > 240


def test_fullest_step_counts_shared_bytes_once() -> None:
    plan = [
        ArenaPlacement(name="a", offset=0, bytes=100, first=0, last=1),
        ArenaPlacement(name="in place", offset=0, bytes=80, first=1, last=2),
        ArenaPlacement(name="b", offset=120, bytes=30, first=1, last=2),
    ]
    assert fullest_step(["x", "y", "z"], plan) == (1, 130)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_cover_the_range(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    step = marks[1] - marks[0]
    assert marks[0] <= low + 1e-6 * step + 1e-9 and marks[-1] >= low + span - 1e-6 * step - 1e-9
    assert 2 <= len(marks) <= 9


def test_points_never_claim_perfection_by_rounding() -> None:
    assert points(0.99999) == "99.9" and points(1.0) == "100.0" and points(0.97125) == "97.1"
