"""Which documents a conversation may have."""

from __future__ import annotations

import pytest

from tests.conversations.people import begin, keep, owner_of_all
from tests.storage.places import Place
from tramontane.conversations import documents
from tramontane.conversations.documents import attach, attached
from tramontane.conversations.errors import TooManyDocumentsError
from tramontane.storage.database import Database


def test_the_documents_of_a_conversation_have_so_many_characters(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_CHARACTERS", 10)

    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        conversation = await begin(db, owner)
        five, four, six = [(await keep(db, owner, "a.txt", text)).id for text in ("12345", "1234", "123456")]
        async with db.write() as session:
            await attach(session, owner, conversation.id, [five, four])
        with pytest.raises(TooManyDocumentsError, match=r"at most 10 characters, not 15\."):
            async with db.write() as session:
                await attach(session, owner, conversation.id, [five, four, six])
        async with db.read() as session:
            assert [document.id for document in await attached(session, conversation.id)] == [five, four]

    place.run(scenario)
