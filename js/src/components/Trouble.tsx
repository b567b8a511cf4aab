import { useEffect, useState } from "preact/hooks";
import type { Session } from "../session";
import { AlertIcon, RetryIcon } from "./Icons";

interface RetryProps {
  session: Session;
  row: number;
  tabIndex: number;
  /** What is to change before another try makes sense. */
  of: unknown;
}

/** Asks the kernel to try a row's errors again, and waits for it to have begun. */
export function Retry({ session, row, tabIndex, of }: RetryProps) {
  const [asked, setAsked] = useState(false);
  useEffect(() => setAsked(false), [of]);
  return (
    <button
      type="button"
      class="button retry"
      tabIndex={tabIndex}
      disabled={asked}
      onClick={(event) => {
        // The button goes when the answer comes, and takes no focus meanwhile.
        event.currentTarget.closest<HTMLElement>("[data-index]")?.focus({ preventScroll: true });
        setAsked(true);
        session.retry(row);
      }}
    >
      <RetryIcon />
      Retry
    </button>
  );
}

/** An error in the place of an answer. */
export function Failure({ message }: { message: string }) {
  return (
    <span class="failure" title={message}>
      <AlertIcon />
      <span class="message">{message}</span>
    </span>
  );
}
