"""Compilers: what they build, and what a user reads when they cannot."""

import importlib.util
import re
import shutil
import sys

import numpy as np
import pytest

from jerboa.errors import JerboaError
from jerboa.targets.hostlib import HostLibrary
from jerboa.targets.target import load_target, target_names
from jerboa.targets.toolchain import (
    check_fits,
    compiler_version,
    find_compiler,
    firmware,
    host_library,
    objects,
    undefined_symbols,
    wasm_module,
)
from jerboa.targets.wasm import WasmModule

BOARDS = [name for name in target_names() if name not in ("host", "wasm")]
COMPILERS = [
    "zig",
    pytest.param(
        "gcc",
        marks=pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="no arm-none-eabi-gcc on the PATH"),
    ),
]

SUM = """
#include <stdint.h>
int32_t table[4] = {1, 2, 3, 4};
int32_t sum(const int16_t *values, int32_t count);
int32_t sum(const int16_t *values, int32_t count)
{
    int32_t total = table[3];
    for (int32_t i = 0; i < count; i++) {
        total += values[i];
    }
    return total;
}
"""
SIZED = """
#include <stdint.h>
const int8_t kws_weights_a[1000] = {1};
const int32_t kws_bias[10] = {7};
int32_t kws_initial[5] = {9};
int8_t kws_arena[3000];
int32_t work(int32_t at);
int32_t unused(int32_t at);
int32_t work(int32_t at)
{
    kws_arena[at] = kws_weights_a[at];
    kws_initial[at & 3] += 1;
    return kws_arena[at ^ 1] + kws_bias[at & 7] + kws_initial[at & 1];
}
int32_t unused(int32_t at) { return at * 77; }
"""


def test_host_library_runs(tmp_path):
    library = HostLibrary(host_library({"sum.c": SUM}, tmp_path / "sum.so"))
    values = np.arange(-3, 5, dtype=np.int16)
    assert library.call("sum", values, len(values)) == values.sum() + 4
    assert library.read("table", 4) == b"\x01\0\0\0"
    library.write("table", np.array([0, 0, 0, -9], np.int32).tobytes())
    assert library.call("sum", values, 1) == -12
    with pytest.raises(JerboaError, match="no function 'nothing'"):
        library.call("nothing")


def test_wasm_module_runs(tmp_path):
    module = WasmModule(wasm_module({"sum.c": SUM}, tmp_path / "sum.wasm", ["sum", "table", "__heap_base"]))
    values = np.arange(-3, 5, dtype=np.int16)
    place = module.address("__heap_base")
    module.write(place, values.tobytes())
    assert module.call("sum", [place, len(values)]) == values.sum() + 4
    assert module.read("table", 8) == b"\x01\0\0\0\x02\0\0\0"
    with pytest.raises(JerboaError, match="does not export 'nothing'"):
        module.call("nothing")
    with pytest.raises(JerboaError, match="trapped"):
        module.call("sum", [0xFFFFFFF0, 100])


@pytest.mark.parametrize("text", ["int f(long long x); int f(long long x) { return x; }", "int f( {"])
def test_warnings_and_errors_name_the_line(tmp_path, text):
    with pytest.raises(JerboaError, match=r"(?s)the compiler failed.*bad\.c:1:"):
        host_library({"bad.c": text}, tmp_path / "bad.so")
    assert not (tmp_path / "bad.so").exists()


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("board", BOARDS)
def test_every_board_links(tmp_path, board, compiler):
    target = load_target(board)
    image = firmware({"sized.c": SIZED}, target, tmp_path / "f.elf", compiler, keep=["work"])
    assert image.symbols["kws_weights_a"][1] == 1000
    assert target.flash.base <= image.symbols["work"][0] < target.flash.end
    assert target.ram.base <= image.symbols["kws_arena"][0] < target.ram.end
    assert "unused" not in image.symbols
    assert image.sections[".vectors"][0] == target.flash.base
    assert image.map.read_text()
    assert image.compiler == compiler_version(compiler)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_sizes_add_up_to_the_byte(tmp_path, compiler):
    target = load_target("stm32f746")
    image = firmware({"sized.c": SIZED}, target, tmp_path / "f.elf", compiler, keep=["work"])
    parts = image.flash_breakdown(["*_weights_*"])
    assert parts["weights"] == 1000
    assert parts["total"] == image.flash_bytes == sum(parts.values()) - parts["total"]
    assert 60 <= parts["tables"] <= 80
    assert image.ram_bytes == 3000 + 20
    assert image.size_of("kws_bias", "kws_initial") == 60
    assert image.size_of("kws_*") == 1000 + 40 + 20 + 3000


