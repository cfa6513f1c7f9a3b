"""Reading and writing the text files of a run folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from jerboa.errors import JerboaError


def read_text(path: Path) -> str:
    """The file's text. Raises JerboaError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JerboaError(f"cannot be read ({error})", where=path) from None


def write_text(path: Path, text: str) -> None:
    """Replace the file in one step, so that no reader sees half of it. Raises JerboaError if it cannot be written."""
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise JerboaError(f"cannot be written ({error.strerror or error})", where=path) from None
