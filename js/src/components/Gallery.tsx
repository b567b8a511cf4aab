import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { focusGallery, focusTiles } from "../focus";
import { isTextField, keepKeys } from "../keys";
import type { Session, View } from "../session";
import { ViewSettings } from "../view";
import { Agreement } from "./Agreement";
import { ComparePictures } from "./ComparePictures";
import { Facets } from "./Facets";
import { Grid } from "./Grid";
import { Announcer, Header } from "./Header";
import { Help } from "./Help";
import { CrossIcon } from "./Icons";
import { OPEN, type Opened } from "./items";
import { MapPanel } from "./MapPanel";
import { OpenPicture } from "./OpenPicture";
import { PromptBar } from "./PromptBar";
import { Scores } from "./Scores";
import { Table } from "./Table";
import { ShownLine, Toolbar } from "./Toolbar";

/** One view of a gallery. */
export function Gallery({ session, view }: { session: Session; view: View }) {
  const root = useRef<HTMLElement>(null);
  const search = useRef<HTMLInputElement>(null);
  const [help, setHelp] = useState(false);
  const [opened, setOpened] = useState<Opened | null>(null);
  const [comparing, setComparing] = useState<number[] | null>(null);
  const settings = useMemo(() => {
    session.settings = new ViewSettings(session.settings);
    return session.settings;
  }, [session]);
  useLayoutEffect(() => (root.current ? keepKeys(root.current) : undefined), []);
  useLayoutEffect(() => {
    const open = (event: Event): void => setOpened((event as CustomEvent<Opened>).detail);
    const element = root.current;
    element?.addEventListener(OPEN, open);
    return () => element?.removeEventListener(OPEN, open);
  }, []);
  const mapState = session.map.state.value;
  // Another map was asked for: it opens, also where the one before was closed.
  const maps = mapState?.number;
  const seenMap = useRef(maps);
  useLayoutEffect(() => {
    if (maps !== seenMap.current) settings.map.value = true;
    seenMap.current = maps;
  }, [maps]);
  /** Closes the side panel; the focus goes back to the row that it was of, if that is drawn. */
  const close = (): void => {
    setOpened(null);
    const row = root.current?.querySelector<HTMLElement>(`[data-row="${opened?.row}"]`);
    if (row) row.focus();
    else if (root.current) {
      root.current.focus({ preventScroll: true });
      focusTiles(root.current);
    }
  };

  /** The keys of the whole gallery; those of a tile are heard before. */
  const onKeyDown = (event: KeyboardEvent): void => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.defaultPrevented || event.altKey || isTextField(event.target)) return;
    if (event.ctrlKey || event.metaKey) {
      if (key === "a") session.select("set", { positions: [0, session.shown.peek().count] });
      else if (key === "z" && !event.shiftKey) session.details.undo();
      else if (key === "z" || key === "y") session.details.redo();
      else return;
    } else if (key === "/") search.current?.focus();
    else if (key === "?") setHelp(true);
    else if (key === "Escape" && session.selectedCount.peek() > 0) {
      session.select("set", { rows: [] });
    } else if (root.current && event.target === root.current) {
      // Letters do nothing here: they may be the rest of what was typed into a row that has gone.
      event.stopPropagation();
      if (!key.startsWith("Arrow")) return;
      focusTiles(root.current);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <section
      ref={root}
      class="blip2-gallery"
      // Where the focus goes by a click beside all else, and when what had it is there no more.
      tabIndex={-1}
      aria-label={session.title.value || "gallery"}
      onKeyDown={onKeyDown}
    >
      <Header session={session} />
      {session.silent.value && (
        <p class="banner" role="status">
          No answer from the kernel. It may be busy; if it was restarted, run the cell again.
        </p>
      )}
      {session.notice.value && (
        <p class="banner banner-notice" role="alert">
          <span>{session.notice.value}</span>
          <button
            type="button"
            class="plain"
            aria-label="close"
            onClick={(event) => {
              focusGallery(event.currentTarget);
              session.notice.value = "";
            }}
          >
            <CrossIcon />
          </button>
        </p>
      )}
      <div class="tools">
        <PromptBar session={session} />
        <Toolbar
          session={session}
          settings={settings}
          search={search}
          onHelp={() => setHelp(true)}
        />
        <Agreement session={session} />
        <Scores session={session} />
        <ShownLine session={session} onCompare={() => setComparing(session.fewSelected.peek())} />
      </div>
      <div class="main">
        {settings.facets.value && <Facets session={session} settings={settings} />}
        {mapState && settings.map.value && (
          <MapPanel session={session} view={view} settings={settings} state={mapState} />
        )}
        {settings.table.value ? (
          <Table session={session} view={view} settings={settings} />
        ) : (
          <Grid session={session} view={view} settings={settings} />
        )}
        {opened && (
          <OpenPicture session={session} opened={opened} onOpen={setOpened} onClose={close} />
        )}
      </div>
      <Announcer session={session} />
      {comparing && (
        <ComparePictures
          details={session.details}
          items={comparing.map((rowId) => ({
            rowId,
            row: session.row(rowId),
            thumb: session.thumb(rowId),
          }))}
          prompts={session.prompts.value}
          onClose={() => setComparing(null)}
          onRemove={(rowId) => setComparing(comparing.filter((one) => one !== rowId))}
        />
      )}
      {help && <Help onClose={() => setHelp(false)} />}
    </section>
  );
}
