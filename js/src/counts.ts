import { effect } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { Facet, Key } from "./protocol";
import type { Session } from "./session";

/** While answers come, they are counted anew at most this often. */
export const COUNT_MS = 1000;

/** What stands under some keys, counted anew when something else is shown or rows have changed. */
export function useFacets(session: Session, keys: Key[]): ReadonlyMap<Key, Facet> {
  const [facets, setFacets] = useState<ReadonlyMap<Key, Facet>>(new Map());
  const wanted = keys.join("\n");
  useEffect(() => {
    if (keys.length === 0) return;
    let live = true;
    let at = 0;
    let timer: ReturnType<typeof setTimeout> | null = null;
    const ask = (): void => {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      at = Date.now();
      session.facets(keys).then((message) => {
        if (!live) return;
        // Those that are open no longer stay, for when they are opened again.
        setFacets(
          (old) => new Map([...old, ...message.facets.map((one) => [one.key, one] as const)]),
        );
      });
    };
    let query: unknown = null;
    const stop = effect(() => {
      const shown = session.shown.value;
      // Read here, so that all of them are followed.
      const follows = [session.changes.value, session.prompts.value, shown.version];
      const other = JSON.stringify([shown.query, session.rowCount.value]);
      if (query !== other) ask();
      else if (follows) timer ??= setTimeout(ask, Math.max(0, at + COUNT_MS - Date.now()));
      query = other;
    });
    return () => {
      live = false;
      stop();
      if (timer !== null) clearTimeout(timer);
    };
  }, [session, wanted]);
  return facets;
}
