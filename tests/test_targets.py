"""Boards are data: what they say, and how a wrong name reads."""

import tomllib
from pathlib import Path

import pytest

import jerboa.targets
from jerboa.errors import JerboaError
from jerboa.targets.target import load_target, target_names

BOARDS = [name for name in target_names() if name not in ("host", "wasm")]


def test_the_first_boards_are_there():
    assert {"stm32f746", "stm32f767", "stm32l4r5", "stm32g0b1", "host", "wasm"} <= set(target_names())


def test_stm32f746_is_what_its_datasheet_says():
    board = load_target("stm32f746")
    assert (board.core, board.clock_hz, board.dsp, board.fpu) == ("cortex-m7", 216_000_000, True, "fpv5-sp-d16")
    assert (board.flash.base, board.flash.bytes) == (0x0800_0000, 1024 * 1024)
    assert (board.ram.base, board.ram.bytes) == (0x2000_0000, 320 * 1024)
    dtcm = next(region for region in board.regions if region.name == "dtcm")
    assert (dtcm.kind, dtcm.base, dtcm.bytes) == ("tcm", 0x2000_0000, 64 * 1024)


@pytest.mark.parametrize("name", BOARDS)
def test_every_constant_has_a_source(name):
    values = tomllib.loads((Path(jerboa.targets.__file__).with_name("boards.toml")).read_text())[name]
    assert all(part["source"] for part in (values, values["flash"], values["ram"], *values["regions"]))


@pytest.mark.parametrize("name", BOARDS)
def test_memories_do_not_collide(name):
    board = load_target(name)
    assert board.is_board
    assert board.flash.end <= board.ram.base or board.ram.end <= board.flash.base
    for region in board.regions:
        inside = board.ram.base <= region.base and region.end <= board.ram.end
        outside = region.end <= board.ram.base or board.ram.end <= region.base
        assert inside or outside
    assert (board.core == "cortex-m0plus") == (not board.dsp)


def test_host_and_wasm_are_no_boards():
    assert not load_target("host").is_board
    assert not load_target("wasm").is_board


def test_unknown_board_names_the_nearest():
    with pytest.raises(JerboaError, match=r"unknown target 'stm32f764'.*did you mean 'stm32f7"):
        load_target("stm32f764")
