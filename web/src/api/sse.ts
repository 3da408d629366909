// Server-sent events out of a body, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them.

export interface ServerEvent {
  event: string;
  data: string;
}

/** The events of a stream of bytes; an event that was cut off at the end is none. `heard` is called for whatever comes, comments too. */
export async function* serverEvents(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let event: ServerEvent = { event: "message", data: "" };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split(/\r\n|\n|\r(?!$)/); // a final \r may be the first half of \r\n
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line !== "") addLine(event, line);
        else {
          if (event.data !== "") yield { ...event, data: event.data.slice(0, -1) };
          event = { event: "message", data: "" };
        }
      }
    }
  } finally {
    reader.cancel().catch(() => undefined); // lets go of the connection when nobody reads on
  }
}

function addLine(event: ServerEvent, line: string): void {
  const colon = line.indexOf(":");
  if (colon === 0) return; // a comment, sent to keep the connection alive
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (name === "event") event.event = value;
  if (name === "data") event.data += `${value}\n`;
}
