// One model in the list: measured figures first, what was claimed beneath, a flag where the two differ.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { ago, percent, time } from "../../core/format.js";
import { difference, shown } from "./metrics.js";
import { METRICS, STABLE, claimed, flagOf, measured } from "./records.js";
import { entryOf, shareText } from "./shares.js";

export default {
  name: "ModelRow",
  props: { model: { type: Object, required: true }, answering: { type: Object, required: true } },
  emits: ["tag"],
  setup(props) {
    const { t } = useI18n();
    const isFlattering = (metric, flag) => (flag.claimed < flag.verified) === metric.lower;
    const flagText = (metric) => {
      const flag = flagOf(props.model, metric.name);
      return flag && t(isFlattering(metric, flag) ? "models.flag_better" : "models.flag_worse", { difference: difference(flag) });
    };
    const tone = (metric) => {
      const flag = flagOf(props.model, metric.name);
      return flag ? (isFlattering(metric, flag) ? "bad" : "warn") : "";
    };
    const share = computed(() => entryOf(props.answering, props.model.model_key)?.share ?? 0);
    return { t, share, shareText, percent, ago, time, shown, claimed, measured, flagText, tone, METRICS, STABLE };
  },
  template: /* html */ `
    <tr role="row" :class="{ retired: model.status === 'retired' }">
      <th role="rowheader" scope="row" class="who">
        <router-link :to="'/models/' + model.model_key">{{ model.algorithm }} v{{ model.version }}</router-link>
        <span v-if="model.is_default" class="badge mark-default" :title="t('models.default_about')">{{ t("models.is_default") }}</span>
        <span v-if="share" class="badge" :title="shareText(answering, model.model_key, t)" data-share>{{ t("models.is_answering", { share: percent(share) }) }}</span>
        <span v-if="model.tags.includes(STABLE)" class="badge mark-stable" :title="t('models.stable_about')">{{ t("models.is_stable") }}</span>
        <button v-for="tag in model.tags.filter((each) => each !== STABLE)" :key="tag" type="button" class="tag" :title="t('models.tag') + ': ' + tag" @click="$emit('tag', tag)">{{ tag }}</button>
        <code class="key">{{ model.model_key }}</code>
        <span v-if="model.description" class="about" :title="model.description">{{ model.description }}</span>
      </th>
      <td role="cell" :data-label="t('models.status')"><status-badge kind="model" :value="model.status" /></td>
      <td v-for="metric in METRICS" :key="metric.name" role="cell" class="num figure" :data-label="t('models.metric_short.' + metric.name)">
        <span :title="t('models.measured')">{{ shown(metric.name, measured(model, metric.name)) }}</span>
        <small v-if="claimed(model, metric.name) !== null" :class="tone(metric)" :title="flagText(metric)"><span v-if="flagText(metric)" aria-hidden="true">⚑ </span>{{ t("models.claimed_value", { value: shown(metric.name, claimed(model, metric.name)) }) }}<span v-if="flagText(metric)" class="unseen">{{ flagText(metric) }}</span></small>
      </td>
      <td role="cell" class="when" :data-label="t('models.created')">
        <span>{{ model.created_by || t("models.nobody") }}</span><small :title="time(model.created_at)">{{ ago(model.created_at) }}</small>
      </td>
    </tr>
  `,
};
