"""What generated C promises: strict C99, clean under sanitizers, no symbol it lacks, sizes as the linker has them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from graphs import random_graph
from networks import Network, network, synthetic_clips

from jerboa.build import compile as build_for
from jerboa.codegen.emit import generate
from jerboa.executors import sources_with_harness
from jerboa.graph.execute import run
from jerboa.targets.target import load_target
from jerboa.targets.toolchain import find_compiler, objects, undefined_symbols

STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "kws.h"
int main(void)
{
    int16_t *clip = malloc(KWS_CLIP_SAMPLES * sizeof *clip);
    kws_state *state = malloc(sizeof *state);
    while (fread(clip, sizeof *clip, KWS_CLIP_SAMPLES, stdin) == KWS_CLIP_SAMPLES) {
        if (kws_classify(state, clip) != KWS_DECISION) { return 1; }
        fwrite(state->posteriors, 1, KWS_CLASSES, stdout);
    }
    free(clip);
    free(state);
    return 0;
}
"""


@pytest.fixture(scope="module")
def built() -> Network:
    return network("temporal", synthetic_clips(12))


def _write(sources: dict[str, str], folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name, text in sources.items():
        (folder / name).write_text(text)
    return sorted(str(folder / name) for name in sources if name.endswith(".c"))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on the PATH")
def test_clean_under_address_and_undefined_sanitizers(built: Network, tmp_path: Path) -> None:
    units = _write(generate(built.graph).files | {"main.c": MAIN}, tmp_path / "c")
    flags = [*STRICT, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = tmp_path / "spot"
    subprocess.run(["gcc", *flags, *units, "-o", program], check=True)
    done = subprocess.run([program], input=built.pcm.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    expected = run(built.graph, built.features[..., None])
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(expected.shape), expected)


@pytest.mark.parametrize("compiler", ["gcc", "zig"])
@pytest.mark.parametrize("variant", ["portable", "dsp"])
def test_two_compilers_accept_it_without_a_warning(built: Network, compiler: str, variant: str, tmp_path: Path) -> None:
    if variant == "dsp" and compiler == "gcc":
        if shutil.which("arm-none-eabi-gcc") is None:
            pytest.skip("no arm-none-eabi-gcc on the PATH")
        command = ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-ffreestanding"]
    elif variant == "dsp":
        command = [*find_compiler("zig"), "cc", "-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16sp"]
    elif compiler == "gcc" and shutil.which("gcc") is None:
        pytest.skip("no gcc on the PATH")
    else:
        command = ["gcc"] if compiler == "gcc" else [*find_compiler("zig"), "cc"]
    pedantic = [flag for flag in STRICT if variant == "portable" or flag != "-pedantic"]
    sources = generate(built.graph, variant).files | generate(random_graph(3), variant, "other_").files
    for unit in _write(sources, tmp_path / "c"):
        subprocess.run([*command, *pedantic, "-O2", "-c", unit, "-o", tmp_path / "unit.o"], check=True)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on the PATH")
def test_the_header_is_usable_from_cpp(built: Network, tmp_path: Path) -> None:
    _write(generate(built.graph).files, tmp_path / "c")
    (tmp_path / "c" / "use.cpp").write_text('#include "kws.h"\nconst char *labels[] = KWS_LABELS;\n')
    subprocess.run(["g++", "-Wall", "-Werror", "-c", tmp_path / "c" / "use.cpp", "-o", tmp_path / "use.o"], check=True)


@pytest.mark.parametrize("board", ["stm32f746", "stm32l4r5"])
def test_nothing_is_left_undefined(built: Network, board: str, tmp_path: Path) -> None:
    target = load_target(board)
    generated = generate(built.graph, "dsp")
    found = objects(generated.files, target, tmp_path / "o")
    undefined = {name for path in found for name in undefined_symbols(path)}
    text = "".join(generated.files.values())
    assert all(re.search(rf"\b{name}\b", text) and name.startswith("kws_") for name in undefined), undefined


def test_printed_sizes_are_the_linkers(built: Network, tmp_path: Path) -> None:
    build = build_for(built.graph, "stm32f746", folder=tmp_path)
    generated, image = build.generated, build.firmware
    sections = _map_sections(image.map.read_text())
    constants = {name: size for name, size in sections.items() if name.startswith(".rodata")}
    weights = sum(size for name, size in constants.items() if name.endswith("_weights"))
    assert weights == generated.weight_bytes
    assert 0 <= generated.weight_bytes - built.graph.weight_bytes < 200  # zeros that pad taps to multiples of four
    assert sum(constants.values()) - weights == generated.table_bytes
    assert sections[".bss.kws_arena"] == generated.arena_bytes
    assert sections[".bss.kws_harness_state"] == generated.state_bytes
    profile = build.profile()
    assert profile.flash_bytes is not None and profile.ram_bytes is not None
    assert profile.flash_bytes.total == image.flash_bytes
    assert profile.flash_bytes.weights == weights
    application = 2 * built.spec.hop
    assert image.ram_bytes == profile.ram_bytes.arena + profile.ram_bytes.state + application


def test_the_dsp_variant_takes_fewer_instructions(built: Network, tmp_path: Path) -> None:
    counts = {}
    for variant in ("dsp", "portable"):
        build = build_for(built.graph, "stm32f746", folder=tmp_path)
        build.generated = generate(built.graph, variant)
        latency = build.profile().latency
        assert latency is not None
        counts[variant] = latency.instructions - latency.frontend_cycles
        (tmp_path / "firmware.elf").unlink()
    assert counts["dsp"] < 0.7 * counts["portable"]


def _map_sections(text: str) -> dict[str, int]:
    """Bytes by input section from lld's map: address, load address, size, alignment, object:(section)."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        match = re.match(r"\s*[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+\s+\S+:\((\.[^)]+)\)", line)
        if match:
            found[match[2]] = found.get(match[2], 0) + int(match[1], 16)
    return found


def test_harness_is_not_part_of_the_sources(built: Network) -> None:
    generated = generate(built.graph)
    assert "kws_harness.c" in sources_with_harness(generated)
    assert not any("harness" in text for text in generated.files.values())
