// How the new version is numbered.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { versionNumber } from "./records.js";

export default {
  name: "VersionChoice",
  props: { draft: { type: Object, required: true }, models: { type: Array, required: true }, problem: { type: String, default: "" } },
  setup(props) {
    const { t } = useI18n();
    const highest = computed(() => {
      const versions = props.models.filter((each) => each.algorithm === props.draft.algorithm_name).map((each) => each.version);
      return versions.sort((a, b) => versionNumber(b) - versionNumber(a))[0] ?? null;
    });
    return { t, highest, BUMPS: ["major", "minor", "patch"] };
  },
  template: /* html */ `
    <fieldset :data-field="draft.versioning === 'version' ? undefined : 'version'">
      <legend>{{ t("models.register.versioning") }}</legend>
      <label class="check"><input v-model="draft.versioning" type="radio" name="versioning" value="auto">{{ t("models.register.version_auto") }} <small class="hint">{{ t("models.register.version_auto_about") }}</small></label>
      <div class="check"><label class="check"><input v-model="draft.versioning" type="radio" name="versioning" value="bump">{{ t("models.register.version_bump") }}</label>
        <select v-model="draft.bump" class="input narrow" name="bump" :aria-label="t('models.register.version_bump')" @change="draft.versioning = 'bump'"><option v-for="each in BUMPS" :key="each" :value="each">{{ t("models.register.bump." + each) }}</option></select></div>
      <div class="check"><label class="check"><input v-model="draft.versioning" type="radio" name="versioning" value="version">{{ t("models.register.version_explicit") }}</label>
        <input v-model="draft.version" class="input narrow" name="version" :data-field="draft.versioning === 'version' ? 'version' : undefined" placeholder="2.1.0" :aria-label="t('models.register.version')" :aria-invalid="!!problem" aria-describedby="version-problem" @input="draft.versioning = 'version'"></div>
      <p class="hint">{{ highest ? t("models.register.highest", { algorithm: draft.algorithm_name, version: highest }) : t("models.register.first", { algorithm: draft.algorithm_name }) }}</p>
      <p v-if="problem" id="version-problem" class="error">{{ problem }}</p>
    </fieldset>
  `,
};
