import { count, percent, plural } from "../format";
import type { Reliability as Curve, Key, Score } from "../protocol";
import { filterOf, labelOf, short, withFilter } from "../query";
import { useRoving } from "../roving";
import type { Session } from "../session";
import { rangeOf } from "./Histogram";

/** What answers were scored with, and whether their confidence means what it says. */
export function Scores({ session }: { session: Session }) {
  const scores = session.scores.value;
  const prompts = session.prompts.value;
  if (scores.length === 0) return null;
  return (
    <details class="scores" open>
      <summary>Scores</summary>
      {scores.map((score) => (
        <div key={score.prompt} class="score">
          {prompts.length > 1 && <h3 class="scorename">{labelOf(prompts, score.prompt)}</h3>}
          <Metrics score={score} name={labelOf(prompts, score.prompt)} />
          {score.reliability && (
            <Reliability session={session} prompt={score.prompt} curve={score.reliability} />
          )}
        </div>
      ))}
    </details>
  );
}

function Metrics({ score, name }: { score: Score; name: string }) {
  return (
    <table class="metrics" aria-label={`scores of ${name}`}>
      <tbody>
        {score.metrics.map(([metric, value, low, high]) => (
          <tr key={metric}>
            <th scope="row">{metric}</th>
            <td>
              <b>{value.toFixed(3)}</b>
            </td>
            <td class="scores-faint" title="the 95 % interval over rows">
              {low !== null && high !== null && `${low.toFixed(3)} – ${high.toFixed(3)}`}
            </td>
            <td class="scores-faint">of {count(score.count)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface ReliabilityProps {
  session: Session;
  prompt: number;
  curve: Curve;
}

/**
 * How many are right of those that are so sure. What is missing to the mark at how sure they are, or
 * goes beyond it, is the error. Below stands how many they are, and a click shows them.
 */
function Reliability({ session, prompt, curve }: ReliabilityProps) {
  const { ece, brier, bins } = curve;
  const key: Key = `confidence:${prompt}`;
  const width = 100 / bins.length;
  const ranges = bins.map(([times], k) => ({
    min: k / bins.length,
    max: (k + 1) / bins.length,
    count: times,
  }));
  const some = bins.flatMap(([times, confidence, correct], k) =>
    confidence === null || correct === null ? [] : [{ k, times, confidence, correct }],
  );
  const most = Math.max(...some.map(({ times }) => times));
  const { root, stop, setStop, onKeyDown } = useRoving(some.length);
  const wanted = session.wanted.value;
  const filter = filterOf(wanted, key);
  return (
    <figure class="reliability">
      <figcaption>
        <span title="expected calibration error: how far the share that is right is from the confidence, on average">
          ECE <b>{ece.toFixed(3)}</b>
        </span>{" "}
        <span
          class="scores-faint"
          title="the mean squared distance of confidence and what is right"
        >
          Brier {brier.toFixed(3)}
        </span>
      </figcaption>
      <div class="reliability-plot">
        <div class="reliability-y" aria-hidden="true">
          <span>1</span>
          <span class="reliability-axis">share right</span>
          <span>0</span>
        </div>
        <svg
          class="reliability-curve"
          viewBox="0 0 100 100"
          preserveAspectRatio="none"
          aria-hidden="true"
        >
          {some.map(({ k, confidence, correct }) => {
            const box = { x: (k + 0.06) * width, width: 0.88 * width };
            const [less, more] = [confidence, correct].sort((a, b) => a - b) as [number, number];
            const sure = 100 - 100 * confidence;
            return (
              <g key={k}>
                <rect class="right" {...box} y={100 - 100 * less} height={100 * less} />
                <rect
                  class={correct < confidence ? "missing" : "beyond"}
                  {...box}
                  y={100 - 100 * more}
                  height={100 * (more - less)}
                />
                <line class="sure" x1={box.x} x2={box.x + box.width} y1={sure} y2={sure} />
              </g>
            );
          })}
          <line class="ideal" x1="0" y1="100" x2="100" y2="0" />
        </svg>
        <svg
          class="reliability-counts"
          viewBox="0 0 100 100"
          preserveAspectRatio="none"
          aria-hidden="true"
        >
          {some.map(({ k, times }) => {
            const tall = Math.max(6, (100 * times) / most);
            return (
              <rect
                key={k}
                class="times"
                x={(k + 0.06) * width}
                width={0.88 * width}
                y={0}
                height={tall}
              />
            );
          })}
        </svg>
        <div
          ref={root}
          class="reliability-bins"
          role="group"
          aria-label={`reliability, expected calibration error ${ece.toFixed(3)}`}
          onKeyDown={onKeyDown}
        >
          {some.map(({ k, times, confidence, correct }, at) => {
            const range = rangeOf(ranges, k, k);
            const shown = filter?.min === range.min && filter.max === range.max;
            const [from, to] = [short(k / bins.length), short((k + 1) / bins.length)];
            const words = `${plural(times, "answer")}, ${percent(correct)} right, ${percent(confidence)} sure on average`;
            return (
              <button
                key={k}
                type="button"
                style={{ left: `${k * width}%`, width: `${width}%` }}
                tabIndex={at === stop ? 0 : -1}
                aria-pressed={shown}
                aria-label={`confidence ${from} to ${to}: ${words}`}
                title={`${from} – ${to}: ${words}`}
                onClick={() => {
                  setStop(at);
                  session.refine({
                    filters: withFilter(wanted.filters, key, shown ? null : { key, ...range }),
                  });
                }}
              />
            );
          })}
        </div>
        <div class="reliability-x" aria-hidden="true">
          <span>0</span>
          <span>confidence</span>
          <span>1</span>
        </div>
      </div>
    </figure>
  );
}
