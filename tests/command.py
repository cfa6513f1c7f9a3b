"""Runs the command line in this process, as a user would see it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from jerboa import cli


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def jerboa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    monkeypatch.setattr(sys, "argv", ["jerboa", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return Outcome(code, captured.out, captured.err)
