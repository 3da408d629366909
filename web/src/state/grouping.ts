// Conversations under the day on which something last happened in them.

export type Age = "today" | "yesterday" | "last_week" | "older";

const DAY = 24 * 3600 * 1000;

export function ageOf(moment: Date, now: Date): Age {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const time = moment.getTime();
  if (time >= midnight) return "today";
  if (time >= midnight - DAY) return "yesterday";
  if (time >= midnight - 7 * DAY) return "last_week";
  return "older";
}

/** The items in their order, cut into runs of one age. */
export function grouped<T>(items: T[], momentOf: (item: T) => Date, now: Date): { age: Age; items: T[] }[] {
  const groups: { age: Age; items: T[] }[] = [];
  for (const item of items) {
    const age = ageOf(momentOf(item), now);
    const last = groups.at(-1);
    if (last?.age === age) last.items.push(item);
    else groups.push({ age, items: [item] });
  }
  return groups;
}
