"""The integer front end: equal bytes in every executor, close to float64, no overflow on any input."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from jerboa.audio import frontend_tables
from jerboa.audio.frontend import (
    FFT_SIZES,
    FrontendSpec,
    c_sources,
    calibrate,
    float_features,
    reference,
    tables,
)
from jerboa.errors import JerboaError
from jerboa.targets.emulator import Emulator
from jerboa.targets.hostlib import HostLibrary
from jerboa.targets.target import load_target
from jerboa.targets.toolchain import firmware, host_library, objects, undefined_symbols, wasm_module

DEFAULT = FrontendSpec()
PAPER = FrontendSpec(window=1024, hop=512, fft=1024, low_hz=0.0, high_hz=8000.0)
MLPERF = FrontendSpec(kind="mfcc", high_hz=4000.0, scale=0.6, zero_point=60)
SHORT = FrontendSpec(window=200, hop=77, fft=256, bands=20)
SMALL = FrontendSpec(kind="mfcc", window=90, hop=64, fft=128, bands=10, coefficients=10, scale=0.5, zero_point=60)
LARGE = FrontendSpec(window=2048, hop=1000, fft=2048, bands=80)
NARROW = FrontendSpec(window=100, hop=100, fft=512, bands=24)
# Bands so narrow that their energies need a place of their own.
DENSE = FrontendSpec(kind="mfcc", window=256, hop=128, fft=256, bands=60, coefficients=13, high_hz=8000.0, scale=0.7)
SPECS = {
    "default": DEFAULT,
    "paper": PAPER,
    "mlperf": MLPERF,
    "fft256": SHORT,
    "fft128": SMALL,
    "fft2048": LARGE,
    "short-window": NARROW,
    "dense": DENSE,
}

HARNESS = """
#include "kws_frontend.h"
int16_t pcm[KWS_WINDOW];
int8_t features[KWS_FEATURES];
uint32_t scratch[KWS_FRONTEND_SCRATCH_BYTES / 4];
void frame(void);
void frame(void) { kws_frontend_frame(pcm, features, scratch); }
"""


def signals(samples: int = 16000) -> dict[str, np.ndarray]:
    """Ordinary and extreme PCM."""
    rng = np.random.default_rng(3)
    n = np.arange(samples)
    shapes = {
        "noise": rng.integers(-32768, 32768, samples),
        "one step of noise": rng.integers(-1, 2, samples),
        "silence": np.zeros(samples),
        "square": np.where(n // 40 % 2, 32767, -32768),
        "fast square": np.where(n % 2, 32767, -32768),
        "direct current": np.full(samples, 32767),
        "lowest": np.full(samples, -32768),
        "click": np.where(n == samples // 2 + 7, -32768, 0),
        "voice-like": 9000 * np.sin(n * 0.05 + 3 * np.sin(n * 0.001)) * rng.normal(1, 0.3, samples),
    }
    return {name: np.clip(shape, -32768, 32767).astype(np.int16) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Features through the host-compiled C, by spec."""
    libraries: dict[FrontendSpec, HostLibrary] = {}

    def run(spec: FrontendSpec, pcm: np.ndarray) -> np.ndarray:
        if spec not in libraries:
            out = tmp_path_factory.mktemp("host") / "frontend.so"
            # Overflow in C's signed integers traps.
            flags = ["-O1", "-fsanitize=undefined", "-fsanitize-trap=undefined"]
            libraries[spec] = HostLibrary(host_library(c_sources(spec), out, flags))
        count = (len(pcm) - spec.window) // spec.hop + 1
        features = np.zeros((count, spec.features), np.int8)
        scratch = np.full(spec.scratch_bytes // 4, 0xDEADBEEF, np.uint32)
        for index in range(count):
            frame = pcm[index * spec.hop : index * spec.hop + spec.window]
            libraries[spec].call("kws_frontend_frame", np.ascontiguousarray(frame), features[index], scratch)
        return features

    return run


@pytest.mark.parametrize("name", SPECS)
def test_host_c_equals_the_definition(name, host):
    spec = SPECS[name]
    for label, pcm in signals().items():
        assert np.array_equal(host(spec, pcm), reference(spec, pcm)), label


@pytest.mark.parametrize("name", ["default", "paper", "mlperf", "fft256", "fft128"])
def test_correlates_with_float64(name):
    spec = SPECS[name]
    for label in ("noise", "one step of noise", "square", "click", "voice-like"):
        pcm = signals()[label]
        fine = calibrate(spec, pcm[None])
        wanted = np.clip(float_features(fine, pcm) / fine.scale + fine.zero_point, -128, 127)
        got = reference(fine, pcm).astype(float)
        assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] >= 0.999, label


