"""Search: every word counts, nothing in a query is an order, and nobody finds what is another's."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update

from tests.conversations.people import begin, colleague_of, keep, owner_of_all, say
from tests.storage.places import Place
from tests.storage.postgres import postgres_server
from tramontane.conversations.documents import delete_document
from tramontane.conversations.full_text import excerpt, rank_passages, words_of
from tramontane.conversations.owner import Owner
from tramontane.conversations.store import change_conversation, delete_conversation, list_conversations
from tramontane.conversations.tables import ConversationMessage, Passage
from tramontane.errors import InvalidRequestError
from tramontane.storage.database import Database

HOSTILE = [
    '"', "'", "''", "* OR *", "a* NEAR(b, 1)", "content:mistral", "mistral NOT wind", "(", "^mistral", "-mistral",
    "{x}", "'; DROP TABLE conversations; --", "\\", "\x00mistral", "mistral\x00", "\ud800", "& | !", "mistral:*",
    "a & !b", "<->", "%", "_", "…?!", "  ", "x" * 500, "' OR 1=1 --", "🌬️", "mistral AND", "NOT", "OR", ":a", "$1", "?",
    "٣",
]  # fmt: skip

LIBRARY = {
    "fr": (
        "Quels sont les horaires d'ouverture de la bibliothèque ?",
        "La bibliothèque est ouverte du mardi au samedi de dix heures à dix-huit heures.",
        ["Le marché se tient chaque jeudi sur la place.", "Les bateaux rentrent au port avant la nuit."],
    ),
    "de": (
        "Wann wurde die Brücke über den Fluss gebaut?",
        "Die alte Brücke über den Fluss wurde im Jahr 1847 aus Sandstein gebaut.",
        ["Der Wochenmarkt findet am Donnerstag statt.", "Im Winter fahren die Boote nicht."],
    ),
    "es": (
        "¿Cuánto cuesta la entrada al museo para los niños?",
        "La entrada al museo cuesta cinco euros; los niños no pagan.",
        ["El mercado abre los jueves por la mañana.", "Los barcos vuelven al puerto al anochecer."],
    ),
    "it": (
        "Chi ha scritto il romanzo che parla della montagna?",
        "Il romanzo della montagna è stato scritto da una maestra di Aosta.",
        ["Il mercato si tiene il giovedì in piazza.", "Le barche rientrano nel porto prima di notte."],
    ),
    "en": (
        "How many visitors did the lighthouse receive last year?",
        "Last year the lighthouse received forty thousand visitors, more than ever.",
        ["The market is held on Thursdays.", "Boats return to the harbour before dark."],
    ),
}


async def found(db: Database, owner: Owner, query: str) -> list[str]:
    async with db.read() as session:
        return [one.conversation.id for one in (await list_conversations(session, owner, query, None, 50))[0]]


def test_titles_and_messages_are_searched_for_all_words(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        wind = await begin(db, owner, title="Les vents de Provence")
        _, answer = await say(db, wind, ["Quel vent est froid ?", "Le mistral est un vent froid, très sec. " * 40])
        other = await begin(db, owner)
        await say(db, other, ["Which wind is warm?", "The marin."])
        assert await found(db, owner, "provence") == [wind.id]
        assert await found(db, owner, "MISTRAL tres froid") == [wind.id]
        assert await found(db, owner, "mistral marin") == []
        assert await found(db, owner, "w") == [other.id]  # the last word may be unfinished
        assert await found(db, owner, "win warm") == []  # the others may not
        assert await found(db, owner, "") == [other.id, wind.id]
        async with db.read() as session:
            listed, _ = await list_conversations(session, owner, "mistral", None, 50)
        assert listed[0].hit_id == answer.id
        assert listed[0].excerpt is not None
        assert listed[0].excerpt.startswith("Le mistral est un vent froid, très sec.")
        assert listed[0].excerpt.endswith("…")

    place.run(scenario)


def test_a_query_is_data(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        wind = await begin(db, owner, title="mistral")
        await say(db, wind, ["content mistral near not", "or and x 1"])
        document = await keep(db, owner, "wind.txt", "The mistral is cold.")
        for query in HOSTILE:
            assert await found(db, owner, query) in ([], [wind.id]), query
            async with db.read() as session:
                await rank_passages(session, [document.id], query, 10)
        for nothing in ("…?!", '"', "'; --", "& | !", "_"):
            assert words_of(nothing) == []
            assert await found(db, owner, nothing) == []
        assert await found(db, owner, "-mistral") == [wind.id]

    place.run(scenario)


def test_the_index_keeps_step(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        one = await begin(db, owner, title="alpha")
        _, answer = await say(db, one, ["beta", "gamma"])
        async with db.write() as session:
            await change_conversation(session, owner, one.id, {"title": "delta"})
            changed = update(ConversationMessage).where(ConversationMessage.id == answer.id)
            await session.execute(changed.values(content="epsilon"))
        assert [await found(db, owner, word) for word in ("alpha", "gamma")] == [[], []]
        assert [await found(db, owner, word) for word in ("delta", "beta", "epsilon")] == [[one.id]] * 3
        async with db.write() as session:
            await session.execute(changed.values(content="zeta", state="writing"))
        async with db.write() as session:
            await session.execute(changed.values(content="zeta eta", state="done"))
        assert await found(db, owner, "epsilon") == []
        assert await found(db, owner, "zeta eta") == [one.id]
        document = await keep(db, owner, "a.txt", "theta")
        async with db.write() as session:
            await delete_document(session, owner, document.id)
            await delete_conversation(session, owner, one.id)
        async with db.write() as session:
            assert await session.scalar(select(Passage.id)) is None
            if db_is_sqlite(place):
                for index in ("fts_conversations", "fts_messages", "fts_passages"):
                    await session.execute(text(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)"))
        assert await found(db, owner, "zeta") == []

    place.run(scenario)


def db_is_sqlite(place: Place) -> bool:
    return place.url is None


def test_nobody_finds_what_is_anothers(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        await say(db, await begin(db, owner, title="mistral"), ["mistral", "mistral"])
        for other in (await colleague_of(db, owner), await colleague_of(db, owner, workspace="Next door")):
            assert await found(db, other, "mistral") == []
            assert await found(db, other, "") == []
        assert len(await found(db, owner, "mistral")) == 1

    place.run(scenario)


def test_pages_of_results_follow_each_other(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        made = [(await begin(db, owner, title=f"wind {number}")).id for number in range(5)]
        for query in ("wind", ""):
            seen: list[str] = []
            cursor = None
            while True:
                async with db.read() as session:
                    page, cursor = await list_conversations(session, owner, query, cursor, 2)
                seen += [one.conversation.id for one in page]
                if cursor is None:
                    break
            assert seen == made[::-1]
        for wrong in ("x", "1", "-", "9" * 40 + "-a", "1-'"):
            async with db.read() as session:
                with pytest.raises(InvalidRequestError, match="before"):
                    await list_conversations(session, owner, "", wrong, 2)

    place.run(scenario)


@pytest.mark.parametrize("language", LIBRARY)
def test_the_right_passage_ranks_first(place: Place, language: str) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        question, right, [*others] = LIBRARY[language]
        wrong = [await keep(db, owner, "wrong.txt", passage) for passage in others]
        good = await keep(db, owner, "right.txt", right)
        async with db.read() as session:
            ids = [document.id for document in [*wrong, good]]
            ranked = await rank_passages(session, ids, question, 10)
            assert ranked[0] == (good.id, 0)
            assert await rank_passages(session, [wrong[0].id], "xyzzy", 10) == []
            assert good.id not in dict(await rank_passages(session, ids[:-1], question, 10))

    place.run(scenario)


def test_postgresql_uses_its_index(tmp_path: Path) -> None:
    async def scenario(db: Database) -> None:
        async with db.write() as session:
            await session.execute(delete(Passage))
            await session.execute(text("SET enable_seqscan = off"))
            query = "SELECT * FROM passages WHERE fts_words @@ to_tsquery('simple', 'a')"
            plan = "\n".join(await session.scalars(text(f"EXPLAIN {query}")))
        assert "fts_passages" in plan

    Place(postgres_server().new_database(), tmp_path).run(scenario)


def test_a_message_of_a_million_characters_is_kept_and_found(place: Place) -> None:
    async def scenario(db: Database) -> None:
        owner = await owner_of_all(db)
        long = await begin(db, owner)
        words = " ".join(f"w{number:x}é" for number in range(150_000))
        await say(db, long, ["mistral " + words[:900_000]])
        assert await found(db, owner, "mistral") == [long.id]

    place.run(scenario)


def test_excerpts_are_plain_text_of_one_line() -> None:
    text_ = "Before it. " * 30 + "The\n\nMISTRAL\n is  cold. " + "After it. " * 60
    shown = excerpt(text_, ["mistral"])
    assert shown is not None
    assert "The MISTRAL is cold." in shown
    assert shown.startswith("… ")
    assert shown.endswith(" …")
    assert len(shown) < 220
    assert excerpt("Le Noël", ["noel"]) == "Le Noël"
    assert excerpt("nothing", ["mistral"]) is None
