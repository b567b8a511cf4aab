import { useLayoutEffect, useState } from "preact/hooks";
import { Lightbox } from "./Lightbox";
import { Panel, type PanelProps } from "./Panel";
import "../styles/details.css";

export interface DetailViewProps extends Omit<PanelProps, "onZoom"> {
  /** The view that follows the conversation: `View.id` of the session. */
  view: string;
}

/** The side panel of a picture, and the picture over the whole window when it is asked for. */
export function DetailView({ view, ...props }: DetailViewProps) {
  const { details, rowId, thumb, onMove } = props;
  const [large, setLarge] = useState(false);
  // Not an effect of the passive kind, whose end comes late: the view would be closed by then.
  useLayoutEffect(() => {
    details.openChat(view, rowId);
  }, [details, view, rowId]);
  useLayoutEffect(() => () => details.openChat(view, null), [details, view]);

  const row = props.row.value;
  const answer = row?.cells.find((cell) => cell.state === "done" && cell.answer);
  return (
    <>
      <Panel {...props} onZoom={() => setLarge(true)} />
      {large && (
        <Lightbox
          details={details}
          rowId={rowId}
          thumb={thumb}
          label={row?.label ?? ""}
          alt={answer?.review?.text || answer?.answer || undefined}
          position={props.position}
          count={props.count}
          gone={props.gone}
          onMove={onMove}
          onClose={() => setLarge(false)}
        />
      )}
    </>
  );
}
