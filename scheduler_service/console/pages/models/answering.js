// Which model answers now: by default, and how the stable version of each algorithm stands to that.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { ago } from "../../core/format.js";
import { shown } from "./metrics.js";
import { algorithmsOf, measured, shortName } from "./records.js";
import { armTexts, shareText, stableText } from "./shares.js";

export default {
  name: "ModelAnswering",
  props: { models: { type: Array, required: true }, defaultModel: { type: Object, required: true }, answering: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const stables = computed(() => algorithmsOf(props.models).filter((each) => each.stable));
    const first = computed(() => props.models.find((each) => each.model_key === props.defaultModel.model_key) ?? null);
    return { t, ago, shown, measured, shortName, stables, first, armTexts, shareText, stableText };
  },
  template: /* html */ `
    <section class="answering" :aria-label="t('models.answering')">
      <article class="card answer default">
        <h2>{{ t("models.default") }}</h2>
        <template v-if="first">
          <p class="name"><router-link :to="'/models/' + first.model_key">{{ shortName(first.model_key) }}</router-link> <status-badge kind="model" :value="first.status" /></p>
          <p class="facts">{{ t("models.metric_short.makespan") }} <b>{{ shown("makespan", measured(first, "makespan")) }}</b> · {{ t("models.metric_short.gap") }} <b>{{ shown("gap", measured(first, "gap")) }}</b></p>
        </template>
        <p v-if="first" class="hint"><b>{{ shareText(answering, first.model_key, t) }}</b><template v-for="each in armTexts(answering, first.model_key, t)" :key="each"> · {{ each }}</template></p>
        <p v-else class="error">{{ t("models.default_missing", { name: defaultModel.name }) }}</p>
        <p class="hint">{{ t("models.default_about") }} <span class="nowrap">{{ t("models.default_as", { name: defaultModel.name }) }}</span></p>
      </article>
      <article v-for="{ algorithm, stable } in stables" :key="algorithm" class="card answer stable">
        <h2>{{ t("models.stable_of", { algorithm }) }}</h2>
        <p class="name"><router-link :to="'/models/' + stable.model_key">{{ shortName(stable.model_key) }}</router-link> <status-badge kind="model" :value="stable.status" /></p>
        <p class="facts">{{ t("models.metric_short.makespan") }} <b>{{ shown("makespan", measured(stable, "makespan")) }}</b> · {{ t("models.metric_short.gap") }} <b>{{ shown("gap", measured(stable, "gap")) }}</b></p>
        <p :class="stable.is_default ? 'hint' : 'plainly'">{{ stableText(stable, defaultModel, t) }}</p>
        <p class="hint">{{ shareText(answering, stable.model_key, t) }}<template v-for="each in armTexts(answering, stable.model_key, t)" :key="each"> · {{ each }}</template></p>
      </article>
      <article v-if="!stables.length" class="card answer"><h2>{{ t("models.stable") }}</h2><p class="name">{{ t("models.no_stable") }}</p><p class="hint">{{ t("models.stable_about") }}</p></article>
    </section>
  `,
};
