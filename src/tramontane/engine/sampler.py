"""From scores to tokens: one row a sequence, all of them at once where their parameters allow it."""

from __future__ import annotations

from collections.abc import Sequence as Rows

import torch
from torch import Tensor

from tramontane.engine.request import SamplingParams, TokenLogprob
from tramontane.engine.sequence import Sequence

_CANDIDATES = 1024  # how many of the best tokens top_p looks at before it sorts the whole vocabulary


def sample(logits: Tensor, sequences: Rows[Sequence], eos_id: int | None) -> list[int]:
    """Chooses the next token of each sequence from `logits` [R, vocab], which are changed in place."""
    for row, sequence in enumerate(sequences):
        _penalize(logits[row], sequence, eos_id)
    chosen = logits.argmax(-1)
    drawing = [row for row, sequence in enumerate(sequences) if sequence.sampling.temperature > 0]
    if drawing:
        drawn = _draw(logits[drawing] if len(drawing) < len(sequences) else logits, [sequences[r] for r in drawing])
        chosen[drawing] = drawn.to(chosen.device)
    return chosen.tolist()


def _penalize(scores: Tensor, sequence: Sequence, eos_id: int | None) -> None:
    """Bias, penalties and the minimal length, in place; does nothing for a sequence that asked for nothing."""
    params = sequence.sampling
    if sequence.seen is not None:
        seen = torch.tensor(list(sequence.seen), device=scores.device)
        values = scores[seen]
        scores[seen] = torch.where(values > 0, values / params.repetition_penalty, values * params.repetition_penalty)
    if sequence.counts and (params.presence_penalty or params.frequency_penalty):
        tokens = torch.tensor(list(sequence.counts), device=scores.device)
        counts = torch.tensor(list(sequence.counts.values()), device=scores.device, dtype=scores.dtype)
        scores[tokens] -= params.presence_penalty + params.frequency_penalty * counts
    if params.logit_bias:
        tokens = torch.tensor(list(params.logit_bias), device=scores.device)
        scores[tokens] += torch.tensor(list(params.logit_bias.values()), device=scores.device, dtype=scores.dtype)
    if eos_id is not None and (params.ignore_eos or sequence.num_output < params.min_tokens):
        scores[eos_id] = -torch.inf


def _draw(logits: Tensor, sequences: list[Sequence]) -> Tensor:
    """Draws by inverting the cumulative distribution at one number a row, so that each row's draw is its own."""
    vocab, params = logits.shape[1], [s.sampling for s in sequences]
    temperature = torch.tensor([p.temperature for p in params], dtype=logits.dtype, device=logits.device)
    temperature.clamp_min_(torch.finfo(logits.dtype).tiny)  # above 0 as a Python float, perhaps not in this dtype
    # Subtracting the maximum first keeps tiny temperatures finite.
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperature[:, None]
    uniform = torch.tensor([s.random.random() for s in sequences], dtype=torch.float64, device=logits.device)
    drawn = torch.empty(len(sequences), dtype=torch.int64, device=logits.device)
    # How a row is drawn depends on its own parameters and scores alone: neighbours must not change the result.
    keeps_all = [p.top_p == 1 and p.top_k in (0, vocab) for p in params]
    whole = [row for row, all_kept in enumerate(keeps_all) if all_kept]
    if whole:
        drawn[whole] = _invert(scaled[whole].double().softmax(-1), uniform[whole])
    rows = [row for row, all_kept in enumerate(keeps_all) if not all_kept]
    for width in (min(vocab, _CANDIDATES), vocab):
        if rows:
            weights, tokens, enough = _truncate(scaled[rows], [params[row] for row in rows], width)
            drawn[rows] = tokens.gather(1, _invert(weights, uniform[rows])[:, None])[:, 0]
            rows = [row for row, done in zip(rows, enough.tolist(), strict=True) if not done]
    return drawn


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first column at which the cumulative weight exceeds `uniform` times the total."""
    cumulative = weights.cumsum(-1)
    column = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
    # A draw at the very end could fall behind the last token of positive weight.
    last = weights.shape[1] - 1 - (weights > 0).flip(-1).to(torch.int8).argmax(-1)
    return torch.minimum(column, last)


def _truncate(scaled: Tensor, params: list[SamplingParams], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keeps top_k and then top_p of each row, looking at its `width` best tokens.

    Gives weights (0 where dropped) and tokens, best first, both [R, width], and for which rows that was enough.
    """
    vocab = scaled.shape[1]
    top_k = torch.tensor([p.top_k or vocab for p in params], device=scaled.device)
    top_p = torch.tensor([p.top_p for p in params], dtype=torch.float64, device=scaled.device)
    values, tokens = scaled.topk(width, dim=-1)
    weights = values.double().exp()
    weights = weights.masked_fill(torch.arange(width, device=scaled.device) >= top_k[:, None], 0)
    # top_k applies first: the total is that of the kept tokens, or of all where the row has no top_k.
    total = torch.where(top_k < vocab, weights.sum(-1), scaled.double().exp().sum(-1))
    enough = torch.where(top_k < vocab, top_k <= width, weights.sum(-1) >= top_p * total)
    # A token is kept while what stands before it has not reached top_p: the first one always is.
    before = (weights.cumsum(-1) - weights) / total[:, None]
    return weights.masked_fill(before >= top_p[:, None], 0), tokens, enough


def logprobs_of(logits: Tensor, tokens: Rows[int], num_top: int) -> list[TokenLogprob]:
    """Scores [R, vocab] and the tokens that came → their log-probabilities, with the `num_top` best of each row."""
    logprobs = logits.log_softmax(-1)
    own = logprobs.gather(1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0].tolist()
    if num_top == 0:
        return [TokenLogprob(token, value) for token, value in zip(tokens, own, strict=True)]
    values, ids = logprobs.topk(min(num_top, logits.shape[1]), dim=-1)
    return [
        TokenLogprob(token, value, tuple(zip(row_ids, row_values, strict=True)))
        for token, value, row_ids, row_values in zip(tokens, own, ids.tolist(), values.tolist(), strict=True)
    ]
