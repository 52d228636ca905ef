// The other metrics, and the raw means of the first one.
import { computed } from "vue";
import { pValue, signed, useWording } from "./wording.js";

export default {
  name: "SecondaryCard",
  props: { figures: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const rawMeans = computed(() => words.sentences(props.figures.raw_means_text));
    return { ...words, rawMeans, pValue, signed };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="secondary-title">
      <h2 id="secondary-title">{{ of("secondary.heading") }}</h2>
      <div class="scroll" tabindex="0" role="group" :aria-label="of('secondary.heading')">
        <table class="data">
          <thead><tr><th scope="col">{{ of("secondary.metric") }}</th><th scope="col" class="num">{{ of("secondary.improvement") }}</th><th scope="col" class="num">{{ of("secondary.p") }}</th><th scope="col">{{ of("secondary.verdict") }}</th></tr></thead>
          <tbody><tr v-for="(each, name) in figures.secondary" :key="name">
            <td>{{ capital(metric(name)) }}</td><td class="num">{{ signed(each.improvement_percentage) }}</td><td class="num">{{ pValue(each.p_value_holm) }}</td>
            <td><span v-if="each.is_significant" class="badge" :class="each.improvement_percentage > 0 ? 'good' : 'bad'">{{ of("secondary.significant") }}</span>
              <small v-else class="hint">{{ each.reason ? say(each.reason.text) : of("secondary.not_significant") }}</small></td></tr></tbody>
        </table>
      </div>
      <p class="hint">{{ of("secondary.note") }}</p>
      <p v-if="rawMeans" class="hint" data-raw-means>{{ rawMeans }}</p>
    </section>
  `,
};
