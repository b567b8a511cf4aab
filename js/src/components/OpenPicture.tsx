import { useEffect, useMemo, useState } from "preact/hooks";
import { neighbour } from "../place";
import type { Session } from "../session";
import { DetailView } from "./DetailView";
import type { Opened } from "./items";

interface OpenPictureProps {
  session: Session;
  opened: Opened;
  onOpen(opened: Opened): void;
  onClose(): void;
}

/** The side panel of the picture that was opened, and the way to its neighbours. */
export function OpenPicture({ session, opened, onOpen, onClose }: OpenPictureProps) {
  const { row } = opened;
  const { count, version, plain } = session.shown.value;
  // Where it stands may be elsewhere after every query; where it is not shown, it is where it was.
  const [goneRow, setGoneRow] = useState<number | null>(null);
  const gone = goneRow === row;
  const position = gone ? Math.min(opened.position, count) : opened.position;
  useEffect(() => {
    let live = true;
    session.placeOf(row).then((place) => {
      if (!live) return;
      setGoneRow(place === null ? row : null);
      if (place !== null && place !== opened.position) onOpen({ row, position: place });
    });
    return () => {
      live = false;
    };
  }, [session, row, version, plain]);
  useEffect(() => session.keep(row), [session, row]);
  // A view of its own: a neighbour may lie where the gallery draws nothing.
  const view = useMemo(() => session.open(), [session]);
  useEffect(() => () => view.close(), [view]);
  useEffect(() => {
    const near = { start: Math.max(0, position - 2), stop: Math.min(count, position + 3) };
    view.want({ drawn: near, seen: near, pixels: 512 });
  }, [view, position, count]);

  // Where a person has gone on to, until it is known which row stands there.
  const [going, setGoing] = useState<number | null>(null);
  const next = going === null ? null : session.idAt(going).value;
  useEffect(() => {
    if (going === null || next === null) return;
    setGoing(null);
    onOpen({ row: next, position: going });
  }, [going, next]);
  const move = (delta: number): void => {
    const from = going === null ? { position, count, gone } : { position: going, count };
    const to = neighbour(from, delta);
    if (to >= 0 && to < count) setGoing(to);
  };

  return (
    <DetailView
      view={view.id}
      details={session.details}
      rowId={row}
      row={session.row(row)}
      thumb={session.thumb(row)}
      columns={session.columns.value}
      prompts={session.prompts.value}
      position={position}
      count={count}
      gone={gone}
      history={session.history.value}
      takesFocus={true}
      onMove={move}
      onClose={onClose}
      onRetry={() => session.retry(row)}
    />
  );
}
