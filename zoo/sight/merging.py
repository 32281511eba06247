"""Merging: base + weights by layer x (source - base), for the layers of the language part.

What is not in a layer (embeddings, last norm) is the frame's, the model that sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from transformers import LlamaForCausalLM

State = Mapping[str, torch.Tensor]


class Merger:
    """Writes candidates into one model in place. Weights: (sources, layers); the first is the frame."""

    def __init__(self, model: LlamaForCausalLM, base: State, sources: Sequence[State]) -> None:
        self.model, self.layers = model, model.config.num_hidden_layers
        self._parameters = dict(model.named_parameters())
        self._base = {name: base[name] for name in self._parameters}
        self._deltas = [{name: state[name] - base[name] for name in self._parameters} for state in sources]
        self._write_rest()

    def layer(self, name: str) -> int | None:
        found = re.match(r"model\.layers\.(\d+)\.", name)
        return int(found.group(1)) if found else None

    @torch.no_grad()
    def _write_rest(self) -> None:
        for name, parameter in self._parameters.items():
            if self.layer(name) is None:
                parameter.copy_(self._base[name] + self._deltas[0][name])

    @torch.no_grad()
    def write(self, weights: torch.Tensor) -> LlamaForCausalLM:
        for name, parameter in self._parameters.items():
            layer = self.layer(name)
            if layer is not None:
                parameter.copy_(self._base[name])
                for delta, row in zip(self._deltas, weights, strict=True):
                    parameter.add_(delta[name], alpha=float(row[layer]))
        return self.model
