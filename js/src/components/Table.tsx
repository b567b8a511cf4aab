import { useMemo } from "preact/hooks";
import { differs, nameOf } from "../answers";
import { scrollHeight, tableOf } from "../layout";
import type { Key } from "../protocol";
import { labelOf } from "../query";
import type { Session, View } from "../session";
import type { ViewSettings } from "../view";
import { Answer } from "./Answer";
import { DownIcon, UpIcon } from "./Icons";
import { type ItemProps, useItems, variables } from "./items";
import { Nothing } from "./Nothing";
import { isBusy, Pick, Picture } from "./Tile";
import { Failure } from "./Trouble";

interface TableProps {
  session: Session;
  view: View;
  settings: ViewSettings;
}

/** The height of the head, in sizes of the text: also in table.css. */
const HEAD = 2.4;

/** The least widths, in sizes of the text, of the columns of a table. */
const WIDTHS = { pick: 2.6, label: 9, value: 8, answer: 15 };

/** The pictures line by line, with the answers and then the frame's columns beside them. */
export function Table({ session, view, settings }: TableProps) {
  const items = useItems(session, view, settings, tableOf, HEAD);
  const { layout, top, shift } = items;
  const height = scrollHeight(layout.total);
  const lowest = Math.max(0, height - layout.tileHeight);
  const prompts = session.prompts.value;
  const columns = session.columns.value;
  const values = settings.shownColumns(columns);
  const template = useMemo(() => {
    const part = (least: number, share: number) => `minmax(${least}em, ${share}fr)`;
    const head = `${WIDTHS.pick}em calc(var(--b2-picture-width) + 8px) ${part(WIDTHS.label, 1)}`;
    return [
      head,
      ...prompts.map(() => part(WIDTHS.answer, 2.4)),
      ...values.map(() => part(WIDTHS.value, 1)),
    ].join(" ");
  }, [values.length, prompts.length]);
  const least =
    WIDTHS.pick + WIDTHS.label + WIDTHS.value * values.length + WIDTHS.answer * prompts.length;
  const style = {
    ...variables(layout),
    "--b2-template": template,
    "--b2-table-width": `calc(${least}em + var(--b2-picture-width) + 8px)`,
  };
  return (
    <div
      ref={items.scroller}
      class={`scroller scroller-table${session.selectedCount.value > 0 ? " any-selected" : ""}`}
      style={style}
      {...items.handlers}
    >
      <div
        ref={items.sight}
        class="sight"
        style={{ transform: `translateY(${top - shift + 8}px)` }}
      />
      <div
        class="table"
        role="grid"
        aria-label="pictures and answers"
        aria-multiselectable="true"
        aria-rowcount={layout.rowCount + 1}
        aria-colcount={3 + values.length + prompts.length}
      >
        <div role="rowgroup" class="thead">
          <div class="tr" role="row" aria-rowindex={1}>
            <Head name="selected" hidden />
            <Head name="picture" hidden />
            <Head name="label" session={session} sortKey="label" />
            {prompts.map((_, k) => (
              <Head key={k} name={labelOf(prompts, k)} session={session} sortKey={`answer:${k}`} />
            ))}
            {values.map((k) => {
              const name = columns[k]?.name as string;
              return <Head key={name} name={name} session={session} sortKey={`column:${name}`} />;
            })}
          </div>
        </div>
        <div role="rowgroup" class="tbody" style={{ height: `${height}px` }}>
          {items.positions.map((position) => (
            <Line
              key={position}
              {...items.itemProps(position)}
              x={0}
              y={Math.min(lowest, Math.max(0, position * layout.tileHeight - shift))}
            />
          ))}
        </div>
      </div>
      <Nothing session={session} />
    </div>
  );
}

interface HeadProps {
  name: string;
  session?: Session;
  /** What a click sorts by: up, then down, then no longer. */
  sortKey?: Key;
  hidden?: boolean;
}

function Head({ name, session, sortKey, hidden }: HeadProps) {
  if (!session || !sortKey) {
    return (
      <div class="th" role="columnheader">
        {hidden && <span class="unseen">{name}</span>}
      </div>
    );
  }
  const { sort } = session.wanted.value;
  const by = sort?.key === sortKey ? sort : null;
  const next = by === null ? { key: sortKey, descending: false } : by.descending ? null : by;
  return (
    <div
      class="th"
      role="columnheader"
      aria-sort={by === null ? "none" : by.descending ? "descending" : "ascending"}
    >
      <button
        type="button"
        class="thbutton"
        title={`${name}\nclick to sort`}
        onClick={() => session.refine({ sort: next && { ...next, descending: by !== null } })}
      >
        <span class="thtext">{name}</span>
        {by && (by.descending ? <DownIcon /> : <UpIcon />)}
      </button>
    </div>
  );
}

/** One row. */
function Line(props: ItemProps) {
  const { session, settings, position, y, inTabOrder, editing, onEdit } = props;
  const id = session.idAt(position).value;
  const row = id === null ? null : session.row(id).value;
  const prompts = session.prompts.value;
  const tabIndex = inTabOrder ? 0 : -1;
  const marked = session.comparing.value && differs(row);
  return (
    <div
      class={`tr line${row?.error ? " tile-error" : ""}${row?.selected ? " line-selected" : ""}`}
      role="row"
      data-index={position}
      data-row={id ?? undefined}
      tabIndex={tabIndex}
      aria-label={nameOf(row, position, prompts)}
      aria-rowindex={position + 2}
      aria-selected={row?.selected ?? false}
      aria-busy={isBusy(row)}
      style={{ transform: `translateY(${y}px)` }}
    >
      <div class="td td-pick" role="gridcell">
        <Pick {...props} row={row} tabIndex={tabIndex} />
      </div>
      <div class="td td-picture" role="gridcell">
        <Picture {...props} id={id} row={row} tabIndex={tabIndex} />
      </div>
      <div class="td td-label" role="gridcell" title={row?.label}>
        {row ? <span class="tdtext">{row.label}</span> : <span class="bone bone-label" />}
      </div>
      {prompts.map((prompt, k) => (
        <div key={k} class="td td-answer" role="gridcell">
          {row?.error && k === 0 && <Failure message={row.error} />}
          {!row?.error && (
            <Answer
              key={`${id}:${k}`}
              session={session}
              row={id}
              index={k}
              cell={row?.cells[k] ?? null}
              column={prompt}
              differs={marked}
              tabIndex={tabIndex}
              editing={editing?.row === id && editing?.cell === k ? editing.part : null}
              onEdit={onEdit}
            />
          )}
        </div>
      ))}
      {settings.shownColumns(session.columns.value).map((k) => (
        <div key={k} class="td" role="gridcell" title={row?.values[k] ?? undefined}>
          <span class="tdtext">{row?.values[k]}</span>
        </div>
      ))}
    </div>
  );
}
