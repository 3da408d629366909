"""Under torchrun: half the documents and half the weights in each process make the steps that one process makes."""

import torch
from torch import Tensor

from tests.training.runs import CONFIG, make_document
from tramontane.model.transformer import Transformer
from tramontane.training.initial import initial_model
from tramontane.training.objective import weighted_loss
from tramontane.training.optimizer import Optimizer, Rates
from tramontane.training.packing import pack
from tramontane.training.ranks import ALONE, join_ranks, shard_model
from tramontane.training.rendering import Document


def steps(optimizer: Optimizer, model: Transformer, documents: list[Document], scale: float) -> dict[str, Tensor]:
    for _ in range(3):
        (weighted_loss(model, pack(documents)) * scale).backward()
        optimizer.collect()
        optimizer.step(Rates(0.01, 0.02, 0.1), clip=1.0)
    return optimizer.state()


if __name__ == "__main__":
    ranks, cpu = join_ranks(), torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    documents = [
        make_document(torch.randint(64, (length,), generator=generator).tolist(), [1.0] * length)
        for length in (9, 30, 12, 17)
    ]
    alone = initial_model(CONFIG, 0, torch.float32, cpu)
    expected = steps(Optimizer(alone, ranks=ALONE), alone, documents, 0.01)
    sharded = initial_model(CONFIG, 0, torch.float32, cpu)
    shard_model(sharded, ranks, torch.float32)
    mine = documents[ranks.index :: ranks.count]
    found = steps(Optimizer(sharded, ranks=ranks), sharded, mine, 0.01 * ranks.count)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)
