"""Caches of models that cannot use transformers' ``DynamicCache`` as they are.

In transformers 4.47 to 4.50, Gemma 2, Gemma 3 and Cohere 2 expect a ``HybridCache``. It drops old tokens from layers
with a sliding window, so a prompt cannot be read in parts, and the cache cannot be cut to a shared prefix.
:func:`widen_windows` lets these models use a cache that keeps all tokens. GPT-2, Mamba, Jamba and others have caches of
their own: :class:`OwnCache`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any


def takes_common_cache(model: Any) -> bool:
    """Return whether the model can be given a ``DynamicCache``."""
    accepted = inspect.signature(model.forward).parameters
    return bool(model._supports_default_dynamic_cache()) and "past_key_values" in accepted


def sliding_layers(model: Any) -> list[Any]:
    """Return the layers that cut the attention mask to the length of their sliding window."""
    layers = [module for module in model.modules() if hasattr(module, "is_sliding")]
    return [layer for layer in layers if getattr(getattr(layer, "self_attn", None), "sliding_window", None)]


def widen_windows(model: Any) -> bool:
    """Let layers with a sliding window use a cache that keeps all tokens: a mask excludes the old ones.

    Returns:
        Whether there are such layers. The model then needs an attention mask as long as the text, of shape
        ``(1, tokens)``, with each call.
    """
    layers = sliding_layers(model)
    for layer in layers:
        layer.is_sliding = False
        layer.self_attn.register_forward_pre_hook(_mask_old_tokens, with_kwargs=True)
    return bool(layers)


def _mask_old_tokens(attention: Any, args: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    import torch

    mask = arguments["attention_mask"]
    places = torch.arange(mask.shape[-1], device=mask.device)
    old = places <= arguments["cache_position"].unsqueeze(-1) - attention.sliding_window
    return args, {**arguments, "attention_mask": mask.masked_fill(old, torch.finfo(mask.dtype).min)}


class OwnCache:
    """The cache that a model makes by itself, used as in ``model.generate``. It grows by one token at a time; any other
    text is read from the beginning."""

    def __init__(self, model: Any, arguments: Mapping[str, Any]) -> None:
        """``arguments`` are passed to the model's ``forward`` as well."""
        self._model, self._always = model, arguments
        self.forget()

    def forget(self) -> None:
        self._tokens: list[int] = []
        self._arguments: dict[str, Any] = {}
        self._scores: Any = None

    def read(self, tokens: list[int]) -> Any:
        """Return the scores for the next token, float32, shape (1, vocabulary)."""
        if tokens != self._tokens:
            if not self._tokens or tokens[:-1] != self._tokens:
                self.forget()
            self._tokens = []  # an error in the middle of a token leaves half of it in the cache
            self._scores = self._forward(tokens)
            self._tokens = list(tokens)
        return self._scores

    def _forward(self, tokens: list[int]) -> Any:
        import torch

        model = self._model
        ids = torch.tensor([tokens], device=model.device)
        if not self._arguments:
            places = torch.arange(len(tokens), device=model.device)
            self._arguments = {"attention_mask": torch.ones_like(ids), "use_cache": True, "cache_position": places}
        with torch.inference_mode():
            inputs = model.prepare_inputs_for_generation(ids, **self._arguments)
            output = model(**{**inputs, **self._always, "return_dict": True})
        self._arguments = model._update_model_kwargs_for_generation(output, self._arguments)
        return output.logits[:, -1, :].float()
