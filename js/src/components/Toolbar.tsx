import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { focusTiles } from "../focus";
import { count } from "../format";
import { NO_QUERY } from "../protocol";
import { filterLabel, keyLabel, type SortChoice, sortChoices, withFilter } from "../query";
import type { Session } from "../session";
import { type Mode, SIZES, type ViewSettings } from "../view";
import {
  ColumnsIcon,
  CrossIcon,
  DownIcon,
  FilterIcon,
  GridIcon,
  MapIcon,
  SearchIcon,
  TableIcon,
  UniqueIcon,
  UpIcon,
} from "./Icons";
import { Menu } from "./Menu";

/** How long a person has to stop typing before it is searched. */
const TYPING_MS = 60;

interface ToolbarProps {
  session: Session;
  settings: ViewSettings;
  search: RefObject<HTMLInputElement | null>;
  onHelp(): void;
}

/** What is shown of the gallery, in which order, and how. */
export function Toolbar({ session, settings, search, onHelp }: ToolbarProps) {
  const { unique } = session.wanted.value;
  return (
    <div class="toolbar" role="group" aria-label="what is shown">
      <button
        type="button"
        class="button tool"
        aria-label="filters"
        aria-expanded={settings.facets.value}
        title="filters"
        onClick={() => {
          settings.facets.value = !settings.facets.peek();
        }}
      >
        <FilterIcon />
      </button>
      <Search session={session} field={search} />
      <Sort session={session} />
      <button
        type="button"
        class="button tool"
        aria-label="equal pictures once"
        aria-pressed={unique}
        title="show equal pictures once"
        onClick={() => session.refine({ unique: !unique })}
      >
        <UniqueIcon />
      </button>
      {session.map.state.value && (
        <button
          type="button"
          class="button tool maptool"
          aria-label="map"
          aria-expanded={settings.map.value}
          title="map"
          onClick={() => {
            settings.map.value = !settings.map.peek();
          }}
        >
          <MapIcon />
        </button>
      )}
      <span class="toolgap" />
      <Columns session={session} settings={settings} />
      <input
        class="size"
        type="range"
        aria-label="size of the pictures"
        title="size of the pictures"
        min={SIZES.least}
        max={SIZES.most}
        step={SIZES.step}
        value={settings.size.value}
        onInput={(event) => {
          settings.size.value = Number(event.currentTarget.value);
        }}
      />
      <Switch settings={settings} />
      <button
        type="button"
        class="button tool help"
        aria-label="keys"
        title="keys (?)"
        onClick={onHelp}
      >
        ?
      </button>
    </div>
  );
}

