"""Network architectures, each in its own file and registered by name."""

from jerboa.models.registry import Architecture, architecture, build, names

__all__ = ["Architecture", "architecture", "build", "names"]
