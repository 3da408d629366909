"""What tokens cost. Everything that is held, charged or shown is computed here, streamed and whole answers alike."""

from __future__ import annotations

from tramontane.catalogue.prices import Price

_MILLION = 10**6  # prices are for so many tokens
_HALF = _MILLION // 2


def cost(price: Price, prompt: int, cached: int, output: int) -> int:
    """Nano-euros, rounded half up once. `cached` tokens are part of the prompt's."""
    millionths = (prompt - cached) * price.input + cached * price.cached_input + output * price.output
    return (millionths + _HALF) // _MILLION


def worst_case(price: Price, prompt: int, output: int) -> int:
    """What a request may cost at most, whatever turns out to be cached."""
    return cost(price, prompt, 0 if price.input >= price.cached_input else prompt, output)


def affordable_output(price: Price, prompt: int, most: int, amount: int) -> int:
    """How many output tokens, `most` at most, `amount` pays for beside the prompt in the worst case; -1: none at all.

    -1 tells a prompt that is too dear from one that leaves nothing for output.
    """
    if worst_case(price, prompt, 0) > amount:
        return -1
    if price.output == 0:
        return most
    spent = prompt * max(price.input, price.cached_input)
    # The largest number of tokens with (spent + tokens · output + half) // million ≤ amount.
    return min(most, ((amount + 1) * _MILLION - 1 - _HALF - spent) // price.output)


def in_euros(amount: int) -> str:
    """As sentences say it, exact: 0.0125 €."""
    whole, rest = divmod(abs(amount), 10**9)
    decimals = f"{rest:09}".rstrip("0")
    return f"{'-' if amount < 0 else ''}{whole:,}{f'.{decimals}' if decimals else ''} €"
