"""Which quantised checkpoints can be read: FP8 (e4m3) with one scale a tensor, and nothing else.

It is the form in which the family ships (Ministral 3, Devstral 2): static, per tensor, output head kept in bf16.
"""

from __future__ import annotations

from tramontane.model.fields import Fields

_ADVICE = "only FP8 e4m3 with one scale a tensor can be read, so take the bf16 or the FP8 release of this model."


def check_quantization(fields: Fields, name: str) -> None:
    """Refuse the object called `name` (`quantization_config`, `quantization`) unless it is per-tensor FP8 or absent."""
    quantization = fields.nested(name)
    if quantization is None or not quantization.data:
        return
    if quantization.has("qformat_weight"):  # native files
        qformat = quantization.text("qformat_weight", "")
        if qformat != "fp8_e4m3":
            quantization.refuse("qformat_weight", f"is {qformat!r}; {_ADVICE}")
        return
    method = quantization.text("quant_method", "unknown").replace("_", "-")
    if method == "fp8":
        if quantization.has("weight_block_size"):
            quantization.refuse("weight_block_size", f"asks for FP8 scales by block; {_ADVICE}")
    elif method == "compressed-tensors":
        _check_compressed_tensors(quantization)
    else:
        quantization.refuse("quant_method", f"is {method!r}; {_ADVICE}")


def _check_compressed_tensors(quantization: Fields) -> None:
    """compressed-tensors is a container of many schemes; each group must be 8-bit float, one scale a tensor."""
    groups = quantization.nested("config_groups")
    if groups is None or not groups.data:
        quantization.refuse("config_groups", f"is missing; {_ADVICE}")
    for name in groups.data:
        group = groups.nested(name)
        weights = group.nested("weights") if group else None
        if weights is None:
            groups.refuse(name, f"does not describe its weights; {_ADVICE}")
        scheme = (weights.integer("num_bits", 0), weights.text("type", ""), weights.text("strategy", ""))
        if scheme != (8, "float", "tensor"):
            weights.refuse("num_bits/type/strategy", f"is {scheme[0]}/{scheme[1]}/{scheme[2]}; {_ADVICE}")
