// Which command a key stands for. Ctrl, or ⌘ on Apple's keyboards; nothing that browsers keep for themselves.

export type Command = "search" | "new" | "help" | "focus" | "attach" | "copy" | "escape";

export const MODIFIER = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘" : "Ctrl";

export const KEYS: Record<Command, string[]> = {
  search: [MODIFIER, "K"],
  new: [MODIFIER, "Shift", "O"],
  focus: ["/"],
  attach: [MODIFIER, "Shift", "F"], // not U: with it Linux begins a character by its number
  copy: [MODIFIER, "Shift", "Y"],
  escape: ["Esc"],
  help: [MODIFIER, "/"],
};

export function shortcut(event: KeyboardEvent): Command | null {
  const key = event.key.toLowerCase();
  if (key === "escape") return "escape";
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) {
    if (event.shiftKey) return key === "o" ? "new" : key === "f" ? "attach" : key === "y" ? "copy" : key === "/" ? "help" : null;
    return key === "k" ? "search" : key === "/" ? "help" : null;
  }
  return key === "/" && !isTyping(event.target) ? "focus" : null;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
