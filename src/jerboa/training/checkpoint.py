"""What a training run keeps on disk: written whole or not at all, read without ever running code from the file."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import torch

from jerboa.errors import JerboaError
from jerboa.files import replacing

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


def _write(path: Path, content: bytes) -> None:
    hint = "make room or choose another folder; the same command then goes on after the last finished epoch"
    with replacing(path, hint) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def save(run: Path, state: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Write ``checkpoint.pt`` and ``metrics.jsonl`` (one line per finished epoch)."""
    buffer = io.BytesIO()
    torch.save({**state, "history": history}, buffer)
    _write(run / CHECKPOINT, buffer.getvalue())
    _write(run / METRICS, "".join(json.dumps(line) + "\n" for line in history).encode())


def load(run: Path, fingerprint: str | None = None) -> dict[str, Any] | None:
    """The run's checkpoint, or None if it has none.

    Args:
        fingerprint: what the checkpoint must have been trained from; None takes any.

    Raises:
        JerboaError: a damaged file, or one that belongs to another recipe or corpus.
    """
    path = run / CHECKPOINT
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not {"fingerprint", "done", "history"} <= state.keys():
            raise ValueError("no training state")
    except Exception:  # torch raises pickle, zip, runtime, value and key errors for damaged files
        raise JerboaError("the checkpoint is damaged", where=path, hint="delete it to train anew") from None
    if fingerprint is not None and state["fingerprint"] != fingerprint:
        raise JerboaError(
            "the checkpoint was trained from another recipe or corpus",
            where=path,
            hint="choose another run folder, or delete it to train anew",
        )
    return state
