"""The download, from a server on this machine that breaks off as real ones do."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from jerboa.audio.corpus import load_corpus
from jerboa.audio.download import ATTEMPTS, fetch_speech_commands
from jerboa.errors import JerboaError
from jerboa.recipe import CorpusRecipe


@dataclass
class Server:
    """Serves one archive; ``cuts`` says after how many bytes each answer breaks off (None: never)."""

    body: bytes
    cuts: list[int | None] = field(default_factory=list)
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(archive())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and state.ranges else 0
            if start >= len(state.body):
                self.send_error(416)
                return
            rest = state.body[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            cut = state.cuts.pop(0) if state.cuts else None
            self.wfile.write(rest[:cut])
            self.wfile.flush()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}/speech_commands.tar.gz"
        yield state
        http.shutdown()
        thread.join()


def archive(*extra: tuple[str, bytes], noise: bool = True) -> bytes:
    """A small corpus, as the published archive has it: everything at the top."""
    rng = np.random.default_rng(1)
    files = [("README.md", rng.bytes(200_000)), ("left/a_nohash_0.wav", b"sound"), ("testing_list.txt", b"")]
    files += [("_background_noise_/hiss.wav", b"noise")] if noise else []
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in [*files, *extra]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def fetch(server: Server, folder: Path, sha256: str | None = None) -> Path:
    digest = sha256 or hashlib.sha256(server.body).hexdigest()
    return fetch_speech_commands(folder, server.url, digest, progress=False, patience=0.001)


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()}


def test_fetches_checks_unpacks_and_leaves_only_the_folder(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "commands"
    assert fetch(server, folder) == folder
    assert (folder / "left" / "a_nohash_0.wav").read_bytes() == b"sound"
    assert left_over(folder) == {"commands"}
    fetch(server, folder)
    assert server.asked == [None]


def test_a_cut_connection_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [70_000, 0, 50_000]
    fetch(server, tmp_path / "commands")
    assert server.asked == [None, "bytes=70000-", "bytes=70000-", "bytes=120000-"]


def test_an_interrupted_command_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = [70_000, *[0] * ATTEMPTS]
    with pytest.raises(JerboaError, match="goes on where it stopped"):
        fetch(server, tmp_path / "commands")
    assert not (tmp_path / "commands").exists()
    server.asked.clear()
    server.cuts.clear()
    fetch(server, tmp_path / "commands")
    assert server.asked == ["bytes=70000-"]


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [70_000]
    fetch(server, tmp_path / "commands")
    assert len(server.asked) == 2 and (tmp_path / "commands" / "README.md").stat().st_size == 200_000


def test_all_had_come_before_the_command_was_killed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "commands.tar.gz.part").write_bytes(server.body)
    fetch(server, tmp_path / "commands")
    assert left_over(tmp_path / "commands") == {"commands"}


def test_a_wrong_checksum_unpacks_nothing_and_can_be_tried_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(JerboaError, match="wrong checksum"):
        fetch(server, tmp_path / "commands", sha256="0" * 64)
    assert left_over(tmp_path / "commands") == set()
    fetch(server, tmp_path / "commands")
    assert server.asked == [None, None]


@pytest.mark.parametrize("name", ["../outside.wav", "/tmp/jerboa-outside.wav"])
def test_an_archive_cannot_write_outside_its_folder(server: Server, tmp_path: Path, name: str) -> None:
    server.body = archive((name, b"bad"))
    folder = tmp_path / "inner" / "commands"
    if name.startswith("/"):
        # A leading slash is dropped, so the file stays inside.
        fetch(server, folder)
        assert (folder / name.lstrip("/")).is_file()
    else:
        with pytest.raises(JerboaError, match="does not unpack"):
            fetch(server, folder)
        assert not folder.exists()
    assert not (tmp_path / "outside.wav").exists() and not Path("/tmp/jerboa-outside.wav").exists()


def test_an_archive_of_something_else(server: Server, tmp_path: Path) -> None:
    server.body = archive(noise=False)
    with pytest.raises(JerboaError, match="not Speech Commands"):
        fetch(server, tmp_path / "commands")
    assert not (tmp_path / "commands").exists()


def test_a_folder_of_something_else_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "thesis.txt").write_text("mine")
    with pytest.raises(JerboaError, match="something other"):
        fetch(server, tmp_path / "commands")
    assert not server.asked and (tmp_path / "commands" / "thesis.txt").read_text() == "mine"


def test_not_found_is_said_at_once(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(JerboaError, match="404"):
        fetch(server, tmp_path / "commands")
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(JerboaError, match="503"):
        fetch(server, tmp_path / "commands")
    assert len(server.asked) == ATTEMPTS


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(JerboaError, match="broke off"):
        fetch_speech_commands(tmp_path / "commands", "http://127.0.0.1:9/none", "0" * 64, False, 0.001)


def test_only_speech_commands_can_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(JerboaError, match="only Speech Commands"):
        load_corpus(CorpusRecipe(kind="folder", path=tmp_path, words=("a", "b"), download=True), seed=1)
