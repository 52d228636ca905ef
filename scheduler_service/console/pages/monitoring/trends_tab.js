// How the runs went: the same buckets in six charts, chosen by period, model and experiment.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { useRoute, useRouter } from "vue-router";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import TrendCharts from "./trend_charts.js";

const HOURS = [1, 24, 168, 720];

export default {
  name: "TrendsTab",
  components: { TrendCharts },
  props: { thresholds: { type: Object, default: () => ({}) }, rules: { type: Array, default: () => [] } }, // of GET /alerts
  setup() {
    const { t } = useI18n();
    const [route, router] = [useRoute(), useRouter()];
    const hours = computed(() => (HOURS.includes(Number(route.query.hours)) ? Number(route.query.hours) : 24));
    const model = computed(() => route.query.model ?? "");
    const experiment = computed(() => route.query.experiment ?? "");
    const choose = (name, value) => router.replace({ query: { ...route.query, [name]: value || undefined } });
    const known = useLoad(async (signal) => {
      const [models, experiments] = await Promise.all([api.get("/models", null, { signal }), api.get("/experiments", null, { signal })]);
      return { models: models.models, experiments: experiments.experiments };
    });
    /** Also what the address names and nobody knows any more. */
    const options = (found, chosen) => (chosen && !found.includes(chosen) ? [chosen, ...found] : found);
    const models = computed(() => options((known.data.value?.models ?? []).map((each) => each.model_key), model.value));
    const experiments = computed(() => options((known.data.value?.experiments ?? []).map((each) => each.name), experiment.value));
    return { t, hours, model, experiment, choose, models, experiments, ranges: HOURS };
  },
  template: /* html */ `
    <div class="row filters">
      <div class="tabs" role="group" :aria-label="t('monitoring.trends.range')">
        <button v-for="each in ranges" :key="each" type="button" :aria-pressed="hours === each" @click="choose('hours', each)">{{ t("monitoring.trends.ranges." + each) }}</button>
      </div>
      <label class="chosen">{{ t("monitoring.trends.model") }}
        <select class="input" :value="model" name="model" @change="choose('model', $event.target.value)">
          <option value="">{{ t("monitoring.trends.all_models") }}</option>
          <option v-for="each in models" :key="each" :value="each">{{ each }}</option>
        </select></label>
      <label class="chosen">{{ t("monitoring.trends.experiment") }}
        <select class="input" :value="experiment" name="experiment" @change="choose('experiment', $event.target.value)">
          <option value="">{{ t("monitoring.trends.all_experiments") }}</option>
          <option v-for="each in experiments" :key="each" :value="each">{{ each }}</option>
        </select></label>
    </div>
    <trend-charts :key="hours + model + '|' + experiment" :hours="hours" :model="model" :experiment="experiment" :thresholds="thresholds" :rules="rules" />
  `,
};
