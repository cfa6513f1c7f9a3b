"""The page of supported operators, made from what the operators, the kernels and the importer say about themselves.

python -m jerboa.documentation > docs/supported-operators.md
"""

from __future__ import annotations

import inspect
import sys

from jerboa.codegen.kernels import KERNELS
from jerboa.graph.ops import OPERATORS, Operator

_VARIANTS = {"portable": "portable C99, any core", "dsp": "Armv7E-M and Armv8-M DSP instructions"}


def operators_page() -> str:
    """Markdown: per operator its definition, constraints and kernels, then what each PyTorch operator becomes."""
    lines = [
        "# Supported operators",
        "",
        "Made from the code by `make docs`. Activations are int8 tensors of height × width × channels; how numbers are represented "
        "stands in [architecture.md](architecture.md). A network that breaks a constraint is refused before any code is written, "
        "with the layer's name and the sentence given here.",
    ]
    for name, operator in OPERATORS.items():
        lines += ["", f"## {name}", "", _definition(operator), "", "Constraints:", ""]
        lines += [f"- {_sentence(constraint.__doc__)}" for constraint in object.__new__(operator).constraints()]
        lines += ["", "Kernels, in order of preference:", ""]
        lines += [f"- `{kernel.name}`: {_VARIANTS[kernel.variant]}" for kernel in KERNELS if kernel.operator == name]
    lines += [
        "",
        "## From PyTorch",
        "",
        "What `torch.export` gives and what becomes of it. Any other operator is refused, with its name and this list.",
        "",
        "| PyTorch | becomes |",
        "|---|---|",
        *[f"| {names} | {text} |" for names, text in _torch_rows()],
        "",
        "A `softmax` over the network's outputs is appended.",
    ]
    return "\n".join(lines) + "\n"


def _definition(operator: type[Operator]) -> str:
    module = inspect.getdoc(sys.modules[operator.__module__]) or ""
    return f"{module}\n\n{inspect.getdoc(operator)}".replace("**", "^")


def _torch_rows() -> list[tuple[str, str]]:
    from jerboa.importers.from_torch import HANDLERS

    names: dict[str, list[str]] = {}
    for name, handler in HANDLERS.items():
        names.setdefault(_sentence(handler.__doc__), []).append(f"`{name}`")
    return [(", ".join(group), text) for text, group in names.items()]


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.stdout.write(operators_page())
