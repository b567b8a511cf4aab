import { NO_QUERY } from "../protocol";
import type { Session } from "../session";

/** What stands where there are no rows to show, and why. */
export function Nothing({ session }: { session: Session }) {
  const { count, error } = session.shown.value;
  if (error !== null) {
    return (
      <p class="empty empty-error" role="alert">
        {error}
      </p>
    );
  }
  if (count > 0) return null;
  if (session.rowCount.value === 0) return <p class="empty">There are no pictures here.</p>;
  return (
    <p class="empty">
      Nothing matches.
      <button type="button" class="button" onClick={() => session.query(NO_QUERY)}>
        Show all
      </button>
    </p>
  );
}
