// Files on their way to the server, where their text is read.
import { ApiError } from "../api/client";
import { m } from "../i18n";
import { notices } from "./notices.svelte";
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

export class Uploads {
  current = $state<Upload[]>([]);
  private nextKey = 0;

  get areRunning(): boolean {
    return this.current.some((upload) => upload.problem === null);
  }

  /**
   * Sends files, a few at a time; the documents are handed on in the order of their files, each as soon as it is read.
   * What fails stays in `current`, with its reason. Returns how many were handed on.
   */
  async send(files: File[], done: (document: DocumentHead) => Promise<void> | void): Promise<number> {
    if (files.length > MOST_AT_ONCE) notices.say(m.file_too_many({ count: MOST_AT_ONCE }), "problem");
    const waiting = files.slice(0, MOST_AT_ONCE).map((file) => ({ file, upload: this.note(file.name) }));
    let handedOn: Promise<number> = Promise.resolve(0);
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const reading = this.read(next.file, next.upload);
        const before = handedOn;
        const { upload } = next;
        handedOn = reading.then(async (document) => {
          const count = await before;
          if (document === null) return count;
          this.dismiss(upload);
          await done(document);
          return count + 1;
        });
        await reading;
      }
    };
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work));
    return handedOn;
  }

  dismiss(upload: Upload): void {
    this.current = this.current.filter((other) => other.key !== upload.key);
  }

  private note(name: string): Upload {
    const upload = { key: this.nextKey++, name, problem: null };
    this.current = [...this.current, upload];
    return upload;
  }

  private async read(file: File, upload: Upload): Promise<DocumentHead | null> {
    try {
      if (file.size > MOST_BYTES) throw new ApiError(413, "document_too_large", file.name);
      if (!(await isReadable(file))) throw new ApiError(400, "document_broken", file.name);
      return await server.upload(file);
    } catch (problem) {
      this.current = this.current.map((other) => (other.key === upload.key ? { ...other, problem } : other));
      return null;
    }
  }
}

/** False for a folder that was dropped, and for a file that is no longer there. */
async function isReadable(file: File): Promise<boolean> {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Of the library; a conversation has its own. */
export const libraryUploads = new Uploads();
