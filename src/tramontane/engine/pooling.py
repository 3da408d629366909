"""Embeddings: one vector from the hidden states of a prompt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tramontane.engine.sequence import Sequence


def finish_pooling(sequence: Sequence, hidden: Tensor, caught_up: bool) -> list[float] | None:
    """Takes in a chunk's hidden states [n, dim]; gives the vector once the whole prompt has been seen."""
    pooling = sequence.request.pooling
    assert pooling is not None
    if pooling.mode == "mean":
        sequence.add_hidden(hidden)
    if not caught_up:
        return None
    if pooling.mode == "mean":
        assert sequence.pooled is not None
        vector = sequence.pooled / sequence.num_prompt
    else:
        vector = hidden[-1].to(torch.promote_types(hidden.dtype, torch.float32))
    if pooling.normalize:
        vector = F.normalize(vector, dim=0)
    return vector.tolist()
