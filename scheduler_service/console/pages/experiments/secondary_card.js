// The other metrics, and the raw means of the first one.
import { computed } from "vue";
import { level, pText, pValue, signed, useWording } from "./wording.js";

const IN_ALL_RUNS = ["success", "user_satisfaction"]; // what failed runs have as well

export default {
  name: "SecondaryCard",
  props: { figures: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const rawMeans = computed(() => {
      const { improvement_percentage: improvement, confidence_interval: interval, p_value: p, is_significant: is, confidence_level: confidence, min_samples: samples, reasons } = props.figures;
      if (improvement === null || interval === null || p === null) return "";
      const why = reasons.is_significant?.code === "too_few_samples" ? words.reason("too_few_samples", { samples }) : "";
      const verdict = why ? of("secondary.unjudged", { reason: why }) : of(is ? "secondary.significant" : "secondary.not_significant");
      return of(IN_ALL_RUNS.includes(props.figures.metric) ? "secondary.raw_all" : "secondary.raw", { metric: words.metric(props.figures.metric), improvement: signed(improvement), level: level(confidence), low: signed(interval[0]), high: signed(interval[1]), p: pText(p), verdict }) + (isOfRequests(improvement) ? of("secondary.of_requests") : "");
    });
    // An optimum's makespan is the request's: that two arms differ in it says nothing of their models.
    const isOfRequests = (improvement) => Boolean(props.figures.cannot_tell) && props.figures.metric === "makespan" && improvement !== 0;
    return { ...words, rawMeans, pValue, signed };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="secondary-title">
      <h2 id="secondary-title">{{ of("secondary.heading") }}</h2>
      <div class="scroll" tabindex="0" role="group" :aria-label="of('secondary.heading')">
        <table class="data">
          <thead><tr><th scope="col">{{ of("secondary.metric") }}</th><th scope="col" class="num">{{ of("secondary.improvement") }}</th><th scope="col" class="num">{{ of("secondary.p") }}</th><th scope="col">{{ of("secondary.verdict") }}</th></tr></thead>
          <tbody><tr v-for="(each, name) in figures.secondary" :key="name">
            <td>{{ metric(name) }}</td><td class="num">{{ signed(each.improvement_percentage) }}</td><td class="num">{{ pValue(each.p_value_holm) }}</td>
            <td><span v-if="each.is_significant" class="badge" :class="each.improvement_percentage > 0 ? 'good' : 'bad'">{{ of("secondary.significant") }}</span>
              <small v-else class="hint">{{ each.reason ? reason(each.reason.code, { least: 2 }) : of("secondary.not_significant") }}</small></td></tr></tbody>
        </table>
      </div>
      <p class="hint">{{ of("secondary.note") }}</p>
      <p v-if="rawMeans" class="hint" data-raw-means>{{ rawMeans }}</p>
    </section>
  `,
};
