// The form that registers a model: its file, what it is, how it was trained and what it claims.
import { computed, onScopeDispose, reactive, ref } from "vue";
import { useRouter } from "vue-router";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { percent } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { refusalText } from "../../core/refusals.js";
import { rememberActor, session } from "../../core/session.js";
import { leadToFirst } from "../../parts/mistakes.js";
import { toast } from "../../parts/toast.js";
import DropZone from "./drop_zone.js";
import FormField from "./field.js";
import PairsEditor from "./pairs_editor.js";
import VersionChoice from "./version_choice.js";
import { algorithmsOf, isTag, shortName } from "./records.js";
import { newPairs, readPairs } from "./pairs.js";
import { byField } from "./problems.js";

const ALGORITHMS = ["DDQN", "RULE", "GA", "CPSAT"];
const tagsIn = (text) => text.split(/[\s,，、]+/).filter(Boolean);

/** What is sent, and what cannot be: {form, wrong: {field: [key of ours, figures]}}. */
function formOf(draft) {
  const form = new FormData();
  const wrong = {};
  if (draft.file) form.set("file", draft.file);
  else wrong.file = ["register.file_needed", {}];
  for (const name of ["algorithm_name", "description", "created_by"]) form.set(name, draft[name].trim());
  if (draft.versioning === "version") form.set("version", draft.version.trim());
  if (draft.versioning === "bump") form.set("bump", draft.bump);
  for (const field of ["training_params", "performance_metrics"]) {
    try {
      form.set(field, JSON.stringify(readPairs(draft[field])));
    } catch (err) {
      if (!err.key) throw err;
      wrong[field] = [`register.${err.key}`, err.figures ?? {}];
    }
  }
  const tags = tagsIn(draft.tags);
  if (!tags.every(isTag)) wrong.tags = ["tags_invalid", {}];
  form.set("tags", JSON.stringify(tags));
  if (draft.parent) form.set("lineage", JSON.stringify({ parent: draft.parent }));
  return { form, wrong };
}

/** Whether the chosen file is still what was chosen: the browser sends none that changed since, and says it cannot connect. */
const isReadable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

