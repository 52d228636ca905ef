// Where a model comes from, how it was trained, and what its file is.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { ago, bytes, time } from "../../core/format.js";
import CopyButton from "./copy_button.js";
import { partsOf, shortName } from "./records.js";
import { flat } from "./side_by_side.js";

export default {
  name: "ModelFacts",
  components: { CopyButton },
  props: { model: { type: Object, required: true }, models: { type: Array, required: true } },
  setup(props) {
    const { t } = useI18n();
    const params = computed(() => flat(props.model.training_params));
    const config = computed(() => flat(props.model.lineage?.config));
    const isParentHere = computed(() => props.models.some((each) => each.model_key === props.model.lineage?.parent));
    const origin = computed(() => ["training_data_seed", "code_version"].filter((name) => (props.model.lineage?.[name] ?? null) !== null));
    const features = computed(() =>
      ["candidate", "state"].map((kind) => [kind, props.model.signature?.[`${kind}_features`]]).filter(([, names]) => names?.length),
    );
    const otherSignature = computed(() =>
      flat(Object.fromEntries(Object.entries(props.model.signature ?? {}).filter(([name]) => !/_features$|^hidden$|^format$/.test(name)))),
    );
    return { t, ago, bytes, time, partsOf, shortName, params, config, origin, isParentHere, features, otherSignature };
  },
  template: /* html */ `
    <section class="card">
      <h2>{{ t("models.facts") }}</h2>
      <dl class="pairs">
        <dt>{{ t("models.algorithm") }}</dt><dd>{{ model.algorithm }}</dd>
        <dt>{{ t("models.version") }}</dt><dd>{{ model.version }}</dd>
        <dt :title="t('models.config_about')">{{ t("models.config") }}</dt><dd><code>{{ partsOf(model.model_key)?.hash }}</code></dd>
        <dt>{{ t("models.created_by") }}</dt><dd>{{ model.created_by || t("models.nobody") }}</dd>
        <dt>{{ t("models.created_at") }}</dt><dd>{{ time(model.created_at) }}</dd>
        <dt>{{ t("models.status_since") }}</dt><dd>{{ time(model.status_since) }} <small class="hint">{{ ago(model.status_since) }}</small></dd>
        <dt>{{ t("models.size") }}</dt><dd>{{ bytes(model.size_bytes) }}</dd>
        <dt>{{ t("models.sha256") }}</dt><dd class="sha"><code>{{ model.sha256 }}</code><copy-button :text="model.sha256" :label="t('models.copy_sha256')" /></dd>
      </dl>
      <h3 class="gapped">{{ t("models.training_params") }}</h3>
      <dl v-if="params.length" class="pairs mono-values"><template v-for="[name, text] in params" :key="name"><dt>{{ name }}</dt><dd>{{ text }}</dd></template></dl>
      <p v-else class="hint">{{ t("models.no_params") }}</p>
      <h3 class="gapped">{{ t("models.lineage") }}</h3>
      <dl class="pairs" v-if="model.lineage?.parent || origin.length">
        <template v-if="model.lineage.parent"><dt>{{ t("models.parent") }}</dt><dd>
          <router-link v-if="isParentHere" :to="'/models/' + model.lineage.parent">{{ shortName(model.lineage.parent) }}</router-link><template v-else>{{ shortName(model.lineage.parent) }}</template></dd></template>
        <template v-for="name in origin" :key="name"><dt>{{ t("models." + name) }}</dt><dd>{{ model.lineage[name] }}</dd></template>
      </dl>
      <p v-else class="hint">{{ t("models.no_lineage") }}</p>
      <details v-if="config.length"><summary>{{ t("models.checkpoint_config") }}</summary>
        <dl class="pairs mono-values"><template v-for="[name, text] in config" :key="name"><dt>{{ name }}</dt><dd>{{ text }}</dd></template></dl></details>
      <details><summary>{{ t("models.signature") }}</summary>
        <dl class="pairs mono-values">
          <template v-if="model.signature.format"><dt>{{ t("models.format") }}</dt><dd>{{ model.signature.format }}</dd></template>
          <template v-if="model.signature.hidden"><dt>{{ t("models.hidden") }}</dt><dd>{{ model.signature.hidden.join(" → ") }}</dd></template>
          <template v-for="[name, text] in otherSignature" :key="name"><dt>{{ name }}</dt><dd>{{ text }}</dd></template>
        </dl>
        <template v-for="[kind, names] in features" :key="kind"><p class="hint">{{ t("models.features", { count: names.length, kind: t("models." + kind) }) }}</p><p class="features"><code v-for="name in names" :key="name">{{ name }}</code></p></template>
      </details>
    </section>
  `,
};
