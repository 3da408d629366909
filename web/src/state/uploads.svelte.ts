// Files on their way to the server, where their text is read.
import * as server from "./server";
import type { DocumentHead } from "./server";

/** What fits one request; the server says the same. */
export const MOST_BYTES = 32 * 2 ** 20;
export const MOST_AT_ONCE = 100;
const SIDE_BY_SIDE = 3;

export interface Upload {
  key: number;
  name: string;
  problem: unknown;
}

/** A file that is refused before it is sent. */
export class FileTooLarge extends Error {}

class Uploads {
  current = $state<Upload[]>([]);
  private nextKey = 0;

  get areRunning(): boolean {
    return this.current.some((upload) => upload.problem === null);
  }

  /** Sends files, a few at a time; each document is handed on as soon as it is read. What fails stays, with its reason. */
  async send(files: File[], done: (document: DocumentHead) => Promise<void> | void): Promise<void> {
    const waiting = files.slice(0, MOST_AT_ONCE).map((file) => ({ file, upload: this.note(file.name) }));
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        try {
          if (next.file.size > MOST_BYTES) throw new FileTooLarge(next.file.name);
          const document = await server.upload(next.file);
          this.dismiss(next.upload);
          await done(document);
        } catch (error) {
          const { key } = next.upload;
          this.current = this.current.map((upload) => (upload.key === key ? { ...upload, problem: error } : upload));
        }
      }
    };
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work));
  }

  private note(name: string): Upload {
    const upload = { key: this.nextKey++, name, problem: null };
    this.current = [...this.current, upload];
    return upload;
  }

  dismiss(upload: Upload): void {
    this.current = this.current.filter((other) => other.key !== upload.key);
  }
}

export const uploads = new Uploads();
