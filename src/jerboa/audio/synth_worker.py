# SPDX-License-Identifier: MIT
"""Speaks words with eSpeak NG for another process, which talks to it over stdin and stdout.

A self-contained program: the standard library and ``espeakng_loader`` (which brings eSpeak NG, GPL-3.0-or-later) and nothing
else. On start it writes one line of JSON: ``{"rate": Hz}`` or ``{"error": why}``. Then each line read is JSON, ``text``,
``voice`` (such as ``gmw/en-US+f2``), ``rate`` (words a minute), ``pitch`` and ``range`` (0 to 100), and the answer is one line
of JSON, ``{"bytes": n}`` or ``{"error": why}``, and then n bytes: mono, 16 bits, little-endian. It ends with its input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

SYNCHRONOUS = 2
DONT_EXIT = 0x8000
UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4
SRAND = ctypes.CDLL(None).srand if os.name == "posix" else ctypes.CDLL("msvcrt").srand
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Speaker:
    """eSpeak NG, collecting what it says."""

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = os.fsencode(espeakng_loader.get_data_path())
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, data, DONT_EXIT)
        if self.rate <= 0:
            raise OSError("eSpeak NG does not start")
        self.chunks: list[bytes] = []
        # The library keeps a pointer to the callback: it must live as long as this object.
        self.callback = CALLBACK(self._collect)
        self.library.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        if samples and count > 0:
            self.chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int) -> bytes:
        """PCM of one utterance."""
        # The library applies parameters to the voice that is set, so the voice comes first.
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"no voice {voice}")
        for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        # Breathy voices draw from eSpeak NG's generator, seeded by the clock at start, and from the C library's.
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        SRAND(1)
        self.chunks.clear()
        encoded = text.encode()
        if self.library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 0, 0, UTF8, None, None):
            raise ValueError(f"cannot say {text}")
        self.library.espeak_Synchronize()
        return b"".join(self.chunks)


def main() -> None:
    """Answers until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = sys.stdout.buffer

    def answer(message: dict, pcm: bytes = b"") -> None:
        out.write(json.dumps(message).encode() + b"\n" + pcm)
        out.flush()

    try:
        speaker = Speaker()
    except (ImportError, OSError) as error:
        answer({"error": str(error)})
        return
    answer({"rate": speaker.rate})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            pcm = speaker.say(request["text"], request["voice"], request["rate"], request["pitch"], request["range"])
        except ValueError as error:
            answer({"error": str(error)})
        else:
            answer({"bytes": len(pcm)}, pcm)


if __name__ == "__main__":
    main()
