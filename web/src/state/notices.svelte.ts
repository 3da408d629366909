// Short notices at the edge of the window, and what screen readers are told.
import { problemText } from "./problems";

export interface Notice {
  key: number;
  text: string;
  kind: "info" | "problem";
}

const SHOWN_MILLISECONDS = 6000;
const SPOKEN_TOGETHER_MILLISECONDS = 700;

class Notices {
  current = $state<Notice[]>([]);
  spoken = $state("");
  private nextKey = 0;
  private unspoken: string[] = [];
  private speaking: number | undefined;

  say = (text: string, kind: Notice["kind"] = "info"): void => {
    const notice = { key: this.nextKey++, text, kind };
    this.current = [...this.current, notice];
    // A problem stays until it is dismissed: who reads slowly must be able to read it.
    if (kind === "info") window.setTimeout(() => this.dismiss(notice), SHOWN_MILLISECONDS);
  };

  fail = (error: unknown): void => this.say(problemText(error), "problem");

  dismiss(notice: Notice): void {
    this.current = this.current.filter((other) => other.key !== notice.key);
  }

  /** Heard, not seen. What comes within a moment is heard together: a region that changes too fast is not read out. */
  speak(text: string): void {
    this.unspoken.push(text);
    this.speaking ??= window.setTimeout(() => {
      this.spoken = this.unspoken.join(" ");
      this.unspoken = [];
      this.speaking = undefined;
    }, SPOKEN_TOGETHER_MILLISECONDS);
  }
}

export const notices = new Notices();
