"""What training makes small: the cross-entropy of the tokens that are learnt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tramontane.model.transformer import Transformer
from tramontane.training.attention import block_diagonal
from tramontane.training.compiled import Forward
from tramontane.training.packing import Batch


def weighted_loss(model: Transformer, batch: Batch, forward: Forward | None = None) -> Tensor:
    """The sum of weight × −log p over the learnt tokens, in nats; divide by the weights' sum for a mean.

    Only hidden states in front of a learnt token are scored: [R, vocab] exists, [T, vocab] does not. `forward` computes
    the hidden states; without it, the model does.
    """
    attend = block_diagonal(batch.lengths, model.config.windows, batch.tokens.device, model.dtype)
    hidden = (forward or model)(batch.tokens, batch.positions, attend)  # [T, dim]
    scores = model.logits(hidden.index_select(0, batch.rows))  # [R, vocab]
    losses = F.cross_entropy(scores, batch.targets, reduction="none")  # [R]
    return torch.dot(losses, batch.weights.to(losses.dtype))
