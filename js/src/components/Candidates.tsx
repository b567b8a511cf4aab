import { useEffect, useState } from "preact/hooks";
import { allows } from "../answers";
import { percent } from "../format";
import type { Candidate, Cell } from "../protocol";
import { CheckIcon } from "./Icons";

interface CandidatesProps {
  cell: Cell;
  /** The candidate is to be the answer: a correction, unless it is the model's own answer. */
  onPick(text: string): boolean;
}

/**
 * What else the answer might have been, each with a bar as long as it is probable: the choices that
 * were ranked, or the answers there are to choose from. A click makes one the answer.
 */
export function Candidates({ cell, onPick }: CandidatesProps) {
  // What was picked shows at once; the kernel may be at something else.
  const [picked, setPicked] = useState<string | null>(null);
  useEffect(() => setPicked(null), [cell.review, cell.answer]);
  const candidates = cell.choices ?? cell.alternatives;
  if (!candidates || !allows(cell, "accept")) return null;
  const said = picked ?? cell.review?.text ?? cell.answer;
  return (
    <ol class="candidates" aria-label={cell.choices ? "choices" : "alternatives"}>
      {candidates.map((candidate) => (
        <Line
          key={candidate[0]}
          candidate={candidate}
          picked={candidate[0].trim() === said?.trim()}
          // There is no correction without words.
          disabled={!candidate[0].trim() && candidate[0] !== cell.answer}
          onPick={(text) => text !== said && onPick(text) && setPicked(text)}
        />
      ))}
    </ol>
  );
}

interface LineProps {
  candidate: Candidate;
  picked: boolean;
  disabled: boolean;
  onPick(text: string): void;
}

function Line({ candidate: [text, probability], picked, disabled, onPick }: LineProps) {
  const share = 100 * Math.min(1, Math.max(0, probability));
  return (
    <li>
      <button
        type="button"
        class="candidate"
        aria-pressed={picked}
        title={picked ? "this is the answer" : "make this the answer"}
        disabled={disabled}
        onClick={() => onPick(text)}
      >
        <span class="candidate-mark">{picked && <CheckIcon />}</span>
        <span class="candidate-text">{text || <span class="detail-none">no words</span>}</span>
        <span class="candidate-bar" aria-hidden="true">
          <span style={{ width: `${share}%` }} />
        </span>
        <span class="candidate-share">{percent(probability)}</span>
      </button>
    </li>
  );
}
