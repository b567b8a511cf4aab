import { count as words } from "./format";

/** Where a picture stands among what is shown. */
export interface Place {
  /** From 0 on. One that is gone stands before the picture of this position, where it was. */
  position: number;
  /** How many are shown. */
  count: number;
  /** Whether it is not shown any more. */
  gone?: boolean | undefined;
}

export const isFirst = ({ position }: Place): boolean => position <= 0;

export const isLast = ({ position, count, gone }: Place): boolean =>
  position >= count - (gone ? 0 : 1);

/** The position of a neighbour: `by` is 1 for the next and -1 for the one before. */
export const neighbour = ({ position, gone }: Place, by: number): number =>
  position + (gone && by > 0 ? by - 1 : by);

export const placeText = ({ position, count, gone }: Place): string =>
  gone ? "not among those shown" : `${words(position + 1)} of ${words(count)}`;
