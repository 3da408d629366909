"""Conversations over HTTP: asked, answered, followed, stopped, branched, compared, shared and exported."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any

import pytest

from tests.api.conversing import (
    CONVERSATIONS,
    MODEL,
    RAW,
    Following,
    Talk,
    added_up,
    begin,
    events,
    upload,
    wait_for_state,
)
from tests.api.live import LiveServer, wait_for
from tests.api.talking import PATIENCE, ask, metrics, total, wait_until_nothing_is_held
from tramontane.api.errors import MAX_BODY_BYTES, UPLOAD_PATH

LONG = {"max_tokens": 1500}
CANARY = "canary of a conversation that nobody else may read"
WINDS = "The mistral blows from the north-west. It is cold, and dry.\n\nThe marin is wet and warm."


def test_who_asks_is_told_who_it_is(server: LiveServer) -> None:
    me = ask(server, "/v1/me").json
    assert (me["user_name"], me["workspace_name"], me["role"]) == ("Owner", "Default", "owner")


def test_a_question_is_answered_and_both_are_kept(server: LiveServer) -> None:
    talk = begin(server)
    question, [answer] = talk.question("  Which wind\nblows from the north?")
    assert (question["author"], question["state"], question["parent_id"]) == ("user", "done", None)
    assert (answer["author"], answer["state"], answer["parent_id"]) == ("assistant", "writing", question["id"])
    stream = list(events(talk.ask(f"/answers/{answer['id']}/events")))
    assert [name for name, _ in stream[1:-1]] == ["delta"] * (len(stream) - 2)
    assert (stream[0][0], stream[-1][0]) == ("snapshot", "end")
    last = stream[-1][1]
    assert added_up(stream) == last["content"]
    assert (last["state"], last["finish_reason"], last["completion_tokens"]) == ("done", "length", 8)
    assert last["prompt_tokens"] > 5
    assert last["first_token_seconds"] > 0
    assert talk.page() == {"data": [question, last], "has_earlier": False, "compared": []}
    conversation = talk.ask().json
    assert conversation["head_id"] == answer["id"]
    assert conversation["title"] == "Which wind"
    assert list(events(talk.ask(f"/answers/{answer['id']}/events"))) == [("snapshot", last), ("end", last)]


def test_an_answer_outlives_its_reader(server: LiveServer) -> None:
    talk = begin(server, max_tokens=200)
    _, [answer] = talk.question()
    reader = Following(talk, answer["id"])
    begun = reader.next_of("snapshot")["content"] + reader.next_of("delta")["content"]
    reader.hang_up()
    assert talk.message(answer["id"])["content"].startswith(begun)  # while it is written
    done = wait_for_state(talk, answer["id"], "done")
    assert done["completion_tokens"] == 200
    assert done["content"].startswith(begun)


def test_two_readers_read_the_same(server: LiveServer) -> None:
    talk = begin(server, max_tokens=150)
    _, [answer] = talk.question()
    first = Following(talk, answer["id"])
    first.next_of("delta")
    stream = list(events(talk.ask(f"/answers/{answer['id']}/events")))
    assert added_up(stream) == stream[-1][1]["content"] == first.next_of("end")["content"]


def test_an_answer_is_stopped_and_gone_on_with(server: LiveServer) -> None:
    talk = begin(server, **LONG)
    _, [answer] = talk.question()
    reader = Following(talk, answer["id"])
    reader.next_of("delta")
    stopped = talk.post(f"/answers/{answer['id']}/stop")
    assert stopped["state"] == "stopped"
    assert reader.next_of("end") == stopped
    assert stopped["content"]
    assert 0 < stopped["completion_tokens"] < LONG["max_tokens"]
    assert talk.post(f"/answers/{answer['id']}/stop") == stopped
    wait_until_nothing_is_held(server)
    talk.ask("", {"max_tokens": 8}, "PATCH")
    on = talk.post(f"/answers/{answer['id']}/continue")
    assert (on["id"], on["state"]) == (answer["id"], "writing")
    done = talk.ended(answer["id"])
    assert done["state"] == "done"
    assert done["content"].startswith(stopped["content"].rstrip(" "))
    assert done["completion_tokens"] == stopped["completion_tokens"] + 8
    assert len(talk.page()["data"]) == 2


def test_what_has_ended_by_itself_is_not_gone_on_with(server: LiveServer) -> None:
    talk = begin(server)
    answer = talk.answered()
    done = talk.post(f"/answers/{answer['id']}/continue")
    talk.ended(done["id"])
    talk.answered("And then?")
    reply = talk.ask(f"/answers/{answer['id']}/continue", b"", "POST")
    assert (reply.status, reply.json["type"]) == (400, "nothing_to_continue")
    reply = talk.ask(f"/answers/{answer['parent_id']}/continue", b"", "POST")
    assert (reply.status, reply.json["type"]) == (404, "not_found")


def test_an_answer_without_quotes_is_not_gone_on_with_in_quotes(server: LiveServer) -> None:
    talk = begin(server)
    answer = talk.answered()
    talk.ask("", {"document_ids": [upload(server, WINDS)["id"]]}, "PATCH")
    reply = talk.ask(f"/answers/{answer['id']}/continue", b"", "POST")
    assert (reply.status, reply.json["type"]) == (400, "nothing_to_continue")
    assert talk.message(answer["id"]) == answer
    talk.ask("", {"quotes": False}, "PATCH")
    talk.post(f"/answers/{answer['id']}/continue")
    assert talk.ended(answer["id"])["state"] == "done"


def test_a_new_answer_stands_beside_the_old_one(server: LiveServer) -> None:
    talk = begin(server)
    old = talk.answered()
    new = talk.post("/answers", {"question_id": old["parent_id"], "model": "v13"})
    assert new["siblings"] == [old["id"], new["id"]]
    assert talk.ended(new["id"])["model"] == "v13"
    assert talk.head_id == new["id"]
    assert [message["id"] for message in talk.page()["data"]] == [old["parent_id"], new["id"]]
    assert talk.ask("", {"head_id": old["id"]}, "PATCH").json["head_id"] == old["id"]
    assert [message["id"] for message in talk.page()["data"]] == [old["parent_id"], old["id"]]


def test_an_edited_question_begins_a_branch(server: LiveServer) -> None:
    talk = begin(server)
    first = talk.answered("One?")
    second = talk.answered("Two?")
    edited = talk.answered("Two, but otherwise?", parent_id=first["id"])
    assert [message["content"] for message in talk.page()["data"][::2]] == ["One?", "Two, but otherwise?"]
    places = talk.message(edited["parent_id"])["siblings"]
    assert places == [second["parent_id"], edited["parent_id"]]
    assert talk.ask("", {"head_id": second["parent_id"]}, "PATCH").json["head_id"] == second["id"]
    root = talk.answered("Begun anew?", parent_id=None)
    assert len(talk.message(root["parent_id"])["siblings"]) == 2


def test_two_models_are_compared(server: LiveServer) -> None:
    talk = begin(server)
    _, [left, right] = talk.question(models=[MODEL, "v13"])
    assert right["compared_with"] == left["id"]
    left, right = talk.ended(left["id"]), talk.ended(right["id"])
    assert (left["model"], right["model"]) == (MODEL, "v13")
    page = talk.page()
    assert [message["id"] for message in page["data"]] == [left["parent_id"], left["id"]]
    assert page["compared"] == [right]
    talk.answered("Go on with this one.", parent_id=right["id"])
    page = talk.page()
    assert [message["id"] for message in page["data"]][:2] == [right["parent_id"], right["id"]]
    assert page["compared"] == [left]


def test_one_answer_of_a_place_at_a_time(server: LiveServer) -> None:
    talk = begin(server, **LONG)
    question, [answer] = talk.question()
    for path, body in (
        ("/answers", {"question_id": question["id"]}),
        ("/questions", {"content": "And then?", "parent_id": answer["id"]}),
        (f"/answers/{answer['id']}/continue", b""),
    ):
        reply = talk.ask(path, body, "POST")
        assert (reply.status, reply.json["type"]) == (409, "conversation_busy"), path
    other = talk.post("/answers", {"question_id": question["id"], "model": "v13"})
    for one in (answer, other):
        talk.post(f"/answers/{one['id']}/stop")


def test_a_user_has_so_many_answers_written_at_once(server: LiveServer) -> None:
    talk = begin(server, **LONG)
    begun = [talk.question(parent_id=None)[1][0]["id"] for _ in range(8)]
    reply = talk.ask("/questions", {"content": "One more?"}, "POST")
    assert (reply.status, reply.json["type"]) == (429, "rate_limited")
    assert "8 of your answers" in reply.json["message"]
    assert int(reply.headers["retry-after"]) >= 1
    for answer_id in begun:
        talk.post(f"/answers/{answer_id}/stop")
    assert talk.answered()["completion_tokens"] > 8
    wait_until_nothing_is_held(server)


def test_a_refused_prompt_keeps_the_question(server: LiveServer) -> None:
    talk = begin(server, model="embedder")
    failed = talk.answered("Can you write?")
    assert (failed["state"], failed["problem"], failed["content"]) == ("failed", "invalid_request_error", "")
    answer = talk.post("/answers", {"question_id": failed["parent_id"], "model": MODEL})
    assert talk.ended(answer["id"])["state"] == "done"
    unknown = talk.post("/answers", {"question_id": failed["parent_id"], "model": "nothing"})
    assert talk.ended(unknown["id"])["problem"] == "invalid_model"
    too_long = begin(server).answered("The wind blows. " * 1000)
    assert (too_long["state"], too_long["problem"]) == ("failed", "invalid_request_error")


def test_what_failed_is_no_part_of_what_follows(server: LiveServer) -> None:
    plain, talk = begin(server), begin(server)
    expected = plain.answered("Which wind?")["prompt_tokens"]
    failed = talk.ended(talk.question("A long question that fails. " * 20, models=["embedder"])[1][0]["id"])
    assert talk.answered("Which wind?", parent_id=failed["id"])["prompt_tokens"] == expected


def test_an_unknown_model_is_refused_where_it_is_set(server: LiveServer) -> None:
    reply = ask(server, CONVERSATIONS, {"model": "smal"})
    assert (reply.status, reply.json["type"]) == (404, "invalid_model")
    assert begin(server, model="").ask().json["model"] == MODEL
    assert begin(server).ask("", {"model": "nothing"}, "PATCH").status == 404


def test_settings_change_one_by_one(server: LiveServer) -> None:
    talk = begin(server, title="Winds", temperature=0.5, system_prompt="Answer in Provençal.")
    before = talk.ask().json
    after = talk.ask("", {"title": "Other winds"}, "PATCH").json
    assert after == {**before, "title": "Other winds"}
    assert talk.ask("", {"temperature": None, "title": None}, "PATCH").json == {**after, "temperature": None}


def test_deleting_stops_what_is_written(server: LiveServer) -> None:
    talk = begin(server, **LONG)
    _, [answer] = talk.question()
    reader = Following(talk, answer["id"])
    reader.next_of("delta")
    assert talk.ask(method="DELETE").status == 204
    assert talk.ask().status == 404
    wait_until_nothing_is_held(server)
    reader.hang_up()


def test_the_writing_of_an_answer_is_counted_and_logged_as_a_request(server: LiveServer) -> None:
    labels = {"route": "conversation answer", "status": "200"}
    before = total(server, "requests_total", **labels)
    begin(server).answered()
    assert total(server, "requests_total", **labels) == before + 1
    line = next(line for line in reversed(server.log) if line.get("route") == "conversation answer")
    assert (line["model"], line["completion_tokens"], line["finish_reason"]) == (MODEL, 8, "length")
    assert line["workspace"]
    assert line["credential"] == "TRAMONTANE_API_KEY"


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_documents_are_kept_as_text(server: LiveServer) -> None:
    text = f"{WINDS} Kept as text."
    document = upload(server, text, "winds.txt")
    assert (document["name"], document["num_characters"]) == ("winds.txt", len(text))
    assert ask(server, f"/v1/documents/{document['id']}").json == {**document, "text": text}
    assert upload(server, text, "winds.txt") == document  # the same file once more is the same document
    assert upload(server, text, "other.txt")["id"] != document["id"]
    assert ask(server, f"/v1/documents/{upload(server, text, 'other.txt')['id']}", method="DELETE").status == 204
    assert document in ask(server, "/v1/documents?query=WIND").json["data"]
    assert document not in ask(server, "/v1/documents?query=wind_").json["data"]
    page = ask(server, "/v1/documents?limit=1").json
    assert page["data"] == [document]
    assert (
        document not in ask(server, f"/v1/documents?limit=200&before={page['next']}").json["data"]
        if page["next"]
        else 1
    )
    assert ask(server, f"/v1/documents/{document['id']}", method="DELETE").status == 204
    assert ask(server, f"/v1/documents/{document['id']}").json["type"] == "not_found"


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b"", 400, "document_empty"),
        (b"\x7fELF" + bytes(range(256)) * 4, 400, "document_unknown_kind"),
        (b"%PDF-1.7\nnothing of the kind", 400, "document_broken"),
    ],
    ids=["empty", "unknown", "broken"],
)
def test_what_gives_no_text_is_refused(server: LiveServer, content: bytes, status: int, kind: str) -> None:
    reply = ask(server, "/v1/documents?name=a", content, headers=RAW, method="POST")
    assert (reply.status, reply.json["type"]) == (status, kind), reply.text


def test_a_document_over_the_limit_is_refused_by_its_length_alone(server: LiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/v1/documents?name=a")
    connection.putheader("authorization", f"Bearer {server.key}")
    connection.putheader("content-length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read())["type"]) == (413, "document_too_large")
    connection.close()


def test_an_answer_quotes_its_documents(server: LiveServer) -> None:
    filler = "\n\n".join(f"On day {n} of the voyage nothing happened that anybody wrote down." for n in range(200))
    texts = [WINDS, f"{filler}\n\nThe lighthouse was built in 1847.\n\n{filler}"]
    documents = [upload(server, text, f"{number}.txt") for number, text in enumerate(texts)]
    talk = begin(server, document_ids=[document["id"] for document in documents], max_tokens=200, temperature=2)
    assert [document["id"] for document in talk.ask().json["documents"]] == [document["id"] for document in documents]
    answers: list[dict[str, Any]] = []
    while not any(answer["quotes"] for answer in answers) and len(answers) < 200:  # what is quoted is up to the weights
        _, asked = talk.question("When was the lighthouse built?", parent_id=None, models=["v11", "v13"])
        answers += [talk.ended(answer["id"]) for answer in asked]
    for answer in answers:
        assert answer["state"] == "done"
        assert [(given["number"], given["whole"]) for given in answer["given"]] == [(1, True), (2, False)]
        assert any("1847" in texts[1][span["start"] : span["end"]] for span in answer["given"][1]["passages"])
        assert_quotes(answer, {document["id"]: text for document, text in zip(documents, texts, strict=True)})
    quoting = next(answer for answer in answers if answer["quotes"])
    assert talk.ask(f"/answers/{quoting['id']}/continue", b"", "POST").json["type"] == "nothing_to_continue"
    for document in documents:
        assert ask(server, f"/v1/documents/{document['id']}", method="DELETE").status == 204
    talk.ask("", {"head_id": quoting["id"]}, "PATCH")
    assert {quote["document_id"] for quote in talk.message(quoting["id"])["quotes"]} == {None}
    assert talk.ask().json["documents"] == []


def assert_quotes(answer: dict[str, Any], texts: dict[str, str]) -> None:
    """Each quotation is what the spans of its document say, but for white space and the gaps between them."""
    for quote in answer["quotes"]:
        said = answer["content"][quote["text_start"] : quote["text_end"]]
        spans = [texts[quote["document_id"]][span["start"] : span["end"]] for span in quote["spans"]]
        assert spans
        gap = r"[\[…\] ]*"
        words = [re.escape(" ".join(span.split())) for span in spans]
        assert re.fullmatch(gap + gap.join(words) + gap, said), (said, spans)


def test_a_conversation_has_so_many_documents(server: LiveServer) -> None:
    reply = ask(server, CONVERSATIONS, {"document_ids": [f"{number:032x}" for number in range(101)]})
    assert (reply.status, reply.json["type"]) == (400, "too_many_documents")
    reply = ask(server, CONVERSATIONS, {"document_ids": ["x"]})
    assert (reply.status, reply.json["type"]) == (404, "not_found")


# ── shares, exports, presets ────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_shows_one_branch_until_it_is_revoked(server: LiveServer) -> None:
    document = upload(server, "The secret annex of this document. " + WINDS)
    talk = begin(server, document_ids=[document["id"]], max_tokens=120)
    answer = talk.answered("Which wind is cold?")
    share = talk.post("/shares")
    talk.answered("What came later?")
    token = share["path"].removeprefix("/shared/")
    assert len(token) >= 32
    shown = ask(server, f"/v1/shared/{token}", key=None)
    assert shown.status == 200
    assert [message["content"] for message in shown.json["data"]] == ["Which wind is cold?", answer["content"]]
    owner = ask(server, "/v1/me").json
    for hidden in (document["id"], owner["user_id"], owner["workspace_id"], talk.id, "What came later", "secret annex"):
        assert hidden not in shown.text.replace(answer["content"], "") or hidden in answer["content"]
    assert talk.ask().json["shares"] == [{name: share[name] for name in ("id", "created_at", "head_id")}]
    assert token not in talk.ask().text
    assert token not in server.stderr.read_text()
    assert ask(server, f"/v1/shared/{token[:-1]}", key=None).json["type"] == "not_found"
    assert talk.ask(f"/shares/{share['id']}", method="DELETE").status == 204
    assert ask(server, f"/v1/shared/{token}", key=None).status == 404
    assert talk.ask(f"/shares/{share['id']}", method="DELETE").status == 404
    assert begin(server).ask("/shares", b"", "POST").status == 400


def test_a_conversation_is_exported(server: LiveServer) -> None:
    talk = begin(server, title="Winds / & “quotes”")
    first = talk.answered("Which wind?")
    talk.answered("Which wind, again?", parent_id=None)
    reply = talk.ask("/export")
    assert reply.headers["content-disposition"].startswith("attachment; ")
    exported = json.loads(reply.text)
    assert exported["conversation"]["title"] == "Winds / & “quotes”"
    assert len(exported["messages"]) == 4
    assert exported["messages"][1] == first
    reply = talk.ask("/export?format=markdown")
    assert reply.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "# Winds / & “quotes”\n\n## Question\n\nWhich wind, again?\n\n## Answer (small)" in reply.text
    assert "## Question\n\nWhich wind?" not in reply.text


def test_presets_are_kept(server: LiveServer) -> None:
    made = ask(server, "/v1/presets", {"name": "b", "system_prompt": "Be brief.", "temperature": 0.1}).json
    other = ask(server, "/v1/presets", {"name": "A"}).json
    assert ask(server, "/v1/presets").json["data"] == [other, made]
    changed = ask(server, f"/v1/presets/{made['id']}", {"temperature": None, "max_tokens": 7}, method="PATCH").json
    assert changed == {**made, "temperature": None, "max_tokens": 7}
    for preset in (made, other):
        assert ask(server, f"/v1/presets/{preset['id']}", method="DELETE").status == 204
    assert ask(server, "/v1/presets").json["data"] == []


# ── texts of any kind ───────────────────────────────────────────────────────────────────────────────────────────────


def test_text_that_no_database_keeps_is_kept_as_far_as_it_can_be(server: LiveServer) -> None:
    odd = b'{"content": "nul \\u0000 whole \\ud83c\\udf2c", "parent_id": null}'
    talk = begin(server, title="nul \x00")
    assert talk.ask().json["title"] == "nul \ufffd"
    question = talk.post("/questions", odd)["question"]
    assert question["content"] == "nul \ufffd whole 🌬"
    assert talk.ask("/questions", b'{"content": "half \\ud83d"}', "POST").status == 422
    for path in ("/%00", "/x", "/..", f"/{talk.id[:-1]}%ff"):
        assert ask(server, CONVERSATIONS + path).status == 404
    assert ask(server, CONVERSATIONS, b'{"tools": [{"a": NaN}]}').status == 400


@pytest.mark.parametrize("depth", [70, 300, 900])
def test_what_is_nested_too_deeply_is_not_kept(server: LiveServer, depth: int) -> None:
    nested = b'{"tools": [' + b'{"a": ' * depth + b"1" + b"}" * depth + b"]}"
    talk = begin(server)
    for reply in (ask(server, CONVERSATIONS, nested), talk.ask("", nested, "PATCH")):
        assert (reply.status, reply.json["type"]) == (400, "invalid_request_error")
    assert talk.ask().json["tools"] == []


def test_tools_have_so_many_bytes(server: LiveServer) -> None:
    reply = ask(server, CONVERSATIONS, {"tools": [{"description": "é" * 100_000}]})
    assert (reply.status, reply.json["param"]) == (400, "tools")


def test_an_upload_that_is_given_up_is_no_failure(server: LiveServer) -> None:
    head = f"POST {UPLOAD_PATH}?name=a.txt HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{head}content-length: 100000\r\n\r\nThe beginning".encode())

    def given_up() -> list[dict[str, Any]]:
        return [line for line in server.log if line.get("route") == UPLOAD_PATH and line.get("status") == 499]

    wait_for(given_up, "the upload that was given up", PATIENCE)


def test_nothing_of_a_conversation_is_logged(server: LiveServer) -> None:
    talk = begin(server, title=CANARY, system_prompt=CANARY, document_ids=[upload(server, CANARY)["id"]])
    talk.answered(CANARY)
    failing = begin(server, model="embedder", title=CANARY)
    failing.answered(CANARY)
    ask(server, "/v1/presets", {"name": CANARY, "system_prompt": CANARY})
    ask(server, f"/v1/documents?name={CANARY.replace(' ', '+')}", b"%PDF-1.4 " + CANARY.encode(), headers=RAW)
    quoted = CANARY.replace(" ", "%20")
    assert ask(server, f"{CONVERSATIONS}?query={quoted}").json["data"][0]["title"] == CANARY
    ask(server, f"/v1/documents?query={quoted}")
    talk.ask("/questions", {"content": CANARY, "parent_id": CANARY}, "POST")
    talk.ask("", {"title": CANARY * 99}, "PATCH")
    assert CANARY not in server.stderr.read_text()
    assert quoted not in server.stderr.read_text()
    assert CANARY not in str(metrics(server))


def test_talks_are_listed_newest_first(server: LiveServer) -> None:
    older, newer = begin(server), begin(server)
    older.answered("Does asking bring it to the top?")
    listed = [one["id"] for one in ask(server, f"{CONVERSATIONS}?limit=2").json["data"]]
    assert listed == [older.id, newer.id]
    assert isinstance(older, Talk)
