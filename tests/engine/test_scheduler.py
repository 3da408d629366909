"""Who gets how many tokens of a step, who waits, and who gives way when memory runs out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tramontane.engine.block_pool import BlockPool
from tramontane.engine.kv_cache import LayerGroup
from tramontane.engine.metrics import EngineMetrics
from tramontane.engine.pacing import PromptPacer
from tramontane.engine.prefix_cache import PrefixCache
from tramontane.engine.request import Request, SamplingParams
from tramontane.engine.scheduler import Chunk, Scheduler
from tramontane.engine.sequence import Sequence, Status
from tramontane.errors import QueueFullError

BLOCK_SIZE = 4


@dataclass
class Desk:
    """A scheduler, and a model that says 0 whatever it is asked."""

    scheduler: Scheduler
    pool: BlockPool
    pacer: PromptPacer
    metrics: EngineMetrics
    num_groups: int

    def add(self, length: int, first: int = 1, n: int = 1) -> Sequence:
        """A request of `length` tokens that begin with `first`."""
        request = Request(f"{first}/{length}", [first] * length, SamplingParams(n=n))
        leader = Sequence(request, 0, self.num_groups)
        self.scheduler.add([leader, *(Sequence(request, i, self.num_groups, leader=leader) for i in range(1, n))])
        return leader

    def step(self) -> dict[Sequence, int]:
        """Who computed how much; who has caught up says something."""
        chunks = self.scheduler.schedule()
        for chunk in chunks:
            covered = chunk.sequence.num_computed + chunk.num_tokens
            assert all(len(table) * BLOCK_SIZE >= covered for table in chunk.sequence.tables)
            self.scheduler.settle(chunk.sequence, chunk.num_tokens)
            if chunk.sequence.remaining == 0:
                chunk.sequence.tokens.append(0)
        self.scheduler.check()
        return {chunk.sequence: chunk.num_tokens for chunk in chunks}


def desk(
    num_blocks: int = 100, max_tokens: int = 64, max_sequences: int = 8, max_queue: int = 100,
    windows: tuple[int | None, ...] = (None,),
) -> Desk:  # fmt: skip
    prefixes, pacer, metrics = PrefixCache(BLOCK_SIZE, windows), PromptPacer(max_tokens), EngineMetrics()
    pool = BlockPool(num_blocks, prefixes)
    groups = [LayerGroup(window, (layer,)) for layer, window in enumerate(windows)]
    scheduler = Scheduler(
        groups, pool, prefixes, pacer, metrics, max_sequences=max_sequences, max_queue=max_queue, max_context=10_000
    )  # fmt: skip
    return Desk(scheduler, pool, pacer, metrics, len(windows))


def contended(max_tokens: int, chunk: int) -> Desk:
    """A desk whose pacer lets `chunk` prompt tokens pass while somebody decodes."""
    one = desk(max_tokens=max_tokens)
    one.pacer._chunk = float(chunk)
    return one


def test_nothing_to_do_is_no_work() -> None:
    assert desk().scheduler.schedule() == []


def test_a_prompt_is_computed_in_chunks_of_a_step() -> None:
    one = desk(max_tokens=10)
    sequence = one.add(25)
    assert [one.step()[sequence] for _ in range(5)] == [10, 10, 5, 1, 1]


def test_whoever_decodes_is_served_each_step_beside_a_long_prompt() -> None:
    one = contended(max_tokens=64, chunk=8)
    decoding = one.add(4)
    one.step()
    prompt = one.add(60, first=2)
    for _ in range(5):
        assert one.step() == {decoding: 1, prompt: 8}


def test_chunks_say_what_is_prompt_and_what_is_answer() -> None:
    one = contended(max_tokens=64, chunk=1)
    decoding = one.add(4)
    one.step()
    prompt = one.add(3, first=2)
    for is_prompt in (True, True, True, False):  # one token each, as answers have
        chunks = one.scheduler.schedule()
        assert chunks == [Chunk(decoding, 1, is_prompt=False), Chunk(prompt, 1, is_prompt=is_prompt)]
        for chunk in chunks:
            one.scheduler.settle(chunk.sequence, chunk.num_tokens)
            if chunk.sequence.remaining == 0:
                chunk.sequence.tokens.append(0)


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    one = desk(max_tokens=20)
    long = one.add(200)
    one.step()
    short = one.add(8, first=2)
    assert one.step() == {short: 8, long: 12}
    one = desk(max_tokens=20)
    long, short = one.add(200), one.add(8, first=2)
    assert one.step() == {short: 8, long: 12}


def test_a_step_holds_no_more_than_its_budget() -> None:
    one = desk(max_tokens=10)
    sequences = [one.add(9 + number, first=number) for number in range(1, 5)]
    for _ in range(6):
        assert sum(count for count in one.step().values() if count > 1) <= 10  # single tokens are always served
    assert all(sequence.num_output for sequence in sequences)


def test_places_are_given_in_order_of_arrival() -> None:
    one = desk(max_sequences=2)
    first, second, third = (one.add(3, first=number) for number in range(3))
    assert set(one.step()) == {first, second}
    assert set(one.step()) == {first, second}
    one.scheduler.remove(first)
    assert set(one.step()) == {second, third}


def test_one_that_does_not_fit_is_not_overtaken() -> None:
    one = desk(num_blocks=10)
    first, large, small = one.add(20), one.add(24, first=2), one.add(4, first=3)
    assert set(one.step()) == {first}
    one.scheduler.remove(first)
    assert set(one.step()) == {large, small}


def test_the_youngest_gives_way_and_comes_back_first() -> None:
    one = desk(num_blocks=6)
    oldest, youngest = one.add(11), one.add(7, first=2)
    one.step()
    waiting = one.add(4, first=3)
    assert set(one.step()) == {oldest, youngest, waiting}
    for _ in range(3):
        one.step()
    assert waiting.num_preemptions > 0
    assert oldest.num_preemptions == 0
    assert [oldest, youngest][: len(one.scheduler.running)] == one.scheduler.running[:2]
    while youngest.num_preemptions == 0:
        one.step()
    assert list(one.scheduler.waiting) == [youngest, waiting]
    assert not youngest.held_blocks()
    assert len(youngest.tokens) > 7  # what it said is not forgotten
    assert one.metrics.num_preemptions == youngest.num_preemptions + waiting.num_preemptions


def test_the_oldest_always_gets_on() -> None:
    one = desk(num_blocks=6, max_tokens=7)
    sequences = [one.add(8, first=number) for number in range(4)]
    while sequences:
        oldest, before = sequences[0], sequences[0].num_computed
        one.step()
        assert oldest.num_computed > before
        if oldest.num_output == 16:  # all six blocks
            one.scheduler.remove(sequences.pop(0))
    assert one.pool.num_free == 6
    assert one.metrics.num_preemptions > 0


def test_a_preempted_sequence_finds_its_own_blocks_again() -> None:
    one = desk(num_blocks=8)
    oldest, youngest = one.add(12), one.add(17, first=2)
    one.step()
    while not youngest.num_preemptions:
        one.step()
    one.scheduler.remove(oldest)
    shares = one.step()
    assert shares[youngest] <= BLOCK_SIZE + 1
    assert youngest.num_cached == 0  # at its first admission nothing was known, and that is what is billed


def test_windowed_prompts_are_not_started_to_be_thrown_back() -> None:
    """Windowed layers take blocks chunk by chunk; who starts must still find them."""
    one = desk(num_blocks=7, max_tokens=8, windows=(8,))
    sequences = [one.add(40, first=number) for number in range(20)]
    steps = 0
    while sequences:
        one.step()
        steps += 1
        for sequence in [s for s in sequences if s.num_output == 3]:
            one.scheduler.remove(sequence)
            sequences.remove(sequence)
    assert one.metrics.num_preemptions == 0
    assert steps <= 20 * (40 // 8 + 3)


def test_choices_wait_for_the_first_and_others_do_not_wait_for_them() -> None:
    one = desk(max_tokens=10)
    leader = one.add(20, n=3)
    followers = [sequence for sequence in one.scheduler.waiting if sequence is not leader]
    other = one.add(4, first=2)
    assert set(one.step()) == {leader, other}
    while leader.num_computed < 20:
        assert not set(one.step()) & set(followers)
    shares = one.step()
    assert [shares[follower] for follower in followers] == [4, 4]  # all but the last block is shared
    assert [follower.num_cached for follower in followers] == [16, 16]
    assert followers[0].tables[0][:4] == leader.tables[0][:4]


def test_choices_go_on_without_a_first_that_failed() -> None:
    one = desk()
    leader = one.add(20, n=2)
    follower = one.scheduler.waiting[1]
    one.scheduler.remove(leader)
    assert one.step() == {follower: 20}


@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_who_is_removed_holds_nothing(steps_before: int) -> None:
    one = desk(max_tokens=6)
    sequence = one.add(10)
    for _ in range(steps_before):
        one.step()
    one.scheduler.remove(sequence)
    assert sequence.status is Status.FINISHED
    assert one.pool.num_free == 100
    assert one.step() == {}
    one.scheduler.remove(sequence)  # nothing happens


def test_the_queue_takes_so_many_and_no_more() -> None:
    one = desk(max_sequences=1, max_queue=2)
    one.add(4)
    one.step()
    one.add(4)
    with pytest.raises(QueueFullError, match="full"):
        one.add(4, n=2)
    one.add(4)
    with pytest.raises(QueueFullError, match="full"):
        one.add(4)
    assert len(one.scheduler.waiting) == 2
    assert one.metrics.admission_rejections == 2


def test_who_finds_a_free_place_does_not_wait() -> None:
    one = desk(max_sequences=4, max_queue=1)
    one.add(4)
    one.step()
    for _ in range(4):  # three start with the next step, one waits
        one.add(4)
    with pytest.raises(QueueFullError):
        one.add(4)
    assert len(one.step()) == 4


def test_a_place_without_memory_is_no_place() -> None:
    one = desk(num_blocks=4, max_sequences=8, max_queue=1)
    one.add(15)
    one.step()
    one.add(15)
    one.step()
    with pytest.raises(QueueFullError):
        one.add(15)


def test_many_choices_enter_an_empty_queue() -> None:
    one = desk(max_sequences=1, max_queue=2)
    one.add(4)
    one.step()
    one.add(4, n=5)
    assert len(one.scheduler.waiting) == 5


def test_windowed_groups_hold_what_they_see() -> None:
    one = desk(num_blocks=50, max_tokens=8, windows=(6, None))
    sequence = one.add(60)
    for _ in range(20):
        one.step()
        windowed, full = ([block for block in table if block >= 0] for table in sequence.tables)
        assert len(windowed) <= 3
        assert len(full) >= sequence.num_computed // BLOCK_SIZE
