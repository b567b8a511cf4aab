import { useLayoutEffect, useRef } from "preact/hooks";
import { keepKeys } from "../keys";
import type { Session, View } from "../session";
import { Grid } from "./Grid";
import { Announcer, Header } from "./Header";

/** One view of a gallery. */
export function Gallery({ session, view }: { session: Session; view: View }) {
  const root = useRef<HTMLElement>(null);
  useLayoutEffect(() => (root.current ? keepKeys(root.current) : undefined), []);
  return (
    <section ref={root} class="blip2-gallery" aria-label={session.title.value || "gallery"}>
      <Header session={session} />
      {session.silent.value && (
        <p class="banner" role="status">
          No answer from the kernel. It may be busy; if it was restarted, run the cell again.
        </p>
      )}
      <Grid session={session} view={view} />
      <Announcer session={session} />
    </section>
  );
}
