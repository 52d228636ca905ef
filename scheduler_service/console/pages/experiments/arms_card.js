// The arms: who got what, and whether the users fell as they should.
import { computed } from "vue";
import { fixed, number, percent } from "../../core/format.js";
import { capital, isArmStopped, letter, level, metricOf, shortModel, useWording } from "./wording.js";

export default {
  name: "ArmsCard",
  props: { experiment: { type: Object, required: true }, results: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const total = computed(() => Object.values(props.results.users).reduce((sum, each) => sum + each, 0));
    const meanOf = (arm) => {
      const mean = (props.results.user_means[arm] ?? props.results.comparisons[arm]?.user_means[arm])?.mean;
      const { unit } = metricOf(props.results.metric);
      return unit === "share" ? percent(mean, 2) : fixed(mean, unit === "s" ? 4 : 2);
    };
    const splitTone = computed(() => ({ "split.ok": "good", "split.bad": "bad" })[props.results.split_text.code] ?? "plain");
    const successOf = (arm) => percent(props.results.average_metrics[arm]?.success.mean, 1);
    return { ...words, total, meanOf, successOf, splitTone, isArmStopped, letter, shortModel, number, percent, level };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="arms-title">
      <h2 id="arms-title">{{ of("arms.heading") }}</h2>
      <div v-if="total" class="arm-bars" aria-hidden="true"><i v-for="(users, arm) in results.users" :key="arm" :class="arm" :style="{ flexGrow: users }"></i></div>
      <dl v-for="(model, arm) in results.models" :key="arm" class="arm-facts">
        <div class="arm-title"><dt class="unseen">{{ of("arms.arm") }}</dt><dd><b class="arm-letter" :class="arm">{{ letter(arm) }}</b> <span :title="model">{{ shortModel(model) }}</span> <small class="hint">{{ of(arm === "model_a" ? "baseline" : "candidate") }}</small> <span v-if="isArmStopped(experiment, arm)" class="badge bad">{{ of("arms.stopped") }}</span></dd></div>
        <div><dt>{{ of("arms.users") }}</dt><dd>{{ number(results.users[arm]) }}</dd></div>
        <div><dt>{{ of("arms.requests") }}</dt><dd>{{ number(results.total_requests[arm]) }}</dd></div>
        <div><dt>{{ of("arms.actual") }}</dt><dd>{{ total ? percent(results.users[arm] / total, 1) : "–" }} <small class="hint">/ {{ level(results.traffic_split[arm]) }}</small></dd></div>
        <div><dt>{{ of("arms.success") }}</dt><dd>{{ successOf(arm) }}</dd></div>
        <div><dt>{{ capital(of("arms.mean", { metric: results.metric })) }}</dt><dd>{{ meanOf(arm) }}</dd></div>
      </dl>
      <p v-if="results.coverage < 1" class="hint">{{ of("arms.outside", { share: level(1 - results.coverage) }) }}</p>
      <p v-if="Object.keys(results.stopped_arms).length" class="hint">{{ of("arms.stopped_note") }}</p>
      <p class="note" :class="splitTone" data-srm>{{ say(results.split_text) }}</p>
    </section>
  `,
};