/** A search in all texts, while a person types. */
function Search({
  session,
  field,
}: {
  session: Session;
  field: RefObject<HTMLInputElement | null>;
}) {
  const asked = session.wanted.value.search;
  const [text, setText] = useState(asked);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);
  const stop = (): void => {
    if (timer.current !== null) clearTimeout(timer.current);
    timer.current = null;
  };
  useEffect(() => stop, []);
  useEffect(() => {
    // Another view's search, or one that was taken back. What is being typed here comes first.
    if (timer.current === null) setText(asked);
  }, [asked]);

  const find = (words: string, wait: number): void => {
    setText(words);
    stop();
    timer.current = setTimeout(() => {
      timer.current = null;
      session.refine({ search: words });
    }, wait);
  };
  return (
    <div class={`search${session.searching.value ? " search-busy" : ""}`}>
      <SearchIcon />
      <input
        ref={field}
        class="searchfield"
        type="text"
        role="searchbox"
        aria-label="search"
        placeholder="Search answers and columns"
        spellcheck={false}
        autocomplete="off"
        value={text}
        onInput={(event) => find(event.currentTarget.value, TYPING_MS)}
        onKeyDown={(event) => {
          if (event.isComposing) return;
          if (event.key === "Enter") find(text, 0);
          else if (event.key === "Escape" && text) find("", 0);
          // Out of the field, but not out of the gallery, where keys are the notebook's.
          else if (event.key === "Escape" || event.key === "ArrowDown") {
            if (timer.current !== null) find(text, 0);
            focusTiles(event.currentTarget);
          } else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      />
      {text ? (
        <button
          type="button"
          class="plain"
          aria-label="clear the search"
          onClick={() => {
            find("", 0);
            field.current?.focus();
          }}
        >
          <CrossIcon />
        </button>
      ) : (
        <span class="key" aria-hidden="true">
          /
        </span>
      )}
    </div>
  );
}

function Sort({ session }: { session: Session }) {
  const { sort } = session.wanted.value;
  const choices = sortChoices(session.prompts.value, session.columns.value);
  const all = [...choices.gallery, ...choices.answers, ...choices.columns];
  const by = sort?.key ?? "row";
  const descending = sort?.descending ?? false;
  const set = (key: string, down: boolean): void =>
    session.refine({ sort: key === "row" && !down ? null : { key, descending: down } });
  return (
    <div class="sort">
      <select
        class="select"
        aria-label="sort by"
        title="sort by"
        value={by}
        onChange={(event) => {
          const key = event.currentTarget.value;
          set(key, all.find((choice) => choice.key === key)?.descending ?? false);
        }}
      >
        <Options choices={choices.gallery} />
        <Group label="Answers" choices={choices.answers} />
        <Group label="Columns" choices={choices.columns} />
      </select>
      <button
        type="button"
        class="button tool"
        aria-label={descending ? "descending" : "ascending"}
        title={descending ? "descending" : "ascending"}
        onClick={() => set(by, !descending)}
      >
        {descending ? <DownIcon /> : <UpIcon />}
      </button>
    </div>
  );
}

function Group({ label, choices }: { label: string; choices: SortChoice[] }) {
  if (choices.length === 0) return null;
  return (
    <optgroup label={label}>
      <Options choices={choices} />
    </optgroup>
  );
}

function Options({ choices }: { choices: SortChoice[] }) {
  return (
    <>
      {choices.map(({ key, label }) => (
        <option key={key} value={key}>
          {label}
        </option>
      ))}
    </>
  );
}

/** Which of the frame's columns stand beside the pictures. */
function Columns({ session, settings }: { session: Session; settings: ViewSettings }) {
  const columns = session.columns.value;
  if (columns.length === 0) return null;
  const shown = settings.shownColumns(columns);
  return (
    <Menu label="columns" icon={<ColumnsIcon />} text={shown.length ? `${shown.length}` : ""}>
      {columns.map(({ name }, k) => (
        <label key={name} class="choice">
          <input
            type="checkbox"
            checked={shown.includes(k)}
            onChange={() => settings.toggleColumn(columns, name)}
          />
          <span class="choicetext">{name}</span>
        </label>
      ))}
    </Menu>
  );
}

function Switch({ settings }: { settings: ViewSettings }) {
  const button = (mode: Mode, icon: ComponentChildren) => (
    <button
      type="button"
      class="button tool"
      aria-label={mode}
      aria-pressed={settings.mode.value === mode}
      title={mode}
      onClick={() => {
        settings.mode.value = mode;
      }}
    >
      {icon}
    </button>
  );
  return (
    <div class="switch" role="group" aria-label="view">
      {button("grid", <GridIcon />)}
      {button("table", <TableIcon />)}
    </div>
  );
}

/** How much is shown, why not all, and how much is selected. */
export function ShownLine({ session, onCompare }: { session: Session; onCompare(): void }) {
  const { count: shown } = session.shown.value;
  const all = session.rowCount.value;
  const selected = session.selectedCount.value;
  const { search, filters, unique } = session.wanted.value;
  const narrowed = search !== "" || filters.length > 0 || unique;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the clicks are of the buttons in it
    <div
      class="shownline"
      role="group"
      aria-label="shown"
      tabIndex={-1}
      onClick={(event) => {
        // What is clicked here goes away: the focus must not fall back to the notebook.
        if ((event.target as Element).closest("button")) event.currentTarget.focus();
      }}
    >
      <span class="count">
        {shown === all ? count(all) : `${count(shown)} of ${count(all)}`}
        {!narrowed && shown === all && (all === 1 ? " picture" : " pictures")}
      </span>
      {search && (
        <Chip name="search" text={search} onRemove={() => session.refine({ search: "" })} />
      )}
      {filters.map((filter) => (
        <Chip
          key={filter.key}
          name={keyLabel(filter.key, session.prompts.value)}
          text={filterLabel(filter)}
          onRemove={() => session.refine({ filters: withFilter(filters, filter.key, null) })}
        />
      ))}
      {unique && (
        <Chip
          name=""
          text="equal pictures once"
          onRemove={() => session.refine({ unique: false })}
        />
      )}
      {narrowed && (
        <button
          type="button"
          class="plain textual"
          onClick={() => session.query({ ...NO_QUERY, sort: session.wanted.peek().sort })}
        >
          Show all
        </button>
      )}
      {selected > 0 && (
        <span class="selection">
          {count(selected)} selected
          {session.fewSelected.value.length > 1 && (
            <button type="button" class="plain textual" onClick={onCompare}>
              Side by side
            </button>
          )}
          <button
            type="button"
            class="plain textual"
            aria-label="clear the selection"
            title="Esc"
            onClick={() => session.select("set", { rows: [] })}
          >
            Clear
          </button>
        </span>
      )}
    </div>
  );
}

function Chip({ name, text, onRemove }: { name: string; text: string; onRemove(): void }) {
  return (
    <span class="chip" title={name ? `${name}: ${text}` : text}>
      {name && <span class="chipname">{name}</span>}
      <span class="chiptext">{text}</span>
      <button
        type="button"
        class="plain"
        aria-label={`remove ${name ? `${name}: ` : ""}${text}`}
        onClick={onRemove}
      >
        <CrossIcon />
      </button>
    </span>
  );
}
