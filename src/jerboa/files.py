"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jerboa.errors import JerboaError


@contextmanager
def replacing(path: Path, hint: str | None = None) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` in one step when the block ends, and goes if it fails.

    Folders are made as needed.

    Raises:
        JerboaError: the disk is full or the folder cannot be written; ``hint`` says what to do.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise JerboaError(f"cannot be written ({error.strerror or error})", where=path, hint=hint) from None


def write_text(path: Path, text: str) -> None:
    """Replace the file's text in one step. Raises JerboaError if it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """The file's text. Raises JerboaError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JerboaError(f"cannot be read ({error})", where=path) from None
