import { differs, nameOf, wordsOf } from "../answers";
import type { Row } from "../protocol";
import { Answer } from "./Answer";
import { BrokenPictureIcon, CheckIcon } from "./Icons";
import { type ItemProps, openRow } from "./items";
import { Retry } from "./Trouble";

/** One picture, its label, and its answers. */
export function Tile(props: ItemProps) {
  const { session, settings, position, count, x, y, inTabOrder, editing, onEdit } = props;
  const id = session.idAt(position).value;
  const row = id === null ? null : session.row(id).value;
  const prompts = session.prompts.value;
  const columns = session.columns.value;
  // What a row has of cells comes from the kernel; before it is there, one for every prompt.
  const cells = row?.cells ?? prompts.map(() => null);
  const tabIndex = inTabOrder ? 0 : -1;
  const marked = session.comparing.value && differs(row);
  return (
    <div
      class={`tile${row?.error ? " tile-error" : ""}${row?.selected ? " tile-selected" : ""}`}
      role="listitem"
      data-index={position}
      data-row={id ?? undefined}
      tabIndex={tabIndex}
      aria-setsize={count}
      aria-label={nameOf(row, position, prompts) + (row?.selected ? "; selected" : "")}
      aria-posinset={position + 1}
      aria-busy={isBusy(row)}
      style={{ transform: `translate(${x}px, ${y}px)` }}
    >
      <Picture {...props} id={id} row={row} tabIndex={tabIndex} />
      <Pick {...props} row={row} tabIndex={tabIndex} />
      <div class="body">
        <div class="label" title={row?.label}>
          {row ? row.label : <span class="bone bone-label" />}
        </div>
        {!row?.error &&
          settings.shownColumns(columns).map((k) => (
            <div
              key={columns[k]?.name}
              class={`value value-${columns[k]?.kind}`}
              title={`${columns[k]?.name}: ${row?.values[k] ?? "—"}`}
            >
              <span class="valuename">{columns[k]?.name}</span>{" "}
              <span class="valuetext">{row?.values[k]}</span>
            </div>
          ))}
        {!row?.error &&
          cells.map((cell, k) => (
            <Answer
              // Another row in this place has nothing of the one before.
              key={`${id}:${k}`}
              session={session}
              row={id}
              index={k}
              cell={cell}
              column={prompts[k]}
              differs={marked}
              tabIndex={tabIndex}
              editing={editing?.row === id && editing?.cell === k ? editing.part : null}
              onEdit={onEdit}
            />
          ))}
      </div>
    </div>
  );
}

/** Whether something of a row is still to come. */
export function isBusy(row: Row | null): boolean {
  if (row?.error) return false;
  return row?.cells.some(({ state }) => state === "waiting" || state === "running") ?? true;
}

interface PickProps extends Pick<ItemProps, "session" | "position" | "onPick"> {
  row: Row | null;
  tabIndex: number;
}

/** The box that selects a row. */
export function Pick({ position, onPick, row, tabIndex }: PickProps) {
  const selected = row?.selected ?? false;
  return (
    <button
      type="button"
      class="pick"
      role="checkbox"
      aria-checked={selected}
      aria-label={`select ${row?.label ?? ""}`}
      title="select (x); with Shift all from the last one"
      tabIndex={tabIndex}
      disabled={!row}
      onClick={(event) => onPick(position, event.shiftKey)}
    >
      {selected && <CheckIcon />}
    </button>
  );
}

interface PictureProps extends Pick<ItemProps, "session" | "position" | "onPick"> {
  id: number | null;
  row: Row | null;
  tabIndex: number;
}

export function Picture({ session, position, onPick, id, row, tabIndex }: PictureProps) {
  const thumb = id === null ? null : session.thumb(id).value;
  const error = row?.error ?? (thumb && "error" in thumb ? thumb.error : null);
  if (error !== null && id !== null) {
    return (
      <div class="picture picture-error">
        <BrokenPictureIcon />
        <p class="message" title={error}>
          {error}
        </p>
        <Retry session={session} row={id} tabIndex={tabIndex} of={row} />
      </div>
    );
  }
  const onClick = (event: MouseEvent): void => {
    if (id === null) return;
    if (event.shiftKey || event.ctrlKey || event.metaKey) {
      event.preventDefault();
      onPick(position, event.shiftKey);
    } else openRow(event.currentTarget as Element, id, position);
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Enter on the tile does the same
    // biome-ignore lint/a11y/useKeyWithClickEvents: as above
    <div class="picture" onClick={onClick}>
      {thumb && "url" in thumb && (
        <img src={thumb.url} alt={altText(row)} draggable={false} decoding="async" />
      )}
      {row !== null && row.duplicates > 0 && (
        <span class="badge" title={others(row.duplicates)}>
          +{row.duplicates}
        </span>
      )}
    </div>
  );
}

/** What is said of a picture to who cannot see it: a person's words, the model's, or its name. */
function altText(row: Row | null): string {
  return row?.cells.map(wordsOf).find(Boolean) ?? row?.label ?? "";
}

function others(duplicates: number): string {
  return duplicates === 1
    ? "another row holds the same picture"
    : `${duplicates} other rows hold the same picture`;
}
