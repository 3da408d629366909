"""A conversation in the terminal: what was said, the commands that change it, and answers as they come."""

from __future__ import annotations

import json
import math
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tramontane.cli.terminal import notes, plain
from tramontane.errors import TramontaneError
from tramontane.gateway.answers import Answer, joined
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.base import Provider
from tramontane.gateway.requests import AnswerFormat, Chat, Generation, Sampling
from tramontane.tokenizer.documents import Document
from tramontane.tokenizer.tool_calls import Part, Text, Thinking

Message = dict[str, Any]


class ChatSession:
    """One conversation with one model."""

    def __init__(self, provider: Provider, model: str, system: str, temperature: float, max_tokens: int) -> None:
        self.ended = False
        self.messages: list[Message] = []
        self.documents: list[Document] = []
        self._gateway, self._model = Gateway([provider], Metrics()), model
        self._system, self._temperature, self._max_tokens = system, temperature, max_tokens
        self._answer = Answer(1)
        self._commands: dict[str, tuple[str, str, Callable[[str], None]]] = {
            "help": ("", "list the commands", self._help),
            "new": ("", "forget the conversation", self._new),
            "undo": ("", "take back the last question and its answer", self._undo),
            "system": ("TEXT", "change the system prompt; nothing removes it", self._set_system),
            "temperature": ("NUMBER", "0 to 2; 0 always takes the likeliest token", self._set_temperature),
            "max": ("NUMBER", "tokens of an answer at most", self._set_max_tokens),
            "document": ("FILE", "answer from this text, by verbatim quotes; nothing removes all", self._set_document),
            "history": ("", "show the conversation", self._history),
            "save": ("FILE", "write the conversation to a new file, as JSON", self._save),
            "quit": ("", "end", self._quit),
        }

    async def take(self, said: str) -> None:
        """Answers a message, or carries out a command: `/again` writes the last answer anew."""
        if not said:
            return
        if said == "/again":
            if len(self.messages) < 2:
                raise TramontaneError("There is no answer to be written again.")
            del self.messages[-1]
        elif said.startswith("/"):
            self._command(said)
            return
        else:
            self.messages.append({"role": "user", "content": said})
        try:
            await self._reply()
        except TramontaneError:
            del self.messages[-1]  # what cannot be answered is not part of the conversation
            raise

    def interrupted(self) -> None:
        """Ctrl-C: what was written until then is the answer."""
        print()
        notes.print("Stopped.", style="dim")
        if self.messages and self.messages[-1]["role"] == "user":  # else nothing was being answered
            self._keep_answer()

    def attach(self, path: Path) -> None:
        """Adds a document to answer from."""
        try:
            self.documents.append(Document(path.read_text(encoding="utf-8"), title=path.name))
        except (OSError, UnicodeDecodeError) as error:
            raise TramontaneError(f"{path} cannot be read as text: {error}.") from error

    async def _reply(self) -> None:
        self._answer, exchange = Answer(1), Exchange(uuid.uuid4().hex)
        system = [{"role": "system", "content": self._system}] if self._system else []
        prompt = Chat(
            [*system, *self.messages],
            documents=tuple(self.documents),
            format=AnswerFormat("quotes" if self.documents else "text"),
        )
        sampling = Sampling(temperature=self._temperature, max_tokens=self._max_tokens)
        stream = await self._gateway.generate(None, self._model, Generation(exchange.id, prompt, sampling), exchange)
        try:
            async for event in stream:
                self._answer.add(event)
                _show(event.parts)
        finally:
            await stream.aclose()
        print()
        self._keep_answer()
        _sum_up(exchange)

    def _keep_answer(self) -> None:
        content = self._answer.choices[0].text
        if content:
            self.messages.append({"role": "assistant", "content": content})
        elif self.messages and self.messages[-1]["role"] == "user":
            del self.messages[-1]  # stopped before the first word: as if it had not been asked

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _command(self, said: str) -> None:
        name, _, argument = said[1:].partition(" ")
        if name not in self._commands:
            raise TramontaneError(f"There is no command /{plain(name)}; /help lists them.")
        self._commands[name][2](argument.strip())

    def _help(self, _: str) -> None:
        for name, (argument, meaning, _call) in self._commands.items():
            print(f"  /{name + (' ' + argument if argument else ''):<20} {meaning}")
        print(f"  {'/again':<21} write the last answer anew")
        print("A line that ends with \\ goes on with the next. Ctrl-C stops an answer.")

    def _new(self, _: str) -> None:
        self.messages = []

    def _undo(self, _: str) -> None:
        if not self.messages:
            raise TramontaneError("There is nothing to take back.")
        del self.messages[-2:]

    def _set_system(self, text: str) -> None:
        self._system = text

    def _set_temperature(self, text: str) -> None:
        value = _number(text)
        if not 0 <= value <= 2:
            raise TramontaneError("The temperature lies between 0 and 2.")
        self._temperature = value

    def _set_max_tokens(self, text: str) -> None:
        value = _number(text)
        if not math.isfinite(value) or value < 1 or value != int(value):
            raise TramontaneError("The number of tokens is a whole number from 1.")
        self._max_tokens = int(value)

    def _set_document(self, path: str) -> None:
        if path:
            self.attach(Path(path).expanduser())
        else:
            self.documents = []

    def _history(self, _: str) -> None:
        for message in self.messages:
            print(f"{message['role']}: {plain(message['content'])}")

    def _save(self, path: str) -> None:
        if not path:
            raise TramontaneError("Name the file: /save FILE.")
        try:
            with Path(path).expanduser().open("x", encoding="utf-8") as file:
                json.dump({"model": self._model, "messages": self.messages}, file, ensure_ascii=False, indent=2)
        except OSError as error:
            raise TramontaneError(f"{path} cannot be written: {error.strerror}.") from error

    def _quit(self, _: str) -> None:
        self.ended = True


def _show(parts: list[Part]) -> None:
    """Prints what an event adds; thoughts are dim where the terminal can."""
    for part in joined(parts):
        if isinstance(part, Thinking):
            notes.print(plain(part.text), style="dim italic", end="", markup=False, highlight=False)
        elif isinstance(part, Text):
            sys.stdout.write(plain(part.text))
            sys.stdout.flush()


def _sum_up(exchange: Exchange) -> None:
    rate = f", {exchange.tokens_per_second:.1f} tokens/s" if exchange.tokens_per_second else ""
    first = f", the first after {exchange.time_to_first_token:.2f} s" if exchange.time_to_first_token else ""
    cut = " The answer was cut at its limit; /max raises it." if "length" in exchange.finish_reasons else ""
    cached = f" ({exchange.cached_tokens} cached)" if exchange.cached_tokens else ""
    notes.print(
        f"{exchange.prompt_tokens} prompt tokens{cached}, {exchange.completion_tokens} written{first}{rate}.{cut}",
        style="dim",
        highlight=False,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TramontaneError(f"{plain(text)!r} is not a number.") from None
