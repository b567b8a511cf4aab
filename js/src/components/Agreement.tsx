import { count, share } from "../format";
import type { Agreement as Counted } from "../protocol";
import { filterOf, shortNames, withFilter } from "../query";
import type { Session } from "../session";

/** How often columns of answers that are compared say the same, and the way to where they differ. */
export function Agreement({ session }: { session: Session }) {
  const pairs = session.agreement.value;
  if (!session.comparing.value || pairs.length === 0) return null;
  const names = shortNames(session.prompts.value);
  return (
    <div class="agreement">
      <table aria-label="agreement">
        <tbody>
          {pairs.map((pair) => (
            <Pair key={`${pair.one},${pair.other}`} session={session} pair={pair} names={names} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface PairProps {
  session: Session;
  pair: Counted;
  names: string[];
}

function Pair({ session, pair, names }: PairProps) {
  const { one, other, answered, agree, low, high } = pair;
  const key = `agreement:${one},${other}`;
  const wanted = session.wanted.value;
  const shown = filterOf(wanted, key) !== undefined;
  const differ = answered - agree;
  const two = `${names[one]} and ${names[other]}`;
  return (
    <tr>
      <th scope="row" title={two}>
        <span>{names[one]}</span> <span class="agreement-faint">and</span>{" "}
        <span>{names[other]}</span>
      </th>
      <td>
        <span class="agreement-words">agree on </span>
        <b>{share(agree / answered)}</b>
      </td>
      <td class="agreement-faint" title="the 95 % interval of the share (Wilson's)">
        {share(low).replace(" %", "")} – {share(high)}
      </td>
      <td class="agreement-faint">of {count(answered)}</td>
      <td>
        {differ > 0 && (
          <button
            type="button"
            class="plain textual"
            aria-pressed={shown}
            aria-label={`${count(differ)} differ: ${two}`}
            title={shown ? "show all again" : "show those that differ"}
            onClick={() =>
              session.refine({
                filters: withFilter(
                  wanted.filters,
                  key,
                  shown ? null : { key, values: ["different"] },
                ),
              })
            }
          >
            {count(differ)} differ
          </button>
        )}
      </td>
    </tr>
  );
}
