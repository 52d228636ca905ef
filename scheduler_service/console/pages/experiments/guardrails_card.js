// What must not get worse: state, harm with its bounds, what is put up with.
import { computed } from "vue";
import { fixed, number } from "../../core/format.js";
import { definitions } from "../../core/words.js";
import IntervalPlot from "./interval.js";
import { signedNumber, useWording } from "./wording.js";

const TONE = { kept: "good", breached: "bad", undecided: "mute" };
const MARK = { kept: "✓", breached: "×", undecided: "○" };

export default {
  name: "GuardrailsCard",
  components: { IntervalPlot },
  props: { figures: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const rows = computed(() =>
      props.figures.guardrails.map((each) => {
        const isTime = each.margin_unit === "share_of_baseline_percentile";
        const isBreaker = each.name === "requests"; // a plain share of the candidate's requests, without bounds
        const known = each.harm_bounds !== null;
        const [low, high] = known ? each.harm_bounds.map((bound) => 100 * bound) : [null, null];
        const harm = each.harm === null ? null : 100 * each.harm;
        const unit = isBreaker || each.unit === "share_of_baseline" ? " %" : ""; // the others are points, as their names say
        const allowed = isTime ? of("guard.time_allowed", { margin: `${number(100 * each.margin)} %` }) : `${number(100 * each.margin)}${unit}`;
        const show = (value) => `${signedNumber(value, 1)}${unit}`;
        const text = isBreaker ? (harm === null ? of("guard.no_requests") : `${fixed(harm, 1)}${unit}`) : known ? `${show(harm)} (${show(low)} … ${show(high)})` : of("guard.too_few", { a: each.users[0], b: each.users[1] });
        // The margin of the execution time is in its threshold, so that its harm is held against zero.
        const state = words.term("guardrail_state", each.state);
        const name = words.capital(words.say(each.label));
        const label = known ? of("guard.label", { name, state, harm: show(harm), low: show(low), high: show(high), allowed }) : "";
        return { ...each, title: name, harm, low, high, limit: isTime ? 0 : 100 * each.margin, allowed, text, state, label, tone: TONE[each.state], mark: MARK[each.state], kind: each.state };
      }),
    );
    return { ...words, rows, definitions };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="guard-title">
      <h2 id="guard-title">{{ of("guard.heading") }}</h2>
      <p v-if="!rows.length" class="hint">{{ of("guard.none") }}</p>
      <ul v-else class="guards">
        <li v-for="each in rows" :key="each.name" :data-guardrail="each.name" :data-state="each.kind">
          <span class="badge" :class="each.tone"><span aria-hidden="true">{{ each.mark }}</span> {{ each.state }}</span>
          <div class="grow"><b>{{ each.title }}</b> <small class="hint">{{ of("guard.allowed") }} {{ each.allowed }}</small>
            <interval-plot v-if="each.low !== null" is-small is-harm :tone="each.tone" :low="each.low" :high="each.high" :estimate="each.harm" :margin="each.limit" :label="each.label" />
            <small class="hint figures">{{ each.text }}</small></div>
        </li>
      </ul>
      <p class="hint">{{ say({ code: "guardrails.note", params: { ratio: definitions.failed_ratio } }) }}</p>
    </section>
  `,
};
