// The verdict: a word, a sentence, the interval it rests on, and what to do next.
import { computed } from "vue";
import { now } from "../../core/clock.js";
import { number, time } from "../../core/format.js";
import IntervalPlot from "./interval.js";
import { progressOf } from "./list.js";
import { isOpenEnded, isOver, letter, level, signed, TONES, useWording } from "./wording.js";

export default {
  name: "VerdictCard",
  components: { IntervalPlot },
  props: { experiment: { type: Object, required: true }, figures: { type: Object, required: true }, candidate: { type: String, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const effect = computed(() => props.figures.anytime_effect);
    const confidence = computed(() => level(effect.value?.confidence_level ?? 1 - props.figures.alpha));
    const arms = computed(() => ({ a: "A", b: letter(props.candidate) }));
    const days = computed(() => {
      const { projected_days_left_text: left, projected_days_left_reason: reason } = props.figures;
      if (props.experiment.status !== "active") return { value: "–", note: of("kpi.not_running") };
      if (!left) return { value: "–", note: reason ? words.say(reason.text) : of("kpi.unknown") };
      return { value: of("kpi.days", { days: words.say(left) }), note: of("kpi.days_note") };
    });
    const ends = computed(() => isOpenEnded(props.experiment) ? of("settings.open_ended") : of(new Date(props.figures.end_time) < now() ? "kpi.ended" : "kpi.ends", { time: time(props.figures.end_time) }));
    const progress = computed(() => progressOf(props.experiment));
    return { ...words, effect, confidence, level, arms, days, ends, progress, isOver, number, signed, TONES };
  },
  template: /* html */ `
    <section class="card verdict" :class="'is-' + TONES[figures.verdict]" aria-labelledby="verdict-title">
      <div class="verdict-said">
        <h2 id="verdict-title" class="hint">{{ of("verdict.heading", arms) }}</h2>
        <p v-if="figures.contradiction" class="note warn" data-contradiction>{{ say(figures.contradiction.text) }}</p>
        <p class="word"><span class="badge" :class="TONES[figures.verdict]">{{ word(figures.verdict) }}</span></p>
        <p class="sentence" data-verdict>{{ sentences(figures.verdict_text) }}</p>
        <p class="next"><b>{{ of("next.heading") }}</b> {{ say(figures.recommendation_text) }}</p>
      </div>
      <div class="verdict-shown">
        <p class="figure"><strong :class="TONES[figures.verdict]">{{ effect ? signed(effect.improvement_percentage) : "–" }}</strong>
          <span class="hint">{{ of("kpi.improvement") }}<template v-if="effect"> · {{ of("verdict.interval", { level: confidence }) }} {{ of("plot.range", { low: signed(effect.confidence_sequence[0]), high: signed(effect.confidence_sequence[1]) }) }}</template></span></p>
        <interval-plot v-if="effect" :tone="TONES[figures.verdict]" :margin="-figures.margin_percentage" :estimate="effect.improvement_percentage" :low="effect.confidence_sequence[0]" :high="effect.confidence_sequence[1]" />
        <p v-if="effect" class="hint">{{ of("verdict.anytime", { alpha: level(1 - effect.confidence_level) }) }}</p>
      </div>
      <dl class="kpis">
        <div class="kpi"><dt>{{ of("kpi.users", arms) }}</dt><dd>{{ number(figures.users.model_a) }} / {{ number(figures.users[candidate]) }}
          <small>{{ of("kpi.requests", { a: number(figures.total_requests.model_a), b: number(figures.total_requests[candidate]) }) }}</small></dd></div>
        <div class="kpi"><dt>{{ of("kpi.day") }}</dt><dd>{{ of(progress.isOpenEnded ? "list.day_open" : "list.day_of", progress) }}
          <small>{{ ends }}</small></dd></div>
        <div class="kpi"><dt>{{ of("kpi.mde") }}</dt><dd>{{ figures.minimum_detectable_effect_percentage === null ? "–" : number(figures.minimum_detectable_effect_percentage) + " %" }}<small>{{ of("kpi.mde_note") }}</small></dd></div>
        <div class="kpi"><dt>{{ of("kpi.days_left") }}</dt><dd>{{ days.value }}<small>{{ days.note }}</small></dd></div>
      </dl>
    </section>
  `,
};