def test_correlates_with_float64_on_speech():
    data = os.environ.get("JERBOA_DATA")
    if not data:
        pytest.skip("JERBOA_DATA is not set")
    soundfile = pytest.importorskip("soundfile")
    clips = sorted(Path(data).glob("speech-commands-subset/[a-z]*/*.flac"))[::200]
    assert len(clips) > 40
    for path in clips:
        pcm = soundfile.read(path, dtype="int16")[0]
        # A finely quantised feature shows the arithmetic; the spec's own step would hide it.
        for spec in (DEFAULT, PAPER):
            wanted = float_features(spec, pcm)
            fine = calibrate(spec, pcm[None])
            got = reference(fine, pcm).astype(float)
            wanted = np.clip(wanted / fine.scale + fine.zero_point, -128, 127)
            assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] >= 0.999, path.name
            assert np.quantile(np.abs(got - wanted), 0.99) * fine.scale < 0.15, path.name


def test_float_features_are_the_textbook_s():
    """Against SciPy's window, transform and DCT, and triangles drawn one by one."""
    fftpack = pytest.importorskip("scipy.fft")
    window = pytest.importorskip("scipy.signal").get_window("hann", 480)
    pcm = signals()["voice-like"]
    got = float_features(MLPERF, pcm)
    edges = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 4000 / 700), 42)
    for frame in (0, 20, 48):
        power = np.abs(fftpack.rfft(pcm[frame * 320 : frame * 320 + 480] / 32768 * window, 512)) ** 2
        places = 2595 * np.log10(1 + np.arange(257) * 31.25 / 700)
        bands = [
            power @ np.maximum(0, np.minimum((places - a) / (b - a), (c - places) / (c - b)))
            for a, b, c in zip(edges, edges[1:], edges[2:])
        ]
        wanted = fftpack.dct(np.log(np.maximum(bands, 2.0**-30)), norm="ortho")[:10]
        assert np.allclose(got[frame], wanted)


def test_frames_of_the_known_front_ends():
    assert (DEFAULT.frames, DEFAULT.features) == (49, 40)
    assert (PAPER.frames, PAPER.features) == (30, 40)
    assert (MLPERF.frames, MLPERF.features) == (49, 10)
    assert reference(PAPER, np.zeros(16000, np.int16)).shape == (30, 40)


def test_digital_silence_is_the_floor():
    fine = dataclasses.replace(DEFAULT, scale=0.1, zero_point=100)
    floor = round(np.log(2.0**-30) / 0.1 + 100)
    assert np.all(np.abs(reference(fine, np.zeros(16000, np.int16)) - floor) <= 1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pcm=npst.arrays(np.int16, 480, elements=st.sampled_from([-32768, -32767, -1, 0, 1, 32767]) | st.integers(-32768, 32767)))
def test_any_pcm_gives_equal_bytes(pcm, host):
    for spec in (DEFAULT, MLPERF):
        assert np.array_equal(host(spec, pcm), reference(spec, pcm))


