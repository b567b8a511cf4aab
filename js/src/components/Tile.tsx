import type { Row } from "../protocol";
import type { Session } from "../session";
import { Answer } from "./Answer";
import { BrokenPictureIcon } from "./Icons";
import { Retry } from "./Trouble";

export interface TileProps {
  session: Session;
  index: number;
  rowCount: number;
  x: number;
  y: number;
  inTabOrder: boolean;
  /** The cell that is being edited, if it is one of this tile's. */
  editing: number | null;
  onEdit(row: number, cell: number | null): void;
}

/** One picture, its label, and its answers. */
export function Tile(props: TileProps) {
  const { session, index, x, y, inTabOrder, editing, onEdit } = props;
  const row = session.row(index).value;
  const prompts = session.prompts.value;
  const busy = row?.cells.some(({ state }) => state === "waiting" || state === "running") ?? true;
  // What a row has of cells comes from the kernel; before it is there, one for every prompt.
  const cells = row?.cells ?? prompts.map(() => null);
  const tabIndex = inTabOrder ? 0 : -1;
  return (
    <div
      class={row?.error ? "tile tile-error" : "tile"}
      role="listitem"
      data-index={index}
      tabIndex={tabIndex}
      aria-setsize={props.rowCount}
      aria-posinset={index + 1}
      aria-busy={busy && !row?.error}
      style={{ transform: `translate(${x}px, ${y}px)` }}
    >
      <Picture session={session} index={index} row={row} tabIndex={tabIndex} />
      <div class="body">
        <div class="label" title={row?.label}>
          {row ? row.label : <span class="bone bone-label" />}
        </div>
        {!row?.error &&
          cells.map((cell, k) => (
            <Answer
              key={k}
              session={session}
              row={index}
              index={k}
              cell={cell}
              column={prompts[k]}
              tabIndex={tabIndex}
              editing={editing === k}
              onEdit={onEdit}
            />
          ))}
      </div>
    </div>
  );
}

interface PictureProps {
  session: Session;
  index: number;
  row: Row | null;
  tabIndex: number;
}

function Picture({ session, index, row, tabIndex }: PictureProps) {
  const thumb = session.thumb(index).value;
  const error = row?.error ?? (thumb && "error" in thumb ? thumb.error : null);
  if (error !== null) {
    return (
      <div class="picture picture-error">
        <BrokenPictureIcon />
        <p class="message" title={error}>
          {error}
        </p>
        <Retry session={session} row={index} tabIndex={tabIndex} of={row} />
      </div>
    );
  }
  const answer = row?.cells.find((cell) => cell.state === "done" && cell.answer)?.answer;
  return (
    <div class="picture">
      {thumb && "url" in thumb && (
        <img src={thumb.url} alt={answer ?? row?.label ?? ""} draggable={false} decoding="async" />
      )}
    </div>
  );
}
