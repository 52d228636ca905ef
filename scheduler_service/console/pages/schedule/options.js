// Who schedules, for how long, and for whom.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";

const BUDGETS_MS = [1_000, 5_000, 10_000, 30_000];

export default {
  name: "Options",
  props: { modelValue: { type: Object, required: true }, more: { type: Object, required: true }, invalid: { type: Function, required: true } },
  emits: ["update:modelValue", "forget"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const listed = useLoad((signal) => Promise.all([api.get("/models", {}, { signal }), api.get("/experiments", {}, { signal })]));
    const models = computed(() => (listed.data.value?.[0].models ?? []).filter((model) => model.status !== "retired"));
    const experiments = computed(() => (listed.data.value?.[1].experiments ?? []).filter((each) => each.status === "active"));
    /** What a file chose that is not among the choices (a tag, another time): a choice, too. */
    const besides = (name, choices) => [props.modelValue[name]].filter((chosen) => chosen && !choices.includes(chosen));
    const budgets = computed(() => [...BUDGETS_MS, ...besides("budgetMs", BUDGETS_MS)]);
    const otherModels = computed(() => besides("model", models.value.map((each) => each.model_key)));
    const otherExperiments = computed(() => besides("experiment", experiments.value.map((each) => each.name)));
    const others = computed(() => Object.keys(props.more).join(t("schedule.list_mark")));
    const set = (changes) => emit("update:modelValue", { ...props.modelValue, ...changes });
    const named = (model) => `${model.model_key}${model.tags.length ? ` (${model.tags.join(", ")})` : ""}`;
    return { t, models, otherModels, experiments, otherExperiments, others, set, named, budgets };
  },
  template: /* html */ `
    <div class="options">
      <label class="field"><span>{{ t("schedule.model") }}</span>
        <select name="model" :value="modelValue.model" @change="set({ model: $event.target.value })">
          <option value="">{{ t("schedule.model_default") }}</option><option v-for="each in otherModels" :key="each" :value="each">{{ each }}</option><option v-for="each in models" :key="each.model_key" :value="each.model_key">{{ named(each) }}</option></select></label>
      <label class="field"><span>{{ t("schedule.compare") }}</span>
        <select name="compare" :value="modelValue.compare" @change="set({ compare: $event.target.value })">
          <option value="">{{ t("schedule.compare_none") }}</option><option v-for="each in models" :key="each.model_key" :value="each.model_key">{{ named(each) }}</option></select></label>
      <label class="field"><span>{{ t("schedule.budget") }}</span>
        <select name="budget" :value="String(modelValue.budgetMs ?? '')" :aria-invalid="Boolean(invalid('time_budget_ms'))" @change="set({ budgetMs: $event.target.value === '' ? null : Number($event.target.value) })">
          <option value="">{{ t("schedule.budget_default") }}</option><option value="0">{{ t("schedule.budget_zero") }}</option>
          <option v-for="each in budgets" :key="each" :value="String(each)">{{ each / 1000 }} s</option></select></label>
      <details class="wide">
        <summary>{{ t("schedule.advanced") }}</summary>
        <div class="options">
          <label class="field"><span>{{ t("schedule.experiment") }}</span>
            <select name="experiment" :value="modelValue.experiment" :disabled="Boolean(modelValue.model)" @change="set({ experiment: $event.target.value })">
              <option value="">{{ t("schedule.experiment_none") }}</option><option v-for="each in otherExperiments" :key="each" :value="each">{{ each }}</option><option v-for="each in experiments" :key="each.name" :value="each.name">{{ each.name }}</option></select></label>
          <label class="field"><span>{{ t("schedule.user") }}</span><input name="user_id" maxlength="200" :value="modelValue.userId" @input="set({ userId: $event.target.value })"><small class="hint">{{ t("schedule.user_hint") }}</small></label>
        </div>
      </details>
      <p v-if="others" class="hint wide">{{ t("schedule.more_of_file", { names: others }) }} <button type="button" class="btn small quiet" @click="$emit('forget')">{{ t("schedule.reset") }}</button></p>
    </div>
  `,
};
