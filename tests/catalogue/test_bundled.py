"""The model that comes with the package: whole, small, described, and the same to `transformers`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from transformers import AutoModelForCausalLM

from tramontane.catalogue.bundled import BUNDLED_FOLDER, BUNDLED_MODEL, bundled_model
from tramontane.catalogue.references import parse_reference
from tramontane.model.weights import load_model
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.attention import block_diagonal
from tramontane.training.export import CARD, EVALUATION, RECORD
from tramontane.training.record import read_record


def test_it_is_small_and_whole() -> None:
    files = {path.name for path in BUNDLED_FOLDER.iterdir()}
    assert {"config.json", "model.safetensors", "tekken.json", CARD, RECORD, EVALUATION} <= files
    assert bundled_model().num_bytes <= 40e6
    record = read_record(BUNDLED_FOLDER / RECORD)
    assert record.model.digests
    for name, digest in record.model.digests.items():
        assert digest == f"sha256:{hashlib.sha256((BUNDLED_FOLDER / name).read_bytes()).hexdigest()}", name


def test_every_source_and_figure_is_disclosed() -> None:
    record = read_record(BUNDLED_FOLDER / RECORD)
    for source in record.sources:
        told = (source.licence, source.origin, source.obtained, source.version, source.digest)
        assert all(told), source.name
    assert all((record.tokens, record.compute.flops, record.compute.energy_method))
    card = (BUNDLED_FOLDER / CARD).read_text(encoding="utf-8")
    for section in ("## Evaluation", "## Training", "## Data"):
        assert section in card
    for measure in record.evaluation["measures"]:
        assert f"| {measure['task']} | {measure['measure']} |" in card


def test_its_name_means_it(tmp_path: Path) -> None:
    reference = parse_reference(BUNDLED_MODEL, tmp_path)
    assert (reference.name, reference.require_folder()) == (BUNDLED_MODEL, BUNDLED_FOLDER)


def test_transformers_computes_the_same() -> None:
    theirs = AutoModelForCausalLM.from_pretrained(BUNDLED_FOLDER, dtype=torch.float32)
    assert type(theirs).__name__ == "MistralForCausalLM"
    ours = load_model(BUNDLED_FOLDER, dtype=torch.float32).model
    tokens = torch.tensor(Tokenizer.from_folder(BUNDLED_FOLDER).encode("[1] Il mistral soffia da nord.", bos=True))
    positions = torch.arange(len(tokens))
    with torch.inference_mode():
        expected = theirs(tokens[None]).logits[0]
        attend = block_diagonal([len(tokens)], ours.config.windows, torch.device("cpu"))
        computed = ours.logits(ours(tokens, positions, attend))
    torch.testing.assert_close(computed, expected, atol=1e-4, rtol=1e-4)


def test_mistral_common_reads_its_tokenizer() -> None:
    theirs = MistralTokenizer.from_file(str(BUNDLED_FOLDER / "tekken.json")).instruct_tokenizer.tokenizer
    ours = Tokenizer.from_folder(BUNDLED_FOLDER)
    for text in ("Où se trouve l'usine ?", "Straße 12, «Höhe»", "def f(x):\n    return x"):
        assert theirs.encode(text, bos=False, eos=False) == ours.encode(text)
