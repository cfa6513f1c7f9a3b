"""The emulated core: right results, exact counts, and clear words when a program goes wrong."""

import importlib.util
import os
import signal
import struct
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jerboa.errors import JerboaError
from jerboa.targets.emulator import Emulator
from jerboa.targets.target import load_target
from jerboa.targets.toolchain import firmware

DSP_BOARDS = ["stm32f746", "stm32l4r5", "stm32u575"]
BOARDS = [*DSP_BOARDS, "stm32g0b1"]

# Hand-written loops, so that their instructions can be counted by eye.
COMMON = """
#include <stdint.h>
int32_t numbers[64];
static volatile int32_t five = 5;

__attribute__((naked, noinline)) int32_t count_down(int32_t n);
__attribute__((naked, noinline)) int32_t count_down(int32_t n)
{
    /* 2 instructions, then 3 a round, then 1. */
    __asm__ volatile(".syntax unified\\n movs r1, #0\\n movs r2, #3\\n"
                     "1: adds r1, r1, r2\\n subs r0, r0, #1\\n bne 1b\\n bx lr");
}

int32_t add_six(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f);
int32_t add_six(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f)
{
    return a + 2 * b + 4 * c + 8 * d + 16 * e + 32 * f;
}

int32_t initialised(void);
int32_t initialised(void) { return five++; }

int32_t load(const int32_t *from);
int32_t load(const int32_t *from) { return *from; }
void store(volatile int32_t *to);
void store(volatile int32_t *to) { *to = 1; }
void jump(void (*to)(void));
void jump(void (*to)(void)) { to(); }
void forever(void);
void forever(void) { for (;;) { five++; } }

__attribute__((noinline)) int32_t deep(int32_t n);
__attribute__((noinline)) int32_t deep(int32_t n)
{
    volatile int32_t frame[32];
    for (int32_t i = 0; i < 32; i++) { frame[i] = n; }
    return n <= 1 ? frame[3] : deep(n - 1) + frame[5];
}

__attribute__((naked)) void straight(void);
__attribute__((naked)) void straight(void) { __asm__ volatile(".rept 5001\\n nop\\n .endr\\n bx lr"); }

int32_t multiply_shift(int32_t a, int32_t b, int32_t shift);
int32_t multiply_shift(int32_t a, int32_t b, int32_t shift) { return (int32_t)(((int64_t)a * b) >> shift); }
uint32_t left(uint32_t a, int32_t shift);
uint32_t left(uint32_t a, int32_t shift) { return (uint32_t)((((uint64_t)a << 16) << shift) >> 32); }
int32_t divide(int32_t a, int32_t b);
int32_t divide(int32_t a, int32_t b) { return a / b; }
int32_t modulo(int32_t a, int32_t b);
int32_t modulo(int32_t a, int32_t b) { return a % b; }
"""
DSP = """
#include <arm_acle.h>
#include <stdint.h>
int32_t smlad(int32_t a, int32_t b, int32_t c);
int32_t smlad(int32_t a, int32_t b, int32_t c) { return __smlad(a, b, c); }
int32_t sxtb16(int32_t a);
int32_t sxtb16(int32_t a) { return __sxtb16(a); }
int32_t smmla(int32_t a, int32_t b, int32_t c);
int32_t smmla(int32_t a, int32_t b, int32_t c)
{
    int32_t r;
    __asm__("smmla %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}
int32_t scale(int32_t bits);
int32_t scale(int32_t bits)
{
    union { int32_t i; float f; } value = {bits};
    value.f = value.f * 1.5f + 0.25f;
    return value.i;
}
__attribute__((naked)) int32_t predicated(int32_t a);
__attribute__((naked)) int32_t predicated(int32_t a)
{
    __asm__ volatile("nop\\n .rept 2001\\n cmp r0, #0\\n ite gt\\n addgt.w r1, r1, r8\\n suble r2, r2, #1\\n .endr\\n bx lr");
}
__attribute__((naked)) int32_t choose(int32_t a);
__attribute__((naked)) int32_t choose(int32_t a)
{
    /* 5 instructions whichever way it goes: a condition that fails still takes its place. */
    __asm__ volatile("cmp r0, #0\\n ite gt\\n movgt r0, #7\\n movle r0, #9\\n bx lr");
}
"""
KEEP = ["count_down", "add_six", "initialised", "load", "store", "jump", "forever", "deep", "numbers"]
KEEP += ["multiply_shift", "left", "divide", "modulo"]
KEEP += ["straight"]
KEEP_DSP = ["predicated", "smlad", "sxtb16", "smmla", "scale", "choose"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    made = {}
    for board in BOARDS:
        target = load_target(board)
        sources = {"common.c": COMMON} | ({"dsp.c": DSP} if target.dsp else {})
        keep = KEEP + (KEEP_DSP if target.dsp else [])
        made[board] = firmware(sources, target, folder / f"{board}.elf", keep=keep)
    return made


@pytest.fixture(scope="module")
def cores(images):
    made = {board: Emulator(image.elf, image.target) for board, image in images.items()}
    yield made
    for core in made.values():
        core.close()


@pytest.fixture
def m7(cores):
    cores["stm32f746"].reset_counts()
    return cores["stm32f746"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_known_loop_is_counted_exactly(cores, images, board):
    core = cores[board]
    core.reset_counts()
    assert core.call("count_down", [1000]).instructions == 2 + 3 * 1000 + 1
    assert core.call("count_down", [1]).instructions == 6
    counts = core.counts()
    assert counts.instructions == 3003 + 6
    assert counts.by_symbol(images[board].symbols) == {"count_down": 3009}
    assert sum(block.executions * block.instructions for block in counts.blocks.values()) == 3009
    start = images[board].symbols["count_down"][0]
    assert counts.blocks[start] == (2, 5, 10)
    assert counts.edges[0, start] == 2
    assert counts.edges[start + 4, start + 4] == 998


@pytest.mark.parametrize("board", DSP_BOARDS)
@pytest.mark.parametrize(("value", "chosen"), [(1, 7), (0, 9), (-5, 9)])
def test_skipped_instructions_of_it_blocks_are_counted(cores, board, value, chosen):
    call = cores[board].call("choose", [value])
    assert (call.r0, call.instructions) == (chosen, 5)


@pytest.mark.parametrize("board", BOARDS)
def test_long_straight_code_is_counted_exactly(cores, board):
    """The emulator cuts it into pieces, also inside IT blocks and 32-bit instructions that cross a page."""
    core = cores[board]
    assert core.call("straight").instructions == 5002
    if core.target.dsp:
        assert [core.call("predicated", [value]).instructions for value in (1, 0)] == [4 * 2001 + 2] * 2


def _signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


words = st.integers(-(1 << 31), (1 << 31) - 1)


@pytest.mark.parametrize("board", DSP_BOARDS)
@settings(max_examples=60, deadline=None)
@given(a=words, b=words, c=words)
def test_dsp_instructions_are_right(cores, board, a, b, c):
    core = cores[board]
    low = _signed(a, 16) * _signed(b, 16)
    high = _signed(a >> 16, 16) * _signed(b >> 16, 16)
    assert core.call("smlad", [a, b, c]).r0 == _signed(low + high + c, 32)
    extended = (_signed(a, 8) & 0xFFFF) | (_signed(a >> 16, 8) & 0xFFFF) << 16
    assert core.call("sxtb16", [a]).r0 == _signed(extended, 32)
    assert core.call("smmla", [a, b, c]).r0 == _signed(((c << 32) + a * b) >> 32, 32)


@pytest.mark.parametrize("board", DSP_BOARDS)
def test_the_fpu_works(cores, board):
    (bits,) = struct.unpack("<i", struct.pack("<f", 2.5))
    result = struct.pack("<i", cores[board].call("scale", [bits]).r0)
    assert struct.unpack("<f", result)[0] == 4.0


@pytest.mark.parametrize("board", ["stm32f746", "stm32g0b1"])
@settings(max_examples=60, deadline=None)
@given(a=words, b=words.filter(bool), shift=st.integers(0, 63))
def test_wide_arithmetic_is_right(cores, board, a, b, shift):
    """On Armv6-M these are our own helpers."""
    core = cores[board]
    assert core.call("multiply_shift", [a, b, shift]).r0 == _signed(a * b >> shift, 32)
    wide = ((a & 0xFFFFFFFF) << 16 << shift) & ((1 << 64) - 1)
    assert core.call("left", [a, shift]).r0 == _signed(wide >> 32, 32)
    if (a, b) != (-(1 << 31), -1):
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        assert core.call("divide", [a, b]).r0 == quotient
        assert core.call("modulo", [a, b]).r0 == a - quotient * b


@pytest.mark.parametrize("board", BOARDS)
def test_arguments_memory_and_startup(cores, board):
    core = cores[board]
    assert core.call("add_six", [1, -2, 3, 4, -5, 6]).r0 == 1 - 4 + 12 + 32 - 80 + 192
    five = core.call("initialised").r0
    assert core.call("initialised").r0 == five + 1
    call = core.call(
        "load",
        [core.symbols["numbers"][0] + 4],
        writes=[("numbers", struct.pack("<3i", 1, -2, 3))],
        reads=[("numbers", 12), (core.symbols["numbers"][0] + 8, 4)],
    )
    assert call.r0 == -2
    assert call.data == [struct.pack("<3i", 1, -2, 3), struct.pack("<i", 3)]
    core.write("numbers", b"\x07")
    assert core.read("numbers", 4) == b"\x07\0\0\0"


def test_data_is_initialised_by_the_startup_code(images):
    image = images["stm32l4r5"]
    with Emulator(image.elf, image.target) as core:
        assert core.call("initialised").r0 == 5
        assert core.read("numbers", 256) == bytes(256)


def test_stack_is_measured_by_painting(m7):
    assert m7.stack_used() == 0
    m7.call("deep", [1])
    one = m7.stack_used()
    m7.call("deep", [5])
    five = m7.stack_used()
    m7.call("deep", [1])
    assert m7.stack_used() == five
    assert 128 <= one <= 192
    assert 4 * 128 <= five - one <= 4 * 192
    m7.reset_counts()
    assert m7.stack_used() == 0


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize(
    ("symbol", "address", "access"),
    [
        ("load", 0x7000_0000, "read from unmapped address 0x70000000"),
        ("store", 0x7000_0000, "write to unmapped address 0x70000000"),
        ("store", 0x0800_0000, "write to read-only address 0x08000000"),
        ("jump", 0x7000_0001, "jump to unmapped address 0x70000000"),
    ],
)
def test_a_fault_says_where_and_what(cores, board, symbol, address, access):
    core = cores[board]
    with pytest.raises(JerboaError) as caught:
        core.call(symbol, [address])
    said = str(caught.value)
    assert access in said and said.startswith(f"{symbol}: fault at") and "registers: r0=" in said
    if symbol != "jump":
        assert f"fault at {symbol}+" in said
    assert core.call("count_down", [10]).instructions == 33


def test_a_stack_overflow_is_named(m7):
    with pytest.raises(JerboaError, match=r"fault at deep\+.*stack overflow\? the stack has 8,192 bytes"):
        m7.call("deep", [1000])


def test_a_runaway_is_stopped(m7):
    with pytest.raises(JerboaError, match=r"still running after 100,000 instructions, at forever\+"):
        m7.call("forever", limit=100_000)
    assert m7.call("count_down", [10]).instructions == 33


def test_the_limit_is_exact(m7):
    assert m7.call("count_down", [10], limit=33).instructions == 33
    with pytest.raises(JerboaError, match="still running after 32 instructions"):
        m7.call("count_down", [10], limit=32)


def test_an_unknown_symbol_is_named(m7):
    with pytest.raises(JerboaError, match=r"no symbol 'count_dwn'.*did you mean 'count_down'"):
        m7.call("count_dwn")


def test_unmapped_memory_cannot_be_written_from_outside(m7):
    with pytest.raises(JerboaError, match="0x70000000"):
        m7.write(0x7000_0000, b"1")
    with pytest.raises(JerboaError, match="0x70000000"):
        m7.call("load", [0], reads=[(0x7000_0000, 4)])


def test_two_runs_count_the_same(images):
    image = images["stm32f746"]
    seen = []
    for _ in range(2):
        with Emulator(image.elf, image.target) as core:
            core.call("deep", [7])
            core.call("count_down", [77])
            seen.append(core.counts())
    assert seen[0] == seen[1]


def test_a_dead_worker_is_an_error_and_the_next_call_too(images):
    image = images["stm32f746"]
    core = Emulator(image.elf, image.target)
    os.kill(core._process.pid, signal.SIGKILL)
    with pytest.raises(JerboaError, match="the emulator's process died"):
        core.call("count_down", [1])
    with pytest.raises(JerboaError, match="the emulator is closed"):
        core.call("count_down", [1])


def test_something_else_is_not_a_firmware_image(tmp_path):
    path = tmp_path / "x.elf"
    path.write_bytes(b"no elf")
    with pytest.raises(JerboaError, match="not a firmware image"):
        Emulator(path, load_target("stm32f746"))


def test_no_unicorn_says_which_extra(images, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "unicorn" else real(name, *rest))
    with pytest.raises(JerboaError, match=r"unicorn is not installed.*jerboa\[emulate\]"):
        Emulator(images["stm32f746"].elf, load_target("stm32f746"))


def test_the_package_never_loads_unicorn(images):
    program = (
        "import sys, jerboa.targets.emulator, jerboa.targets.toolchain; print('unicorn' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(images, how):
    image = images["stm32f746"]
    # A shell that runs the tests in the background makes its children ignore SIGINT.
    program = f"""
import signal
from pathlib import Path
from jerboa.targets.emulator import Emulator
from jerboa.targets.target import load_target
signal.signal(signal.SIGINT, signal.default_int_handler)
core = Emulator(Path({str(image.elf)!r}), load_target("stm32f746"))
print(core._process.pid, flush=True)
core.call("forever", limit=10**15)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.send_signal(how)
    parent.wait(timeout=20)
    parent.stdout.close()
    for _ in range(100):
        if not _alive(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker went on alone")


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
