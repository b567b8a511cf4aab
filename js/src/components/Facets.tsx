import { useId, useRef, useState } from "preact/hooks";
import { useFacets } from "../counts";
import { count } from "../format";
import type { Facet, Filter, Key } from "../protocol";
import { filterOf, keyLabel, toggleValue, valueLabel, withFilter } from "../query";
import type { Session } from "../session";
import { facetKeys, type ViewSettings } from "../view";
import { Histogram } from "./Histogram";
import { ChevronIcon, CrossIcon } from "./Icons";

/** How many values are shown before a person asks for more. */
const FEW = 8;

interface FacetsProps {
  session: Session;
  settings: ViewSettings;
}

/** What the answers are, how many of each, and which of them to show. */
export function Facets({ session, settings }: FacetsProps) {
  const prompts = session.prompts.value;
  const keys = facetKeys(prompts, session.columns.value);
  const facets = useFacets(
    session,
    keys.filter((key) => settings.isOpen(key)),
  );
  const { filters } = session.wanted.value;
  const root = useRef<HTMLElement>(null);
  const close = (): void => {
    // The button that opens it is the place to go on from.
    const gallery = root.current?.closest(".blip2-gallery");
    settings.facets.value = false;
    gallery?.querySelector<HTMLElement>(".toolbar .tool")?.focus();
  };
  return (
    <aside
      ref={root}
      class="facets"
      aria-label="filters"
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        close();
      }}
    >
      <div class="facetshead">
        <span class="facetstitle">Filters</span>
        {filters.length > 0 && (
          <button
            type="button"
            class="plain textual"
            aria-label="clear all filters"
            onClick={() => session.refine({ filters: [] })}
          >
            Clear
          </button>
        )}
        <button type="button" class="plain" aria-label="close the filters" onClick={close}>
          <CrossIcon />
        </button>
      </div>
      {keys.map((key) => (
        <Section
          key={key}
          session={session}
          settings={settings}
          facetKey={key}
          facet={facets.get(key) ?? null}
          filter={filterOf(session.wanted.value, key)}
        />
      ))}
    </aside>
  );
}

interface SectionProps extends FacetsProps {
  facetKey: Key;
  /** Null until it comes. */
  facet: Facet | null;
  filter: Filter | undefined;
}

function Section({ session, settings, facetKey: key, facet, filter }: SectionProps) {
  const open = settings.isOpen(key);
  const id = useId();
  const label = keyLabel(key, session.prompts.value);
  return (
    <section class={`facet${filter ? " facet-used" : ""}`}>
      <h3 class="facethead">
        <button
          type="button"
          class="facettoggle"
          aria-expanded={open}
          aria-controls={open ? id : undefined}
          title={label}
          onClick={() => settings.fold(key)}
        >
          <ChevronIcon />
          <span class="facetname">{label}</span>
          {open && facet?.kind === "values" && facet.distinct > FEW && (
            <span class="facetcount">{count(facet.distinct)}</span>
          )}
        </button>
      </h3>
      {open && (
        <div id={id} class="facetbody">
          {facet === null && <span class="bone bone-facet" />}
          {facet?.kind === "values" && (
            <Values
              facet={facet}
              chosen={filter?.values ?? []}
              onToggle={(value) =>
                session.refine({
                  filters: toggleValue(session.wanted.peek().filters, key, value),
                })
              }
            />
          )}
          {facet?.kind === "histogram" && (
            <Histogram
              label={label}
              bins={facet.bins}
              filter={filter}
              onChange={(range) =>
                session.refine({
                  filters: withFilter(
                    session.wanted.peek().filters,
                    key,
                    range && { key, ...range },
                  ),
                })
              }
            />
          )}
        </div>
      )}
    </section>
  );
}

interface ValuesProps {
  facet: Facet;
  chosen: string[];
  onToggle(value: string): void;
}

/** The most frequent values as bars. */
function Values({ facet, chosen, onToggle }: ValuesProps) {
  const [all, setAll] = useState(false);
  const counted = new Set(facet.values.map(({ value }) => value));
  // What is chosen stays in sight, however rare it is.
  const rest = chosen.filter((value) => !counted.has(value)).map((value) => ({ value, count: 0 }));
  const few = facet.values.filter(({ value }, k) => all || k < FEW || chosen.includes(value));
  const most = Math.max(1, ...facet.values.map((one) => one.count));
  const hidden = facet.values.length - few.length;
  const beyond = facet.distinct - facet.values.length;
  if (facet.values.length === 0 && rest.length === 0) return <p class="facetnote">nothing yet</p>;
  return (
    <>
      {[...few, ...rest].map(({ value, count: times }) => (
        <button
          key={value}
          type="button"
          class={`bin${value === "" ? " bin-none" : ""}`}
          aria-pressed={chosen.includes(value)}
          title={`${valueLabel(value)}: ${count(times)}`}
          onClick={() => onToggle(value)}
        >
          <span class="binbar" style={{ width: `${(100 * times) / most}%` }} />
          <span class="bintext">{valueLabel(value)}</span>
          <span class="bincount">{count(times)}</span>
        </button>
      ))}
      {(hidden > 0 || all) && facet.values.length > FEW && (
        <button type="button" class="plain textual more" onClick={() => setAll(!all)}>
          {all ? "Fewer" : `${count(hidden)} more`}
        </button>
      )}
      {all && beyond > 0 && <p class="facetnote">and {count(beyond)} rarer ones</p>}
    </>
  );
}
