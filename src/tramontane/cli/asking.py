"""One generation of a local model, whole: what the commands that measure a model ask by."""

from __future__ import annotations

from tramontane.errors import TramontaneError
from tramontane.gateway.answers import Answer, Choice
from tramontane.gateway.providers.local.provider import LocalProvider
from tramontane.gateway.requests import Generation


async def whole_choice(provider: LocalProvider, model: str, generation: Generation) -> Choice:
    """The answer. Raises InvalidRequestError where it is refused, TramontaneError where the engine failed in it."""
    answer = Answer(1)
    prepared = await provider.prepare(model, generation)
    async for event in await prepared.generate():
        answer.add(event)
    choice = answer.choices[0]
    if choice.finish_reason == "error":
        raise TramontaneError(choice.detail or "The engine ended before it had answered.")
    return choice