@st.composite
def specs(draw):
    fft = draw(st.sampled_from(FFT_SIZES))
    window = 2 * draw(st.integers(8, fft // 2))
    bands = draw(st.integers(1, 60))
    low = draw(st.floats(0, 2000))
    spec = FrontendSpec(
        kind=draw(st.sampled_from(["logmel", "mfcc"])),
        window=window,
        hop=draw(st.integers(1, window)),
        fft=fft,
        bands=bands,
        low_hz=low,
        high_hz=draw(st.floats(low + 500, 8000)),
        coefficients=draw(st.integers(1, bands)),
        scale=draw(st.floats(0.02, 3)),
        zero_point=draw(st.integers(-128, 127)),
    )
    try:
        tables(spec)
    except JerboaError:
        assume(False)
    return spec


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spec=specs(), seed=st.integers(0, 2**32 - 1))
def test_any_spec_gives_equal_bytes(spec, seed, host):
    rng = np.random.default_rng(seed)
    frames = [rng.integers(-32768, 32768, spec.window), rng.choice([-32768, 32767], spec.window), rng.integers(-3, 4, spec.window)]
    for frame in frames:
        pcm = frame.astype(np.int16)
        assert np.array_equal(host(spec, pcm), reference(spec, pcm))


@pytest.mark.parametrize("fft", FFT_SIZES)
def test_no_window_overflows(fft):
    """The bounds of docs/frontend.md, for every window length, from the tables themselves."""
    for window in {fft, fft - 2, *range(16, fft, max(2, fft // 64))}:
        spec = FrontendSpec(window=window, hop=window, fft=fft, bands=1, high_hz=8000.0)
        factors = np.zeros(fft)
        factors[:window] = tables(spec).window
        pairs = np.hypot(factors[0::2], factors[1::2]).reshape(4, -1).sum(axis=0)
        assert 32768 * pairs.max() < 2**31 * 0.99
        divided = 4.0 ** (len(frontend_tables.radix4_spans(fft)) + frontend_tables.has_radix2(fft))
        for half in (factors[0::2], factors[1::2]):
            assert 2 * 32768 * half.sum() / divided < 2**31 * 0.99


@pytest.mark.parametrize("board", ["stm32f746", "stm32l4r5", "stm32g0b1"])
@pytest.mark.parametrize("name", ["default", "paper", "mlperf", "short-window", "dense"])
def test_emulated_core_equals_the_definition(name, board, tmp_path):
    spec, target = SPECS[name], load_target(board)
    sources = c_sources(spec) | {"main.c": HARNESS + "int main(void) { return 0; }\n"}
    image = firmware(sources, target, tmp_path / "frontend.elf", keep=["frame", "pcm", "features", "scratch"])
    instructions = set()
    with Emulator(image.elf, target) as core:
        for label, pcm in signals().items():
            window = pcm[4000 : 4000 + spec.window]
            call = core.call("frame", writes=[("pcm", window.tobytes())], reads=[("features", spec.features)])
            assert np.array_equal(np.frombuffer(call.data[0], np.int8), reference(spec, window)[0]), label
            instructions.add(call.instructions)
    if (name, board) == ("default", "stm32f746"):
        assert max(instructions) <= 20_000
        assert spec.scratch_bytes <= 2300
        assert spec.table_bytes <= 4096


@pytest.mark.parametrize("name", ["default", "mlperf"])
def test_webassembly_equals_the_definition(name, tmp_path):
    wasmtime = pytest.importorskip("wasmtime")
    spec = SPECS[name]
    module = wasm_module(c_sources(spec) | {"main.c": HARNESS}, tmp_path / "frontend.wasm", ["frame", "pcm", "features"])
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module.from_file(store.engine, str(module)), []).exports(store)
    memory, at, to = exports["memory"], exports["pcm"].value(store), exports["features"].value(store)
    for label, pcm in signals().items():
        window = pcm[4000 : 4000 + spec.window]
        memory.write(store, window.tobytes(), at)
        exports["frame"](store)
        got = np.frombuffer(memory.read(store, to, to + spec.features), np.int8)
        assert np.array_equal(got, reference(spec, window)[0]), label


@pytest.mark.parametrize("board", ["stm32f746", "stm32g0b1"])
@pytest.mark.parametrize("flags", [["-O3"], ["-O2"], ["-O0", "-fno-sanitize=undefined"]])
def test_objects_call_nothing(board, flags, tmp_path):
    helpers = {"__aeabi_lmul", "__aeabi_llsl", "__aeabi_llsr", "__aeabi_lasr"} if board == "stm32g0b1" else set()
    for spec in (DEFAULT, MLPERF):
        for path in objects(c_sources(spec), load_target(board), tmp_path, flags=flags):
            assert set(undefined_symbols(path)) <= helpers


def test_the_address_sanitizer_is_silent(tmp_path):
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc on the PATH")
    for spec in (DEFAULT, MLPERF, NARROW, DENSE):
        for name, text in c_sources(spec).items():
            (tmp_path / name).write_text(text)
        (tmp_path / "main.c").write_text(
            '#include "kws_frontend.h"\n#include <stdio.h>\n#include <stdlib.h>\n'
            "int main(void) { int16_t *pcm = malloc(sizeof *pcm * KWS_WINDOW); int8_t *out = malloc(KWS_FEATURES);\n"
            "uint32_t *scratch = malloc(KWS_FRONTEND_SCRATCH_BYTES);\n"
            "while (fread(pcm, sizeof *pcm * KWS_WINDOW, 1, stdin) == 1) {\n"
            "kws_frontend_frame(pcm, out, scratch); fwrite(out, KWS_FEATURES, 1, stdout); }\n"
            "free(pcm); free(out); free(scratch); return 0; }\n"
        )
        warnings = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
        checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
        built = subprocess.run(
            [gcc, *warnings, *checks, "kws_frontend.c", "main.c", "-o", "frame"], cwd=tmp_path, capture_output=True, text=True
        )
        if "cannot find" in built.stderr:
            pytest.skip("gcc has no sanitizer libraries")
        assert built.returncode == 0, built.stderr
        frames = [pcm[: spec.window] for pcm in signals().values()]
        done = subprocess.run([tmp_path / "frame"], input=b"".join(f.tobytes() for f in frames), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        wanted = np.concatenate([reference(spec, frame) for frame in frames])
        assert done.stdout == wanted.tobytes()


def test_prefix_renames_every_name():
    sources = c_sources(DEFAULT, "hark_")
    assert all(name.startswith("hark_") for name in sources)
    assert "void hark_frontend_frame(" in sources["hark_frontend.h"]
    assert not any("kws" in text.lower() for text in sources.values())


def test_json_round_trip():
    spec = calibrate(PAPER, np.stack(list(signals().values())))
    assert FrontendSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "values, words",
    [
        ({"windw": 480}, "did you mean 'window'"),
        ({"window": "480"}, "frontend.window"),
        ({"window": 481}, "even"),
        ({"window": 600}, "up to fft|to fft"),
        ({"fft": 500}, "128, 256, 512, 1024, 2048"),
        ({"high_hz": 9000}, "half the sample rate"),
        ({"low_hz": float("nan")}, "frontend.low_hz"),
        ({"kind": "mel"}, "'logmel' or 'mfcc'"),
        ({"kind": "mfcc", "coefficients": 41}, "coefficients"),
        ({"scale": 0.0}, "frontend.scale"),
        ({"clip_samples": 100}, "clip_samples"),
    ],
)
def test_bad_json_is_named(values, words):
    with pytest.raises(JerboaError, match=words):
        FrontendSpec.from_json(values)


def test_an_empty_mel_band_is_named():
    with pytest.raises(JerboaError, match=r"mel band \d+ of 128 .*no bin.*fewer bands"):
        tables(dataclasses.replace(DEFAULT, bands=128))


def test_calibration_covers_the_corpus():
    rng = np.random.default_rng(5)
    clips = np.stack([(rng.normal(0, level, 16000)).astype(np.int16) for level in (3, 100, 2000)])
    spec = calibrate(DEFAULT, clips)
    features = np.stack([reference(spec, clip) for clip in clips])
    assert np.mean((features == -128) | (features == 127)) < 0.005
    assert features.min() <= -126 and features.max() >= 125
    with pytest.raises(JerboaError, match="no clips"):
        calibrate(DEFAULT, clips[:0])
