import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useState } from "preact/hooks";
import type { Details } from "../details";
import { plural } from "../format";
import type { Cell, Prompt, Row } from "../protocol";
import { type Look, WHOLE } from "../zoom";
import { Dialog } from "./Dialog";
import { CrossIcon } from "./Icons";
import { CloseKnob, ZoomKnobs } from "./Knobs";
import { lookOfKey, NO_PANE, type Pane, type ThumbLike, ZoomPane } from "./ZoomPane";

/** One of the pictures that are compared. */
export interface Compared {
  rowId: number;
  row: ReadonlySignal<Row | null>;
  thumb: ReadonlySignal<ThumbLike | null>;
}

export interface ComparePicturesProps {
  details: Details;
  /** Two to four. */
  items: Compared[];
  prompts: Prompt[];
  onClose(): void;
  /** Takes one out, where more than two are there. */
  onRemove?(rowId: number): void;
}

/** Two to four pictures side by side, zoomed and moved together, with what is said of them. */
export function ComparePictures(props: ComparePicturesProps) {
  const { details, prompts, onClose, onRemove } = props;
  const items = props.items.slice(0, 4);
  const look = useSignal<Look>(WHOLE);
  const [pane, setPane] = useState<Pane>(NO_PANE);
  const zoom = (next: Look) => {
    look.value = next;
  };
  const onKey = (event: KeyboardEvent): boolean => {
    // There the arrows scroll.
    if ((event.target as HTMLElement).closest(".pictures-words")) return false;
    const next = lookOfKey(look.peek(), event, pane);
    if (next) zoom(next);
    return next !== null;
  };
  // An answer that is not the same everywhere is what a person looks for.
  const differs = prompts.map((_, k) => {
    const texts = items.map(({ row }) => textOf(row.value?.cells[k]));
    return texts.every((text) => text !== null) && new Set(texts.map(plain)).size > 1;
  });
  return (
    <Dialog
      label={`compare ${plural(items.length, "picture")}`}
      class="pictures"
      onClose={onClose}
      onKey={onKey}
    >
      <header class="lightbox-head">
        <div class="lightbox-names">
          <span class="lightbox-label">{plural(items.length, "picture")} side by side</span>
          <span class="lightbox-place">zoomed and moved together</span>
        </div>
        <ZoomKnobs look={look} pane={pane} whole="the whole pictures" />
        <CloseKnob onClick={onClose} />
      </header>
      <div
        class={`pictures-grid pictures-${items.length}`}
        data-first-focus
        tabIndex={0}
        role="group"
        aria-label="pictures"
      >
        {items.map(({ rowId, row, thumb }, index) => (
          <figure key={rowId} class="pictures-one">
            <ZoomPane
              details={details}
              row={rowId}
              thumb={thumb.value}
              alt={textOf(row.value?.cells[0]) || row.value?.label || ""}
              look={look}
              {...(index === 0 ? { onPane: setPane } : {})}
            >
              {onRemove && items.length > 2 && (
                <button
                  type="button"
                  class="knob pictures-remove"
                  aria-label={`take out ${row.value?.label ?? "this picture"}`}
                  onClick={() => onRemove(rowId)}
                >
                  <CrossIcon />
                </button>
              )}
            </ZoomPane>
            <figcaption class="pictures-words" tabIndex={0}>
              <span class="pictures-label" title={row.value?.label}>
                {row.value?.label ?? ""}
              </span>
              <dl class="pictures-answers">
                {(row.value?.cells ?? []).map((cell, k) => (
                  <div key={k} class={differs[k] ? "pictures-differs" : ""}>
                    <dt>{cell.prompt || prompts[k]?.name || "caption"}</dt>
                    <dd>
                      {differs[k] && (
                        <span class="pictures-mark" title="not the same for all">
                          ≠
                        </span>
                      )}
                      {textOf(cell) ?? cell.error ?? "…"}
                    </dd>
                  </div>
                ))}
              </dl>
            </figcaption>
          </figure>
        ))}
      </div>
    </Dialog>
  );
}

/** What is said of a picture: the person's word before the model's. */
function textOf(cell: Cell | undefined): string | null {
  if (cell?.review?.status === "corrected") return cell.review.text ?? "";
  return cell?.state === "done" ? (cell.answer ?? "") : null;
}

function plain(text: string | null): string {
  return (text ?? "").trim().toLowerCase();
}
