"""A conversation as a text to read elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from tramontane.conversations.tables import Conversation, ConversationMessage


def as_markdown(conversation: Conversation, branch: Sequence[ConversationMessage]) -> str:
    """A branch as Markdown: a heading for each message, then what was said as it was said."""
    parts = [f"# {conversation.title or 'Conversation'}"]
    for message in branch:
        heading = "Question" if message.author == "user" else f"Answer ({message.model})"
        parts += [f"## {heading}", message.content.strip()]
        names = {given["number"]: given["name"] for given in message.given}
        quoted = sorted({quote["number"] for quote in message.quotes})
        if quoted:
            parts.append("\n".join(f"- [{number}] {names.get(number, '')}".rstrip() for number in quoted))
        parts += [f"```json\n{call['name']}({call['arguments']})\n```" for call in message.tool_calls]
    return "\n\n".join(part for part in parts if part) + "\n"
