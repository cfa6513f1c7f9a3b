"""C that ships as it is, under the prefix ``kws_``."""

from importlib.resources import files


def runtime_source(name: str) -> str:
    """Text of a runtime file by its name in this folder."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def rename(text: str, prefix: str) -> str:
    """The same text with every name under another prefix than ``kws_``."""
    stem = prefix.removesuffix("_")
    text = text.replace("kws.h", f"{stem}.h")
    return text.replace("kws_", prefix).replace("KWS_", prefix.upper())
