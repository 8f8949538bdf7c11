"""Quantize weights for a processor: 8 or 4 bits each, with arithmetic in bfloat16.

Each token reads every weight once, so fewer bytes take less time. Only weights are rounded, never activations: torch's
own dynamic quantization rounds those too, and is being removed from torch. Measurements: docs/performance.md.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

GROUP = 32
"""4-bit weights that share one scale and one offset; matrix sizes must be multiples of it."""
FEW = 8
"""Up to this many tokens at once the packed kernels are fastest; above, 8-bit weights are widened and multiplied."""
_ROWS = 128
"""Rows rounded at once: few enough to stay in the processor's cache."""
WORTH_IT = 1.2
"""How many times faster than the plain matrix a packed one must be."""


def pack_model(model: Any, bits: int) -> int:
    """Replace the model's linear layers one by one, so that there are never two copies of all weights.

    The output head keeps 8 bits even if the rest gets 4, because it decides between tokens.

    Returns:
        The number of replaced layers; layers of other sizes stay as they are.
    """
    import torch

    head = model.get_output_embeddings()
    packed = 0
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is torch.nn.Linear and all(size % GROUP == 0 for size in layer.weight.shape):
                setattr(parent, name, _packed_linear(layer, 8 if layer is head else bits))
                packed += 1
    with torch.inference_mode():  # a model that needs more of its layers than their output fails here, not later
        model(input_ids=torch.zeros(1, 1, dtype=torch.long), use_cache=False)
    return packed


@functools.cache
def pays(bits: int, dtype: str) -> bool:
    """Return whether this torch generates a token faster from packed weights here; measured within milliseconds."""
    import torch

    plain = torch.nn.Linear(2048, 2048, bias=False, dtype=getattr(torch, dtype))
    one = torch.ones(1, 1, 2048, dtype=plain.weight.dtype)
    try:
        with torch.inference_mode():
            ways = [plain, _packed_linear(plain, bits)]
            # Taking turns and the best of each, as other load on the machine slows both.
            rounds = [[_seconds(way, one) for way in ways] for _ in range(15)]
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        logger.debug("This torch cannot compute with %d-bit weights here: %s", bits, error)
        return False
    plainly, packed = (min(times) for times in zip(*rounds, strict=True))
    logger.debug("%d-bit weights are %.1f times as quick as %s", bits, plainly / packed, dtype)
    return bool(plainly > WORTH_IT * packed)


def _seconds(way: Callable[[Any], Any], one: Any) -> float:
    began = time.perf_counter()
    way(one)
    return time.perf_counter() - began


def _packed_linear(layer: Any, bits: int) -> Any:
    """Return a module with the weights of ``layer``, in 8 bits per row or 4 bits per group."""
    import torch

    class PackedLinear(torch.nn.Module):
        """``x @ weights.T + bias`` for x of shape (..., in); the result has the type of x."""

        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.out_features = layer.in_features, layer.out_features
            self._multiply = _in_8_bits(self, layer.weight) if bits == 8 else _in_4_bits(self, layer.weight)
            self.bias = layer.bias

        def forward(self, x: Any) -> Any:
            out = self._multiply(x.reshape(-1, self.in_features)).to(x.dtype)
            out = out if self.bias is None else out + self.bias
            return out.view(*x.shape[:-1], self.out_features)

    return PackedLinear()


def _in_8_bits(module: Any, weight: Any) -> Callable[[Any], Any]:
    import torch

    packed = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    for start in range(0, len(weight), _ROWS):
        part = slice(start, start + _ROWS)
        rows = weight[part].detach().float()
        scales[part] = (rows.abs().amax(dim=1) / 127).clamp(min=1e-12)
        packed[part] = rows.div_(scales[part, None]).round_()
    module.register_buffer("packed", packed)
    module.register_buffer("scales", scales.bfloat16())
    module.register_buffer("exact_scales", scales)

    def multiply(x: Any) -> Any:
        if len(x) <= FEW:
            return torch.ops.aten._weight_int8pack_mm(x.bfloat16(), module.packed, module.scales)
        return torch.nn.functional.linear(x, module.packed.to(x.dtype)) * module.exact_scales.to(x.dtype)

    return multiply


def _in_4_bits(module: Any, weight: Any) -> Callable[[Any], Any]:
    import torch

    rows, columns = weight.shape
    steps = torch.empty(rows, columns, dtype=torch.int32)
    scales, zeros = torch.empty(2, rows, columns // GROUP, dtype=torch.bfloat16)
    for start in range(0, rows, _ROWS):
        part = slice(start, start + _ROWS)
        groups = weight[part].detach().float().view(-1, columns // GROUP, GROUP)
        least, most = groups.amin(-1), groups.amax(-1)
        scales[part] = ((most - least) / 15).clamp(min=1e-12)
        zeros[part] = least + 8 * scales[part].float()  # the value that the number 8 stands for
        far = groups.sub_(zeros[part].float()[..., None]).div_(scales[part].float()[..., None])
        steps[part] = far.add_(8).round_().clamp_(0, 15).view(-1, columns)
    module.register_buffer("packed", torch.ops.aten._convert_weight_to_int4pack_for_cpu(steps, 1))
    module.register_buffer("scales", torch.stack([scales, zeros], dim=-1).transpose(0, 1).contiguous())

    def multiply(x: Any) -> Any:
        return torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16(), module.packed, GROUP, module.scales)

    return multiply
