// The service's time: the browser's clock may be wrong, and "the last hour" has to be that of the records.
const SLACK_MS = 30_000; // travel, whole seconds, and a clock that is right enough

let aheadMs = 0;

/** Notes the `Date` header of an answer that has just come. */
export function noteDate(header) {
  const told = Date.parse(header ?? "");
  if (Number.isNaN(told)) return;
  const found = Date.now() - told;
  aheadMs = Math.abs(found) > SLACK_MS ? found : 0;
}

/** Milliseconds since 1970, by the service's clock. */
export const now = () => Date.now() - aheadMs;
