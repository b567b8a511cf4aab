import type { Colours } from "./map";

/** The bytes of rows with another value than those that are named, and with none. */
export const OTHERS = 254;
export const NONE = 255;

/**
 * Colours that are told from each other on light and on dark: Observable's, without its grey and
 * brown (https://observablehq.com/blog/crafting-data-colors).
 */
export const PALETTE = [
  "#4269d0",
  "#efb118",
  "#ff725c",
  "#6cc5b0",
  "#a463f2",
  "#3ca951",
  "#ff8ab7",
  "#97bbf5",
];

/** From the smallest number to the largest; both ends stand out from light and from dark. */
export const RAMP = ["#4269d0", "#2f9fa8", "#63b35c", "#efb118", "#f2643d"];

/** The colour of each byte that a row may have; `colourOf` reads one of the style sheet's. */
export function tableOf(
  { min }: Pick<Colours, "min">,
  colourOf: (css: string) => number,
  { others, none }: { others: string; none: string },
): Uint32Array {
  const table = new Uint32Array(256);
  if (min === null) table.set(PALETTE.map(colourOf));
  else {
    const stops = RAMP.map(colourOf);
    for (let k = 0; k < OTHERS; k++) {
      const at = (k / (OTHERS - 1)) * (stops.length - 1);
      const before = Math.min(stops.length - 2, Math.floor(at));
      table[k] = mixed(stops[before] ?? 0, stops[before + 1] ?? 0, at - before);
    }
  }
  table[OTHERS] = colourOf(others);
  table[NONE] = colourOf(none);
  return table;
}

function mixed(one: number, other: number, share: number): number {
  let found = 0;
  for (const bits of [0, 8, 16]) {
    const [a, b] = [(one >> bits) & 255, (other >> bits) & 255];
    found |= Math.round(a + (b - a) * share) << bits;
  }
  return found;
}
