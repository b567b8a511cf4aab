import { layoutOf, placeOf, scrollHeight } from "../layout";
import type { Session, View } from "../session";
import type { ViewSettings } from "../view";
import { useItems, variables } from "./items";
import { Nothing } from "./Nothing";
import { Tile } from "./Tile";

interface GridProps {
  session: Session;
  view: View;
  settings: ViewSettings;
}

/** The scrolled grid, which holds the tiles on screen and a few around them. */
export function Grid({ session, view, settings }: GridProps) {
  const items = useItems(session, view, settings, layoutOf);
  const { layout, top, shift } = items;
  const height = scrollHeight(layout.total);
  const lowest = Math.max(0, height - layout.tileHeight);
  return (
    <div
      ref={items.scroller}
      class={`scroller${session.selectedCount.value > 0 ? " any-selected" : ""}`}
      style={variables(layout)}
      {...items.handlers}
    >
      <div
        ref={items.sight}
        class="sight"
        style={{ transform: `translateY(${top - shift + 8}px)` }}
      />
      <Nothing session={session} />
      <div class="grid" role="list" style={{ height: `${height}px` }}>
        {items.positions.map((position) => {
          const { x, y } = placeOf(layout, position);
          return (
            <Tile
              key={position}
              {...items.itemProps(position)}
              x={x}
              // A tile that is kept for its focus may lie beyond what the element can hold.
              y={Math.min(lowest, Math.max(0, y - shift))}
            />
          );
        })}
      </div>
    </div>
  );
}
