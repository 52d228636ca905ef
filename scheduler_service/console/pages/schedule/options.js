// Who schedules, for how long, and for whom.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import { BUDGET_MS, keyIn, seedsFor } from "./compare.js";

const BUDGETS_MS = [1_000, 5_000, 10_000, 30_000];

export default {
  name: "Options",
  props: { modelValue: { type: Object, required: true }, more: { type: Object, required: true }, fault: { type: Object, required: true } },
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
    /** Nobody learns anything from a model that is compared with itself. */
    const comparable = computed(() => {
      const own = listed.data.value && keyIn(listed.data.value[0], props.modelValue.model);
      return models.value.filter((model) => model.model_key !== own || model.model_key === props.modelValue.compare);
    });
    const otherCompared = computed(() => besides("compare", models.value.map((each) => each.model_key)));
    const comparing = computed(() => {
      const budgetMs = props.modelValue.budgetMs ?? BUDGET_MS;
      const seeds = seedsFor(budgetMs);
      return t("schedule.comparing.how", { n: seeds, s: budgetMs / 1000, all: (2 * seeds * budgetMs) / 1000 }, seeds);
    });
    const set = (changes) => emit("update:modelValue", { ...props.modelValue, ...changes });
    const named = (model) => `${model.model_key}${model.tags.length ? ` (${model.tags.join(", ")})` : ""}`;
    return { t, models, otherModels, experiments, otherExperiments, comparable, otherCompared, comparing, others, set, named, budgets };
  },
  template: /* html */ `
    <div class="options">
      <div><label class="field"><span>{{ t("schedule.model") }}</span>
        <select name="model" :value="modelValue.model" v-bind="fault.attrs(['model'])" @change="set({ model: $event.target.value })">
          <option value="">{{ t("schedule.model_default") }}</option><option v-for="each in otherModels" :key="each" :value="each">{{ each }}</option><option v-for="each in models" :key="each.model_key" :value="each.model_key">{{ named(each) }}</option></select></label>
        <field-mistake :at="['model']" :text="fault.text(['model'])" /></div>
      <div><label class="field"><span>{{ t("schedule.compare") }}</span>
        <select name="compare" :value="modelValue.compare" v-bind="fault.attrs(['compare'])" @change="set({ compare: $event.target.value })">
          <option value="">{{ t("schedule.compare_none") }}</option><option v-for="each in otherCompared" :key="each" :value="each">{{ each }}</option><option v-for="each in comparable" :key="each.model_key" :value="each.model_key">{{ named(each) }}</option></select></label>
        <field-mistake :at="['compare']" :text="fault.text(['compare'])" /></div>
      <div><label class="field"><span>{{ t("schedule.budget") }}</span>
        <select name="budget" :value="String(modelValue.budgetMs ?? '')" v-bind="fault.attrs(['time_budget_ms'])" @change="set({ budgetMs: $event.target.value === '' ? null : Number($event.target.value) })">
          <option value="">{{ t("schedule.budget_default") }}</option><option value="0">{{ t("schedule.budget_zero") }}</option>
          <option v-for="each in budgets" :key="each" :value="String(each)">{{ each / 1000 }} s</option></select></label>
        <field-mistake :at="['time_budget_ms']" :text="fault.text(['time_budget_ms'])" /></div>
      <p v-if="modelValue.compare" class="hint wide">{{ comparing }}</p>
      <details class="wide">
        <summary>{{ t("schedule.advanced") }}</summary>
        <div class="options">
          <div><label class="field"><span>{{ t("schedule.experiment") }}</span>
            <select name="experiment" :value="modelValue.experiment" :disabled="Boolean(modelValue.model || modelValue.compare)" v-bind="fault.attrs(['experiment'])" @change="set({ experiment: $event.target.value })">
              <option value="">{{ t("schedule.experiment_none") }}</option><option v-for="each in otherExperiments" :key="each" :value="each">{{ each }}</option><option v-for="each in experiments" :key="each.name" :value="each.name">{{ each.name }}</option></select></label>
            <field-mistake :at="['experiment']" :text="fault.text(['experiment'])" /></div>
          <div><label class="field"><span>{{ t("schedule.user") }}</span><input name="user_id" maxlength="200" :value="modelValue.userId" v-bind="fault.attrs(['user_id'])" @input="set({ userId: $event.target.value })"><small class="hint">{{ t("schedule.user_hint") }}</small></label>
            <field-mistake :at="['user_id']" :text="fault.text(['user_id'])" /></div>
        </div>
      </details>
      <p v-if="others" class="hint wide">{{ t("schedule.more_of_file", { names: others }) }} <button type="button" class="btn small quiet" @click="$emit('forget')">{{ t("schedule.reset") }}</button></p>
    </div>
  `,
};
