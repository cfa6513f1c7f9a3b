"""The published Speech Commands archive: fetched on request, resumed where it broke off, checked, unpacked."""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from jerboa.audio.layouts import NOISE_FOLDER
from jerboa.errors import JerboaError, missing_extra

URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
# As torchaudio and TensorFlow Datasets list it.
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
ATTEMPTS = 5
_CHUNK = 1 << 18
_TIMEOUT = 30


def fetch_speech_commands(folder: Path, url: str = URL, sha256: str = SHA256, progress: bool = True, patience: float = 1.0) -> Path:
    """Speech Commands v0.02 (CC BY 4.0, P. Warden; 2.4 GB) in ``folder``, downloaded unless it is there.

    The archive grows in ``<folder>.tar.gz.part``; a call after an interruption goes on where the last one stopped. The
    folder appears in one piece, when all is unpacked, and the archive is deleted then.

    Args:
        sha256: of the archive.
        progress: show a bar on stderr.
        patience: seconds to wait before the first new attempt; each further wait is twice as long.

    Raises:
        JerboaError: the folder holds something else, no connection after several attempts, a wrong checksum, an archive
            that does not unpack or that reaches outside its folder, a full disk.
    """
    if (folder / NOISE_FOLDER).is_dir():
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise JerboaError("this folder holds something other than Speech Commands", where=folder, hint="name a new one")
    try:
        import pooch
    except ImportError:
        raise missing_extra("pooch", "audio", "downloading a corpus") from None
    archive = folder.with_name(f"{folder.name}.tar.gz")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(url, f"sha256:{sha256}", archive.name, folder.parent, downloader=_Resuming(archive, progress, patience))
        _unpack(archive, folder, progress)
        archive.unlink()
    except ValueError:
        raise JerboaError("the downloaded archive has a wrong checksum and was deleted", where=url, hint="try again") from None
    except OSError as error:
        raise JerboaError(f"cannot store the corpus ({error.strerror or error})", where=folder) from None
    return folder


class _Resuming:
    """A downloader for pooch that keeps what has come in ``<archive>.part`` and asks only for the rest."""

    def __init__(self, archive: Path, progress: bool, patience: float) -> None:
        self.part = _part(archive)
        self.progress = progress
        self.patience = patience

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        if self.progress:
            console.print(f"downloading {url}")
        with Progress(*columns, console=console, disable=not self.progress, transient=True) as bar:
            self._retry(url, bar)
        # pooch's temporary file is in the archive's folder, so this is a rename, not a copy of gigabytes.
        os.replace(self.part, output_file)

    def _retry(self, url: str, bar: Progress) -> None:
        wait, failures, before = self.patience, 0, self._have()
        while True:
            try:
                self._attempt(url, bar)
                return
            except urllib.error.HTTPError as error:
                if error.code == 416 and self._have():
                    return
                if error.code < 500:
                    raise JerboaError(f"the server answers {error.code} {error.reason}", where=url) from None
                reason: object = f"{error.code} {error.reason}"
            except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
                reason = getattr(error, "reason", error)
            # Only attempts in a row that brought nothing count.
            failures = 1 if self._have() > before else failures + 1
            before = self._have()
            if failures >= ATTEMPTS:
                raise JerboaError(
                    f"the download broke off ({reason})", where=url, hint="the same command goes on where it stopped"
                ) from None
            time.sleep(wait)
            wait = min(2 * wait, 30)

    def _attempt(self, url: str, bar: Progress) -> None:
        have = self._have()
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            if have and answer.status != 206:
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            task = bar.add_task("download", total=total, completed=have)
            with self.part.open("ab" if have else "wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    bar.advance(task, len(chunk))
            bar.remove_task(task)
        if total is not None and self._have() < total:
            raise ConnectionError(f"{self._have()} of {total} bytes came")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


def _part(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.part")


def _unpack(archive: Path, folder: Path, progress: bool) -> None:
    """Everything in the archive, or nothing: unpacked beside ``folder`` and renamed."""
    if progress:
        Console(stderr=True).print(f"unpacking {archive.name}")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        inside = Path(scratch) / "corpus"
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(inside, filter="data")
        except (tarfile.TarError, EOFError) as error:
            archive.unlink()
            raise JerboaError(f"the archive does not unpack ({error})", where=archive) from None
        if not (inside / NOISE_FOLDER).is_dir():
            raise JerboaError(f"the archive holds no {NOISE_FOLDER}, so it is not Speech Commands", where=archive)
        if folder.is_dir():
            folder.rmdir()
        os.replace(inside, folder)