export default {
  name: "ModelRegistration",
  components: { DropZone, FormField, PairsEditor, VersionChoice },
  setup() {
    const { t } = useI18n();
    const router = useRouter();
    const list = useLoad((signal) => api.get("/models", {}, { signal }));
    const models = computed(() => list.data.value?.models ?? []);
    const algorithms = computed(() => [...new Set([...ALGORITHMS, ...algorithmsOf(models.value).map((each) => each.algorithm)])]);
    const parents = computed(() => models.value.filter((each) => each.algorithm === draft.algorithm_name));
    const draft = reactive({
      ...{ file: null, algorithm_name: "DDQN", versioning: "auto", version: "", bump: "minor", description: "", created_by: session.actor, tags: "", parent: "" },
      training_params: newPairs(["seed", "updates", "learning_rate"]),
      performance_metrics: newPairs(["makespan", "gap", "resource_utilization"]),
    });
    const problems = ref({});
    const sent = ref(null); // share of the file, while there is an upload
    const form = ref(null);
    let abort = null;
    onScopeDispose(() => abort?.abort());

    async function show(found) {
      problems.value = found;
      return leadToFirst(form.value);
    }

    async function submit() {
      const { form: body, wrong } = formOf(draft);
      problems.value = {};
      const found = Object.entries(wrong).map(([field, [key, figures]]) => [field, t(`models.${key}`, figures)]);
      if (found.length) return show(Object.fromEntries(found));
      abort = new AbortController();
      sent.value = 0;
      try {
        if (draft.created_by.trim()) rememberActor(draft.created_by);
        const before = new Set((await api.get("/models", { algorithm: draft.algorithm_name }, { signal: abort.signal })).models.map((each) => each.model_key));
        const { model_key: key } = await api.upload("/models/register", body, { signal: abort.signal, onProgress: (share) => (sent.value = share) });
        const isOld = before.has(key);
        toast(t(isOld ? "models.register.existing" : "models.register.done", { name: shortName(key) }), isOld ? "info" : "good");
        return await router.push(`/models/${key}`);
      } catch (err) {
        list.reload(); // somebody may have registered in the meantime
        if (err.name === "AbortError") return toast(t("models.register.cancelled"), "info");
        if (err.name !== "ApiError") throw err;
        if (err.status === 0 && !(await isReadable(draft.file))) return await show({ file: t("models.register.file_changed") });
        return await show(err.status === 0 || err.status >= 500 ? { "": refusalText(err) } : byField(err));
      } finally {
        sent.value = null;
      }
    }
    const cancel = () => abort?.abort(); // offered until the file has arrived: then the service goes on without us
    const choose = (file) => {
      draft.file = file;
      delete problems.value.file;
    };
    const several = () => (problems.value = { ...problems.value, file: t("models.register.several") });
    return { t, percent, shortName, models, algorithms, parents, draft, problems, sent, form, submit, cancel, choose, several };
  },
  template: /* html */ `
    <form ref="form" class="registration" novalidate @submit.prevent="submit">
      <p class="hint">{{ t("models.register.about") }}</p>
      <div class="columns even">
        <section class="card">
          <h2>{{ t("models.register.file") }}</h2>
          <drop-zone :file="draft.file" :problem="problems.file" @choose="choose" @several="several" />
          <form-field v-slot="{ given }" name="algorithm_name" :label="t('models.algorithm')" :problem="problems.algorithm_name">
            <select v-bind="given" v-model="draft.algorithm_name"><option v-for="each in algorithms" :key="each">{{ each }}</option></select></form-field>
          <version-choice :draft="draft" :models="models" :problem="problems.version ?? problems.bump" />
          <form-field v-slot="{ given }" name="description" :label="t('models.register.description')" :problem="problems.description">
            <textarea v-bind="given" v-model="draft.description" rows="3" maxlength="10000" :placeholder="t('models.register.description_hint')"></textarea></form-field>
          <div class="grid two">
            <form-field v-slot="{ given }" name="created_by" :label="t('models.register.created_by')" :problem="problems.created_by">
              <input v-bind="given" v-model="draft.created_by" maxlength="200" autocomplete="name"></form-field>
            <form-field v-slot="{ given }" name="lineage" :label="t('models.register.parent')" :problem="problems.lineage">
              <select v-bind="given" v-model="draft.parent"><option value="">{{ t("models.register.parent_none") }}</option>
                <option v-for="each in parents" :key="each.model_key" :value="each.model_key">{{ shortName(each.model_key) }}</option></select></form-field>
          </div>
          <form-field v-slot="{ given }" name="tags" :label="t('models.register.tags')" :hint="t('models.register.tags_hint')" :problem="problems.tags">
            <input v-bind="given" v-model="draft.tags" spellcheck="false" autocomplete="off"></form-field>
        </section>
        <section class="card">
          <h2>{{ t("models.register.evidence") }}</h2>
          <pairs-editor name="training_params" :pairs="draft.training_params" :legend="t('models.register.params')" :problem="problems.training_params" />
          <pairs-editor name="performance_metrics" :pairs="draft.performance_metrics" :legend="t('models.register.metrics')" :problem="problems.performance_metrics"><p class="hint">{{ t("models.register.metrics_hint") }}</p></pairs-editor>
        </section>
      </div>
      <div class="submit-bar">
        <mistake-list :others="problems[''] ? [{ place: '', text: problems[''] }] : []" />
        <div v-if="sent !== null" class="sending" role="status">
          <label>{{ sent < 1 ? t("models.register.sending", { percent: percent(sent, 0) }) : t("models.register.examining") }}
            <progress max="1" :value="sent < 1 ? sent : undefined"></progress></label>
        </div>
        <button v-if="sent !== null && sent < 1" type="button" class="btn" @click="cancel">{{ t("models.register.cancel") }}</button>
        <router-link v-else-if="sent === null" class="btn" to="/models">{{ t("models.register.cancel") }}</router-link>
        <button class="btn primary" :disabled="sent !== null">{{ t("models.register.submit") }}</button>
      </div>
    </form>
  `,
};
