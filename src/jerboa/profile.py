"""Runs a build on its emulated core and fills in the results: instructions, flash, RAM, stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jerboa.audio.frontend import FrontendSpec
from jerboa.executors import emulated_executor
from jerboa.report.results import (
    ArenaPlacement,
    FlashBytes,
    Latency,
    LayerCost,
    ModelFacts,
    RamBytes,
    Results,
    TargetFacts,
)

if TYPE_CHECKING:
    from jerboa.build import Build


def profile(build: Build, clip: NDArray[np.int16] | None = None) -> Results:
    """Results without accuracy: one classification of ``clip`` (PCM; seeded noise by default) on the emulated board.

    Raises:
        JerboaError: the network does not fit the board, or compiler or emulator are missing.
    """
    image = build.firmware
    latency, stack = measure(build, clip)
    arena, state = build.generated.arena_bytes, build.generated.state_bytes
    return Results(
        model=model_facts(build),
        target=target_facts(build),
        latency=latency,
        flash_bytes=FlashBytes(**image.flash_breakdown([f"{build.generated.prefix}*_weights"])),
        ram_bytes=RamBytes(arena=arena, state=state, stack=stack, total=arena + state + stack),
        labels=list(build.graph.labels),
        steps=[node.name for node in build.graph],
        arena_plan=[
            ArenaPlacement(name=p.name, offset=p.offset, bytes=p.bytes, first=p.first, last=p.last)
            for p in build.generated.plan.placements.values()
        ],
    )


def model_facts(build: Build) -> ModelFacts:
    graph = build.graph
    return ModelFacts(name=graph.name, parameters=graph.parameters, macs=graph.macs, weight_bytes=graph.weight_bytes)


def target_facts(build: Build) -> TargetFacts:
    image, target = build.firmware, build.target
    return TargetFacts(
        name=target.name,
        core=target.core,
        clock_hz=target.clock_hz,
        compiler=image.compiler,
        flags=image.flags,
        flash_bytes=target.flash.bytes,
        ram_bytes=target.ram.bytes,
    )


def measure(build: Build, clip: NDArray[np.int16] | None = None) -> tuple[Latency, int]:
    """Instructions of one classification, one cycle each, and the bytes of stack it used."""
    generated, image, graph = build.generated, build.firmware, build.graph
    spec = FrontendSpec.from_json(graph.frontend) if graph.frontend else None
    with emulated_executor(generated, image) as executor:
        machine = executor.machine
        machine.reset_counts()
        if spec:
            noise = np.random.default_rng(0).normal(0, 1000, spec.clip_samples).astype(np.int16)
            executor.classify((noise if clip is None else clip)[None])
        else:
            executor.infer(np.random.default_rng(0).integers(-128, 128, (1, graph.tensors[graph.input].size), dtype=np.int8))
        counts = machine.counts()
        stack = machine.stack_used()
        # The state still holds the clip's samples, and a frame of speech costs slightly more than one of zeros.
        frame = machine.call(f"{generated.prefix}harness_frame").instructions if spec else 0
    by_symbol = counts.by_symbol(image.symbols)
    total = sum(count for name, count in by_symbol.items() if "harness" not in name)
    layers = []
    for node in graph:
        instructions = by_symbol.get(generated.symbols[node.name], 0)
        layers.append(
            LayerCost(
                name=node.name,
                op=node.operator.name,
                kernel=generated.kernels[node.name],
                macs=graph.macs_of(node),
                cycles=instructions,
                instructions=instructions,
            )
        )
    frames = spec.frames if spec else None
    latency = Latency(
        cycles=total,
        instructions=total,
        ms=total / build.target.clock_hz * 1e3,
        frontend_cycles=frame * (frames or 0),
        frontend_frames=frames,
        layers=layers,
    )
    return latency, stack
