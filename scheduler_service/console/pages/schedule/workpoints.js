// Work points and their steps in tables.
import { ref } from "vue";
import { useI18n } from "vue-i18n";
import { hours } from "../../core/format.js";
import { newStep, newWorkpoint } from "./exchange.js";
import { placeOf } from "./gantt_rows.js";
import StepTable from "./step_table.js";

export default {
  name: "Workpoints",
  components: { StepTable },
  props: { modelValue: { type: Array, required: true }, fault: { type: Object, required: true }, teams: { type: Array, required: true } },
  emits: ["update:modelValue"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const opened = ref(0);
    const put = (workpoints) => emit("update:modelValue", workpoints);
    const freeId = () => {
      const taken = new Set(props.modelValue.map((each) => each.id));
      let number = props.modelValue.length + 1;
      while (taken.has(String(number))) number += 1;
      return String(number);
    };
    const change = (at, changes) => put(props.modelValue.with(at, { ...props.modelValue[at], ...changes }));
    const add = () => {
      opened.value = props.modelValue.length;
      put([...props.modelValue, newWorkpoint(freeId())]);
    };
    const duplicate = (at) => {
      const { steps, name } = props.modelValue[at];
      put(props.modelValue.toSpliced(at + 1, 0, { id: freeId(), name, steps: steps.map((step) => ({ ...step })) }));
    };
    const remove = (at) => put(props.modelValue.toSpliced(at, 1));
    const addStep = (at) => {
      const { steps } = props.modelValue[at];
      const last = steps.at(-1);
      const order = last?.order === null ? null : (last?.order ?? 0) + 1; // none where steps have none
      change(at, { steps: [...steps, newStep({ order, team: last?.team ?? "team1" })] });
    };
    const summary = (workpoint) =>
      t("schedule.workpoint_summary", { steps: workpoint.steps.length, hours: hours(workpoint.steps.reduce((sum, step) => sum + (step.duration ?? 0), 0), 0) });

    const isWrong = (at) => props.fault.isIn(["workpoints", at]);
    const titleOf = ({ id, name }) => (name ? placeOf({ workpoint_id: id, workpoint_name: name }) : `${t("schedule.workpoint")} ${id}`);
    return { t, titleOf, opened, change, add, duplicate, remove, addStep, summary, isWrong };
  },
  template: /* html */ `
    <fieldset class="workpoints">
      <legend>{{ t("schedule.mode_workpoints") }}</legend>
      <div class="row tight">
        <button type="button" class="btn small" @click="add">{{ t("schedule.add_workpoint") }}</button>
      </div>
      <p v-if="!modelValue.length" class="empty">{{ t("schedule.no_workpoint") }}</p>
      <details v-for="(workpoint, at) in modelValue" :key="at" class="workpoint" :class="{ wrong: isWrong(at) }" :open="opened === at || isWrong(at)" @toggle="$event.target.open ? (opened = at) : opened === at && (opened = -1)">
        <summary><b>{{ titleOf(workpoint) }}</b> <small class="hint">{{ summary(workpoint) }}</small></summary>
        <template v-if="opened === at || isWrong(at)">
          <div class="row end">
            <div v-for="part in ['id', 'name']" :key="part" :class="{ grow: part === 'name' }">
              <label class="field">{{ t("schedule.workpoint_" + part) }}<input class="input" :class="{ narrow: part === 'id' }" :value="workpoint[part]" maxlength="200" v-bind="fault.attrs(['workpoints', at, part])" @input="change(at, { [part]: $event.target.value })"></label>
              <field-mistake :at="['workpoints', at, part]" :text="fault.text(['workpoints', at, part])" />
            </div>
            <button type="button" class="btn small" @click="duplicate(at)">{{ t("schedule.duplicate") }}</button>
            <button type="button" class="btn small quiet" @click="remove(at)">{{ t("schedule.remove") }}</button>
          </div>
          <step-table :steps="workpoint.steps" :teams="teams" :fault="fault" :at="['workpoints', at, 'steps']" @update="change(at, { steps: $event })" />
          <button type="button" class="btn small" @click="addStep(at)">{{ t("schedule.add_step") }}</button>
        </template>
      </details>
    </fieldset>
  `,
};
