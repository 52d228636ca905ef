// A model's figures beside those of the other versions of its algorithm.
import { computed } from "vue";
import { useRouter } from "vue-router";
import { useI18n } from "vue-i18n";
import { comparisonOption, sizesOption } from "./charts.js";
import { shown } from "./metrics.js";
import { measured, shortName, versionNumber } from "./records.js";

const MOST = 24;

export default {
  name: "ModelComparison",
  props: { model: { type: Object, required: true }, models: { type: Array, required: true } },
  setup(props) {
    const { t, locale } = useI18n();
    const router = useRouter();
    const versions = computed(() => {
      const all = props.models
        .filter((each) => each.algorithm === props.model.algorithm)
        .sort((a, b) => versionNumber(a.version) - versionNumber(b.version));
      const at = all.findIndex((each) => each.model_key === props.model.model_key);
      const end = Math.min(all.length, Math.max(at + MOST / 2, MOST));
      return all.slice(Math.max(0, end - MOST), end);
    });
    const option = computed(() => locale.value && comparisonOption(versions.value, props.model, t));
    const sizes = computed(() => locale.value && sizesOption(versions.value, props.model, t));
    const label = computed(() =>
      t("models.compare_label", {
        algorithm: props.model.algorithm,
        figures: versions.value
          .map((each) => t("models.compare_entry", { version: each.version, makespan: shown("makespan", measured(each, "makespan")), gap: shown("gap", measured(each, "gap")) }))
          .join("; "),
      }),
    );
    const sizesLabel = computed(() =>
      t("models.sizes_label", {
        name: shortName(props.model.model_key),
        figures: Object.entries(props.model.verified_metrics.worst_gap ?? {})
          .map(([count, gap]) => `${t("models.sizes_axis", { count }, Number(count))} ${shown("gap", gap)}`)
          .join("; "),
      }),
    );
    const open = ({ data }) => data?.key && router.push(`/models/${data.key}`);
    return { t, versions, option, sizes, label, sizesLabel, open };
  },
  template: /* html */ `
    <section class="card">
      <h2>{{ t("models.compare") }}</h2>
      <p><router-link :to="{ path: '/models', query: { view: 'compare', a: model.model_key } }">{{ t("models.compare_with") }} →</router-link></p>
      <p v-if="versions.length < 2" class="hint">{{ t("models.compare_alone", { algorithm: model.algorithm }) }}</p>
      <template v-else>
        <p class="hint">{{ t("models.compare_about") }}</p>
        <e-chart :option="option" :label="label" height="25rem" @pick="open" />
      </template>
      <template v-if="sizes">
        <h3 class="gapped">{{ t("models.sizes") }}</h3>
        <e-chart :option="sizes" :label="sizesLabel" height="15rem" @pick="open" />
      </template>
    </section>
  `,
};
