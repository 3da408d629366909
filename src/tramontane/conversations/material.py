"""What a prompt is made from: a branch, the documents of its conversation, and which passages fit the question."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tramontane.conversations.documents import attached
from tramontane.conversations.full_text import rank_passages
from tramontane.conversations.messages import branch, length_of_branch
from tramontane.conversations.owner import Owner
from tramontane.conversations.passages import Key, Span
from tramontane.conversations.store import find_conversation
from tramontane.conversations.tables import Conversation, ConversationMessage, Passage, StoredDocument

_MOST_MESSAGES = 1001  # of a branch; with the question at its end, so that it begins with a question
_MOST_RANKED = 1000  # passages: more than any context holds
_WITH_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Material:
    """`branch` ends with the question; of the documents there are the texts."""

    conversation: Conversation
    branch: list[ConversationMessage]
    num_earlier: int  # messages before the branch
    documents: list[StoredDocument]
    passages: dict[str, list[Span]]  # by document
    ranking: list[Key]

    def sample(self, characters: int) -> str:
        """Some text of the kind that the prompt will have."""
        texts = [document.text for document in self.documents] or [message.content for message in self.branch]
        longest = max(texts, key=len)
        middle = max(0, (len(longest) - characters) // 2)
        return longest[middle : middle + characters] or self.branch[-1].content[:characters]


async def gather(session: AsyncSession, owner: Owner, conversation_id: str, question_id: str) -> Material:
    """Raises NotFoundError where the conversation was deleted meanwhile."""
    conversation = await find_conversation(session, owner, conversation_id)
    asked, has_earlier = await branch(session, conversation.id, question_id, _MOST_MESSAGES)
    num_earlier = await length_of_branch(session, question_id) - len(asked) if has_earlier else 0
    documents = await attached(session, conversation.id, texts=True)
    places = {document.id: index for index, document in enumerate(documents)}
    # A question such as “and in winter?” tells little: what fits the one before comes after what fits this one.
    hits = [
        Key(places[document_id], number)
        for question in asked[-1:-4:-2]
        for document_id, number in await rank_passages(session, list(places), question.content, _MOST_RANKED)
    ]
    passages = await _passages(session, list(places))
    ranking = _with_neighbours(hits) if hits else _in_turn([len(passages[document.id]) for document in documents])
    return Material(conversation, asked, num_earlier, documents, passages, ranking)


def _with_neighbours(hits: list[Key]) -> list[Key]:
    """What stands around the best passages comes after all hits: it tells what those speak of."""
    around = [Key(key.document, key.number + step) for key in hits[:_WITH_NEIGHBOURS] for step in (1, -1)]
    return [*hits, *(key for key in around if key.number >= 0)]


def _in_turn(lengths: list[int]) -> list[Key]:
    """Where no word of the question is found, as in “sum this up”: each document from its beginning, in turn."""
    numbers = range(min(_MOST_RANKED, max(lengths, default=0)))
    return [Key(index, number) for number in numbers for index, length in enumerate(lengths) if number < length]


async def _passages(session: AsyncSession, document_ids: list[str]) -> dict[str, list[Span]]:
    query = select(Passage.document_id, Passage.start, Passage.end).where(Passage.document_id.in_(document_ids))
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for document_id, start, end in await session.execute(query.order_by(Passage.document_id, Passage.number)):
        found[document_id].append(Span(start, end))
    return found
