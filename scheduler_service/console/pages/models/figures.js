// A model's claims beside what was measured, with what the two make of each other.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { number, time } from "../../core/format.js";
import { difference, shown } from "./metrics.js";
import { METRICS, claimed, flagOf, measured } from "./records.js";
import { CURVE } from "./side_by_side.js";

export default {
  name: "ModelFigures",
  props: { model: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const rows = computed(() =>
      METRICS.map(({ name, lower }) => {
        const flag = flagOf(props.model, name);
        const claim = claimed(props.model, name);
        const isFlattering = flag && (flag.claimed < flag.verified) === lower;
        return {
          ...{ name, claim, measured: measured(props.model, name), validated: props.model.validation?.[name] ?? null },
          // The compute time depends on the machine: nobody compares it.
          verdict: flag
            ? { tone: isFlattering ? "bad" : "warn", text: `⚑ ${t(isFlattering ? "models.flag_better" : "models.flag_worse", { difference: difference(flag) })}` }
            : claim !== null && name !== "execution_time" && { tone: "good", text: t("models.agrees") },
        };
      }),
    );
    const others = computed(() =>
      Object.entries(props.model.performance ?? {}).filter(([name]) => name !== CURVE && !METRICS.some((each) => each.name === name)),
    );
    const text = (value) => (typeof value === "number" ? number(value, 5) : typeof value === "string" ? value : JSON.stringify(value));
    return { t, rows, others, shown, time, text };
  },
  template: /* html */ `
    <section class="card">
      <h2>{{ t("models.figures") }}</h2>
      <table class="data figures cards" role="table">
        <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">{{ t("models.figure") }}</th><th v-for="kind in ['as_claimed', 'at_registration', 'at_validation']" :key="kind" role="columnheader" scope="col" class="num">{{ t("models." + kind) }}</th></tr></thead>
        <tbody role="rowgroup"><tr v-for="row in rows" :key="row.name" role="row">
          <th role="rowheader" scope="row">{{ t("models.metric." + row.name) }}</th>
          <td role="cell" class="num figure" :data-label="t('models.as_claimed')">{{ shown(row.name, row.claim) }}<small v-if="row.verdict" :class="row.verdict.tone">{{ row.verdict.text }}</small></td>
          <td role="cell" class="num" :data-label="t('models.at_registration')"><b>{{ shown(row.name, row.measured) }}</b></td>
          <td role="cell" class="num" :data-label="t('models.at_validation')">{{ shown(row.name, row.validated) }}</td>
        </tr></tbody>
      </table>
      <p class="hint below">{{ t("models.figures_about", { count: model.verified_metrics.instances ?? 0 }) }} {{ t("models.flag_note") }}</p>
      <p class="hint">{{ model.validation.measured_at ? t("models.validated_at", { time: time(model.validation.measured_at) }) : t("models.never_validated") }}</p>
      <details v-if="others.length"><summary>{{ t("models.other_claims") }} ({{ others.length }})</summary>
        <dl class="pairs"><template v-for="[name, value] in others" :key="name"><dt>{{ name }}</dt><dd>{{ text(value) }}</dd></template></dl></details>
    </section>
  `,
};
