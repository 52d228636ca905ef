// Both models on the same requests: of the shadow runs and of a replay, and the replay itself.
import { computed, ref, watch } from "vue";
import { fixed, number } from "../../core/format.js";
import IntervalPlot from "./interval.js";
import ReplayControl from "./replay_control.js";
import { signed, TONES, useWording } from "./wording.js";

export default {
  name: "PairsCard",
  components: { IntervalPlot, ReplayControl },
  props: { results: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const chosen = ref("shadow");
    const sources = computed(() => Object.keys(props.results.paired));
    watch(
      () => sources.value.join(),
      () => {
        if (!sources.value.includes(chosen.value)) chosen.value = sources.value[0] ?? "shadow";
      },
      { immediate: true },
    );
    const told = computed(() => props.results.paired[chosen.value]);
    const arms = { a: "A", b: "B" };
    return { ...words, chosen, sources, told, arms, fixed, number, signed, TONES };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="pairs-title">
      <div class="row card-head"><h2 id="pairs-title">{{ of("pairs.heading") }}</h2>
        <div v-if="sources.length > 1" class="tabs right" role="group" :aria-label="of('pairs.heading')">
          <button v-for="each in sources" :key="each" type="button" :aria-pressed="chosen === each" @click="chosen = each">{{ of("pairs." + each) }}</button>
        </div></div>
      <p v-if="!told" class="empty">{{ of("pairs.none") }}</p>
      <div v-else class="halves plain" :data-pairs="chosen">
        <div>
          <p><span class="badge" :class="TONES[told.verdict]">{{ word(told.verdict) }}</span> <span class="hint">{{ of("pairs." + chosen) }} · {{ of("pairs.of", { pairs: number(told.pairs), users: number(told.users) }) }}</span></p>
          <div class="won-lost" role="img" :aria-label="of('pairs.bar', { won: told.wins, tied: told.ties, lost: told.losses })">
            <i class="won" :style="{ flexGrow: told.wins }"></i><i class="tied" :style="{ flexGrow: told.ties }"></i><i class="lost" :style="{ flexGrow: told.losses }"></i></div>
          <dl class="row won-lost-key"><div><dt>{{ of("pairs.won", arms) }}</dt><dd class="good">{{ number(told.wins) }}</dd></div><div><dt>{{ of("pairs.tied") }}</dt><dd>{{ number(told.ties) }}</dd></div><div><dt>{{ of("pairs.lost", arms) }}</dt><dd class="bad">{{ number(told.losses) }}</dd></div>
            <div><dt>{{ of("pairs.ratio", { ...arms, metric: told.metric }) }}</dt><dd :title="of('pairs.ratio_note', arms)">{{ fixed(told.geometric_mean_ratio, 4) }}</dd></div></dl>
          <template v-if="told.confidence_sequence">
            <p class="hint">{{ of("kpi.improvement") }} <b>{{ signed(told.improvement_percentage) }}</b> ({{ of("plot.range", { low: signed(told.confidence_sequence[0]), high: signed(told.confidence_sequence[1]) }) }})</p>
            <interval-plot :tone="TONES[told.verdict]" :margin="-told.margin_percentage" :estimate="told.improvement_percentage" :low="told.confidence_sequence[0]" :high="told.confidence_sequence[1]" />
          </template>
          <p class="hint" data-paired-verdict>{{ sentences(told.verdict_text) }}</p>
        </div>
        <div>
          <h3>{{ of("pairs.worst", arms) }}</h3>
          <p v-if="!told.worst.length" class="hint">{{ of("pairs.no_worst", arms) }}</p>
          <div v-else class="scroll" tabindex="0" role="group" :aria-label="of('pairs.worst', arms)">
            <table class="data"><thead><tr><th scope="col">{{ of("pairs.request") }}</th><th scope="col">{{ of("pairs.user") }}</th><th scope="col" class="num">{{ of("pairs.workpoints") }}</th><th scope="col" class="num">A (h)</th><th scope="col" class="num">B (h)</th><th scope="col" class="num">{{ of("pairs.difference") }}</th></tr></thead>
              <tbody><tr v-for="each in told.worst" :key="each.request_id"><td class="mono" :title="each.request_id">{{ each.request_id.slice(0, 8) }}</td><td>{{ each.user_id ?? "–" }}</td><td class="num">{{ each.n_workpoints }}</td>
                <td class="num">{{ fixed(each[told.metric + "_a"]) }}</td><td class="num">{{ fixed(each[told.metric + "_b"]) }}</td><td class="num bad">{{ signed(100 * (each.ratio - 1), 1) }}</td></tr></tbody></table>
          </div>
        </div>
      </div>
      <replay-control :has-pairs="'replay' in results.paired" :candidates="Object.keys(results.models).slice(1)" />
    </section>
  `,
};
