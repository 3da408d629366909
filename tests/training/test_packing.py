"""Side by side, documents are learnt as if each were alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.training.runs import CONFIG, float64_model, make_document
from tramontane.model.random_weights import RandomWeights
from tramontane.model.transformer import Transformer
from tramontane.training.attention import block_diagonal
from tramontane.training.compiled import after_attention, before_attention, forward_in_pieces
from tramontane.training.initial import trainable
from tramontane.training.objective import weighted_loss
from tramontane.training.packing import pack
from tramontane.training.rendering import Document

tokens = st.integers(0, CONFIG.vocab_size - 1)
pairs = st.tuples(tokens, st.sampled_from([0.0, 0.0, 1.0, 0.5, 3.0]))
documents = st.lists(pairs, min_size=1, max_size=40).map(
    lambda pairs: make_document([token for token, _ in pairs], [weight for _, weight in pairs])
)


@pytest.fixture(scope="module", params=[(None, None), (5, None)])
def model(request: pytest.FixtureRequest) -> Transformer:
    return float64_model(replace(CONFIG, windows=request.param))


def _gradients(model: Transformer, packs: list[list[Document]]) -> tuple[float, list[Tensor]]:
    model.zero_grad(set_to_none=False)
    total = 0.0
    for group in packs:
        loss = weighted_loss(model, pack(group))
        if len(pack(group).rows):
            loss.backward()
        total += float(loss.detach())
    gradients = [parameter.grad for parameter in model.parameters()]
    return total, [torch.zeros(1) if gradient is None else gradient.clone() for gradient in gradients]


@settings(max_examples=40, deadline=None)
@given(st.lists(documents, min_size=1, max_size=8))
def test_loss_and_gradients_are_those_of_each_alone(model: Transformer, together: list[Document]) -> None:
    loss, gradients = _gradients(model, [together])
    alone_loss, alone_gradients = _gradients(model, [[document] for document in together])
    assert loss == pytest.approx(alone_loss, rel=1e-12, abs=1e-12)
    for one, other in zip(gradients, alone_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_the_loss_is_the_cross_entropy_written_out(model: Transformer) -> None:
    from tests.tiny import attend_to_all

    document = make_document([3, 1, 4, 1, 5], [1.0, 0.0, 1.0, 0.0, 2.0])
    ids = torch.tensor([3, 1, 4, 1, 5])
    scores = model.logits(model(ids, torch.arange(5), attend_to_all(model.config)))
    log_p = scores.log_softmax(-1)
    expected = -(log_p[1, 4] + 2 * log_p[3, 5])  # nothing predicts the first token
    assert float(weighted_loss(model, pack([document])).detach()) == pytest.approx(float(expected.detach()))


def test_only_learnt_rows_are_scored() -> None:
    batch = pack([make_document([1, 2, 3], [1, 0, 1]), make_document([4, 5], [1, 1])])
    assert batch.positions.tolist() == [0, 1, 2, 0, 1]
    assert (batch.rows.tolist(), batch.targets.tolist()) == ([1, 3], [3, 5])


@settings(max_examples=20, deadline=None)
@given(st.lists(documents, min_size=1, max_size=4), st.integers(1, 200))
def test_padding_changes_nothing(model: Transformer, together: list[Document], size: int) -> None:
    padded = pack(together, size)
    assert len(padded.tokens) == sum(padded.lengths) == max(size, sum(map(len, together)))
    loss, gradients = _gradients(model, [together])
    model.zero_grad(set_to_none=False)
    padded_loss = weighted_loss(model, padded)
    if len(padded.rows):
        padded_loss.backward()
    assert float(padded_loss.detach()) == pytest.approx(loss, rel=1e-12, abs=1e-12)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        found = torch.zeros(1) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-10)


def test_the_pieces_that_are_compiled_are_the_models_own_pass() -> None:
    model = float64_model()
    batch = pack([make_document([3, 1, 4, 1, 5], [1.0] * 5), make_document([2, 7], [1.0] * 2)])
    attend = block_diagonal(batch.lengths, model.config.windows, model.device)
    found = forward_in_pieces(model, before_attention, after_attention)(batch.tokens, batch.positions, attend)
    torch.testing.assert_close(found, model(batch.tokens, batch.positions, attend), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("windows", [(None, None), (8, None)])
def test_gradients_in_bfloat16_are_those_of_float32_but_for_rounding(windows: tuple[int | None, ...]) -> None:
    config = replace(CONFIG, windows=windows)
    read = RandomWeights(config, seed=1, dtype=torch.bfloat16).read
    batch = pack([make_document([5] * 600 + [3, 1, 4, 1], [1.0] * 604), make_document([2, 7, 1], [1.0] * 3)])
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model = trainable(config, read, dtype, torch.device("cpu"))
        (weighted_loss(model, batch) / 600).backward()
        found.append({name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None})
    exact, rounded = found
    assert exact.keys() == rounded.keys()
    for name, gradient in exact.items():
        assert float((rounded[name] - gradient).norm() / gradient.norm()) < 0.03, name
