"""A second answer while training: which word it was, with the unknown words told apart; dropped when training ends.

The class *unknown* is a bag of unlike words; asking for the word itself gives the last features more to keep (multi-task learning
with an auxiliary loss, Caruana 1997).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from jerboa.errors import JerboaError


class WordHead(nn.Module):
    """Logits over words from what the network's last dense layer reads.

    Args:
        module: the network; its last ``nn.Linear`` is watched.
        words: number of words, silence included.

    Raises:
        JerboaError: the network has no dense layer.
    """

    def __init__(self, module: nn.Module, words: int) -> None:
        super().__init__()
        dense = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        if not dense:
            raise JerboaError("the network ends without a dense layer", where="training.word_loss", hint="set it to 0")
        self.layer = nn.Linear(dense[-1].in_features, words)
        self.features: Tensor | None = None
        self._hook = dense[-1].register_forward_pre_hook(self._watch)

    def _watch(self, layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.features = arguments[0]

    def logits(self) -> Tensor:
        """Word logits (n, words) of the batch that the network read last."""
        assert self.features is not None
        logits: Tensor = self.layer(self.features)
        return logits

    def detach(self) -> None:
        """Stop watching."""
        self._hook.remove()
