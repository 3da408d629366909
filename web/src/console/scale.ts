// Axes: where their lines are, and which of their labels are written.

/** Round numbers, evenly apart, from `least` or just below it to `most` or just above it; whole ones, as all that is counted here is whole. */
export function ticks(most: number, least = 0, count = 4): number[] {
  const rough = Math.max(most - least, 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = [1, 2, 2.5, 5, 10].map((factor) => factor * power);
  const step = round.find((candidate) => candidate >= rough && Number.isInteger(candidate)) ?? 1;
  const first = Math.floor(least / step);
  const last = Math.max(first + 1, Math.ceil(most / step));
  return Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step);
}

/** Which of `length` labels are written where there is room for `room` of them: the last always, and each so many before it. */
export function labelled(length: number, room: number): number[] {
  const every = Math.max(1, Math.ceil(length / Math.max(1, room)));
  const chosen: number[] = [];
  for (let at = length - 1; at >= 0; at -= every) chosen.unshift(at);
  return chosen;
}
