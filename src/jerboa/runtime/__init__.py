"""C that ships as it is, under the prefix ``kws_``."""

from importlib.resources import files


def runtime_source(name: str) -> str:
    """Text of a runtime file by its name in this folder."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
