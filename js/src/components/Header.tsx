import { useEffect, useRef, useState } from "preact/hooks";
import { focusedFrom, focusGallery } from "../focus";
import { announcement, count, isActive, next, plural, status } from "../format";
import type { Progress } from "../protocol";
import type { Session } from "../session";
import { AlertIcon, RetryIcon, StopIcon } from "./Icons";

/** What the gallery is of, how far its run is, and the way to stop it or to go on. */
export function Header({ session }: { session: Session }) {
  const progress = session.progress.value;
  const { state, failed, model, variant } = progress;
  const active = isActive(progress);
  const again = next(progress);
  const text = status(progress, session.rowCount.value);
  return (
    <header class="header">
      <div class="headline">
        <h2 class="title" title={session.title.value}>
          {session.title.value || "gallery"}
        </h2>
        {model && (
          <span class="model" title={variant ? `${model} · ${variant}` : model}>
            {model}
            {variant && <span class="variant"> · {variant}</span>}
          </span>
        )}
        {active && (
          <button
            type="button"
            class="button cancel"
            disabled={session.cancelling.value}
            onClick={(event) => {
              focusGallery(event.currentTarget);
              session.cancel();
            }}
          >
            <StopIcon />
            {session.cancelling.value ? "Cancelling…" : "Cancel"}
          </button>
        )}
        {again && (
          <button
            type="button"
            class="button again"
            onClick={(event) => {
              focusGallery(event.currentTarget);
              session.retryAll();
            }}
          >
            <RetryIcon />
            {again}
          </button>
        )}
      </div>
      <div class="statusline">
        <span class={`status status-${state}`} title={text}>
          {state === "failed" && <AlertIcon />}
          {text}
        </span>
        {failed > 0 && <span class="failures">{plural(failed, "error")}</span>}
      </div>
      <Bar progress={progress} text={text} />
    </header>
  );
}

function Bar({ progress, text }: { progress: Progress; text: string }) {
  const { state, done, failed, total } = progress;
  if (state === "idle") return <div class="bar-rest" />;
  const known = total > 0 && (state !== "loading" || done > 0);
  const share = (value: number) => `${total > 0 ? (100 * Math.min(value, total)) / total : 0}%`;
  return (
    <div
      class={`bar bar-${state}${known || state === "failed" ? "" : " bar-unknown"}`}
      role="progressbar"
      aria-label={progress.counted}
      aria-valuemin={0}
      aria-valuemax={total}
      aria-valuenow={known ? done : undefined}
      aria-valuetext={text}
    >
      <div class="share-done" style={{ width: share(done - failed) }} />
      <div class="share-failed" style={{ width: share(failed) }} />
    </div>
  );
}

/** Tells a screen reader when a run starts and ends, what a query has found, and of reviews. */
export function Announcer({ session }: { session: Session }) {
  const progress = session.progress.value;
  const [told, setTold] = useState({ text: "", number: 0 });
  const setText = (text: string): void => setTold(({ number }) => ({ text, number: number + 1 }));
  const before = useRef(progress.state);
  useEffect(() => {
    if (before.current === progress.state) return;
    before.current = progress.state;
    const words = announcement(progress);
    if (words) setText(words);
  }, [progress]);
  const { count: shown, query } = session.shown.value;
  const asked = JSON.stringify(query);
  const last = useRef(asked);
  useEffect(() => {
    if (last.current === asked) return;
    last.current = asked;
    setText(`${count(shown)} shown.`);
  }, [asked]);
  // Once, and not of what was done before this view was there or in another one.
  const place = useRef<HTMLDivElement>(null);
  const done = session.details.done.value;
  const heard = useRef(done);
  useEffect(() => {
    if (done === null || heard.current === done) return;
    heard.current = done;
    const gallery = place.current?.closest(".blip2-gallery");
    if (gallery?.contains(focusedFrom(gallery))) setText(session.sayDone(done));
  }, [done]);
  return (
    <div ref={place} class="announcer" aria-live="polite">
      {/* Another element, so that the same words are said again. */}
      <span key={told.number}>{told.text}</span>
    </div>
  );
}