def test_the_same_sources_give_the_same_image(tmp_path):
    target = load_target("stm32l4r5")
    one, two = (firmware({"s.c": SIZED}, target, tmp_path / f"{i}.elf", keep=["work"]).elf.read_bytes() for i in (1, 2))
    assert one == two


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("declaration", "region", "use"),
    [("const char kws_big[1100000] = {1};", "flash", "constants 1,1"), ("char kws_big[400000];", "RAM", "stack 8,192")],
)
def test_too_large_says_by_how_much_and_of_what(tmp_path, compiler, declaration, region, use):
    text = f"{declaration} int work(int at); int work(int at) {{ return kws_big[at]; }}"
    text += " void put(int at); void put(int at) { ((volatile char *)kws_big)[at] = 1; }" if region == "RAM" else ""
    target = load_target("stm32f746")
    with pytest.raises(JerboaError) as caught:
        firmware({"big.c": text}, target, tmp_path / "f.elf", compiler, keep=["work"])
    said = str(caught.value)
    assert re.search(rf"needs [\d,]+ bytes more {region} than stm32f746 has", said)
    assert use in said and "kws_big" in said
    more = int(re.search(r"needs ([\d,]+)", said)[1].replace(",", ""))
    size, has = (1_100_000, 1_048_576) if region == "flash" else (400_000 + 8192, 327_680)
    assert size - has <= more < size - has + 500
    assert not (tmp_path / "f.elf").exists()


def test_one_byte_decides_whether_it_fits(tmp_path):
    """A RAM that is full to the last byte links; four bytes more do not."""
    target = load_target("stm32g0b1")
    text = "char kws_big[{0}]; int work(int at); int work(int at) {{ return kws_big[at]++; }}"
    room = target.ram.bytes - 8192
    image = firmware({"b.c": text.format(room)}, target, tmp_path / "f.elf", keep=["work"])
    check_fits(image)
    with pytest.raises(JerboaError, match="needs 4 bytes more RAM"):
        firmware({"b.c": text.format(room + 4)}, target, tmp_path / "f.elf", keep=["work"])


FLOATS = "float scale(float a, float b); float scale(float a, float b) { return a * b + 1.0f; }"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("board", ["stm32f746", "stm32f767", "stm32l4r5", "stm32u575"])
def test_floats_need_no_library_where_there_is_an_fpu(tmp_path, board, compiler):
    (made,) = objects({"f.c": FLOATS}, load_target(board), tmp_path, compiler)
    assert undefined_symbols(made) == []


def test_floats_without_fpu_are_refused(tmp_path):
    with pytest.raises(JerboaError, match=r"undefined symbols: __aeabi_f.*no C library"):
        firmware({"f.c": FLOATS}, load_target("stm32g0b1"), tmp_path / "f.elf", keep=["scale"])


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_hidden_memcpy_is_refused(tmp_path, compiler):
    text = "struct big { int v[99]; }; void copy(struct big *a, struct big *b);"
    text += " void copy(struct big *a, struct big *b) { *a = *b; }"
    with pytest.raises(JerboaError, match=r"copy\.o: undefined symbols: (__aeabi_)?memcpy"):
        firmware({"copy.c": text}, load_target("stm32f746"), tmp_path / "f.elf", compiler, keep=["copy"])


def test_a_kept_symbol_must_exist(tmp_path):
    with pytest.raises(JerboaError, match="no source defines nothing"):
        firmware({"s.c": SIZED}, load_target("stm32f746"), tmp_path / "f.elf", keep=["work", "nothing"])


def test_firmware_for_the_host_is_refused(tmp_path):
    with pytest.raises(JerboaError, match="firmware cannot be built for 'host'"):
        firmware({"s.c": SIZED}, load_target("host"), tmp_path / "f.elf")


def test_no_compiler_says_which_extra(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ziglang" else real(name, *rest))
    with pytest.raises(JerboaError, match=r"ziglang is not installed.*jerboa\[compile\]"):
        find_compiler("zig")


def test_no_gcc_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(JerboaError, match="arm-none-eabi-gcc is not on the PATH"):
        find_compiler("gcc")


def test_no_wasmtime_says_which_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(JerboaError, match=r"wasmtime is not installed.*jerboa\[wasm\]"):
        WasmModule(tmp_path / "x.wasm")


def test_files_that_cannot_be_loaded(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(JerboaError, match="cannot load the library"):
        HostLibrary(path)
    with pytest.raises(JerboaError, match="cannot load the module"):
        WasmModule(path)


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JerboaError, match=r"file/sum\.so: cannot be written"):
        host_library({"sum.c": SUM}, tmp_path / "file" / "sum.so")


def test_unknown_compiler():
    with pytest.raises(JerboaError, match=r"unknown compiler 'gccc'.*did you mean 'gcc'"):
        find_compiler("gccc")
