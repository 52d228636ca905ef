// The effect by number of work points: a breakdown of the verdict, which decides nothing.
import { computed } from "vue";
import { fixed, number } from "../../core/format.js";
import IntervalPlot from "./interval.js";
import { letter, signed, signedNumber, useWording } from "./wording.js";

const TONE = { better: "good", worse: "bad", open: "plain", unknown: "mute" };

export default {
  name: "SizesCard",
  components: { IntervalPlot },
  props: { figures: { type: Object, required: true }, candidate: { type: String, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const told = computed(() => props.figures.by_size);
    const arms = computed(() => ({ a: "A", b: letter(props.candidate), metric: words.metric(props.figures.metric) }));
    const isOfPairs = computed(() => told.value.basis === "pairs");
    const unit = computed(() => (told.value.classes[0].unit ? words.term("unit", told.value.classes[0].unit) : ""));
    // One axis for all, so that they can be compared; what is very wide is cut off there.
    const range = computed(() => {
      const ends = told.value.classes.flatMap((each) => each.interval_percentage ?? []).map(Math.abs);
      const far = Math.min(Math.max(1, ...ends), 50);
      return [-far, far];
    });
    const sizeOf = ({ from_workpoints: from, to_workpoints: to }) => of(`sizes.${to === null ? "class_more" : from === to ? "class_one" : "class_range"}`, { from, to });
    const rows = computed(() =>
      told.value.classes.map((each) => {
        const users = each.users.model_a + (isOfPairs.value ? 0 : each.users[props.candidate]);
        const samples = each.samples.model_a + (isOfPairs.value ? 0 : each.samples[props.candidate]);
        const interval = each.interval_percentage;
        const size = sizeOf(each);
        return {
          ...each, size, interval, tone: TONE[each.side],
          samples: `${number(users)} / ${number(samples)}`,
          change: each.change ? `${signedNumber(each.change[0])} … ${signedNumber(each.change[1])}` : "–",
          label: interval ? of("sizes.label", { size, estimate: signed(each.improvement_percentage), low: signed(interval[0]), high: signed(interval[1]) }) : "",
          why: samples && each.reason ? words.capital(words.say(each.reason.text)) : of("sizes.none"),
        };
      }),
    );
    return { ...words, told, arms, rows, range, unit, isOfPairs, fixed, number, signed };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="sizes-title" data-sizes>
      <h2 id="sizes-title">{{ of("sizes.heading") }}</h2>
      <p class="hint">{{ of("sizes.metric", arms) }}</p>
      <table class="data sizes" role="table">
        <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">{{ of("sizes.workpoints") }}</th><th role="columnheader" scope="col">{{ of("sizes.improvement", arms) }}</th><th v-if="unit" role="columnheader" scope="col" class="num">{{ of("sizes.hours", { unit }) }}</th><th role="columnheader" scope="col" class="num">{{ of(isOfPairs ? "sizes.pairs" : "sizes.samples") }}</th></tr></thead>
        <tbody role="rowgroup"><tr v-for="each in rows" :key="each.from_workpoints" role="row" :data-size="each.from_workpoints" :data-side="each.side">
          <th role="rowheader" scope="row"><span class="only-phone">{{ of("sizes.workpoints") }}:&nbsp;</span>{{ each.size }}</th>
          <td v-if="each.interval" role="cell"><b :class="each.tone">{{ signed(each.improvement_percentage) }}</b> <small class="hint">{{ of("plot.range", { low: signed(each.interval[0]), high: signed(each.interval[1]) }) }}</small>
            <interval-plot is-small :tone="each.tone" :range="range" :estimate="each.improvement_percentage" :low="each.interval[0]" :high="each.interval[1]" :label="each.label" /></td>
          <td v-else role="cell" class="hint">{{ each.why }}</td>
          <td v-if="unit" role="cell" class="num" :data-label="of('sizes.hours', { unit })">{{ each.change }}</td><td role="cell" class="num" :data-label="of(isOfPairs ? 'sizes.pairs' : 'sizes.samples')">{{ each.samples }}</td></tr></tbody>
      </table>
      <p class="hint">{{ of("sizes.note", { level: told.confidence_level }) }} <template v-if="told.unknown_samples">{{ of("sizes.unknown", { count: told.unknown_samples }) }}</template></p>
    </section>
  `,
};
