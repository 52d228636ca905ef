// What must not get worse: state, harm with its bounds, what is put up with.
import { computed } from "vue";
import { fixed, number } from "../../core/format.js";
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
        const isTime = each.name === "execution_time";
        const isBreaker = each.name === "requests"; // a plain share of the candidate's requests, without bounds
        const known = each.harm_bounds !== null;
        const [low, high] = known ? each.harm_bounds.map((bound) => 100 * bound) : [null, null];
        const harm = each.harm === null ? null : 100 * each.harm;
        const unit = ["makespan", "policy_makespan", "requests"].includes(each.name) ? " %" : ""; // the others are points, as their names say
        const allowed = isTime ? of("guard.time_allowed", { margin: `${number(100 * each.margin)} %` }) : `${number(100 * each.margin)}${unit}`;
        const show = (value) => `${signedNumber(value, 1)}${unit}`;
        const text = isBreaker ? (harm === null ? of("guard.no_requests") : `${fixed(harm, 1)}${unit}`) : known ? `${show(harm)} (${show(low)} … ${show(high)})` : of("guard.too_few", { a: each.users[0], b: each.users[1] });
        // The margin of the execution time is in its threshold, so that its harm is held against zero.
        const state = of(`guard.${each.state}`);
        const label = known ? of("guard.label", { name: of(`guard.${each.name}`), state, harm: show(harm), low: show(low), high: show(high), allowed }) : "";
        return { ...each, harm, low, high, limit: isTime ? 0 : 100 * each.margin, allowed, text, state, label, tone: TONE[each.state], mark: MARK[each.state], kind: each.state };
      }),
    );
    return { ...words, rows };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="guard-title">
      <h2 id="guard-title">{{ of("guard.heading") }}</h2>
      <p v-if="!rows.length" class="hint">{{ of("guard.none") }}</p>
      <ul v-else class="guards">
        <li v-for="each in rows" :key="each.name" :data-guardrail="each.name" :data-state="each.kind">
          <span class="badge" :class="each.tone"><span aria-hidden="true">{{ each.mark }}</span> {{ each.state }}</span>
          <div class="grow"><b>{{ of("guard." + each.name) }}</b> <small class="hint">{{ of("guard.allowed") }} {{ each.allowed }}</small>
            <interval-plot v-if="each.low !== null" is-small is-harm :tone="each.tone" :low="each.low" :high="each.high" :estimate="each.harm" :margin="each.limit" :label="each.label" />
            <small class="hint figures">{{ each.text }}</small></div>
        </li>
      </ul>
      <p class="hint">{{ of("guard.note") }}</p>
    </section>
  `,
};
