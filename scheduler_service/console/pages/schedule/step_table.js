// The steps of one work point: a row for each, a cell for each field.
import { useI18n } from "vue-i18n";
import { MAX_HOURS } from "./standard.js";

const NUMBERS = { duration: { min: 0, max: MAX_HOURS, step: "any" }, min_crew: { min: 1, step: 1 }, max_crew: { min: 1, step: 1 } };

export default {
  name: "StepTable",
  props: { steps: { type: Array, required: true }, teams: { type: Array, required: true }, fault: { type: Object, required: true }, at: { type: Array, required: true } },
  emits: ["update"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const change = (at, changes) => emit("update", props.steps.with(at, { ...props.steps[at], ...changes }));
    const number = (text) => (text === "" ? null : Number(text));
    const remove = (at) => emit("update", props.steps.toSpliced(at, 1));
    const label = (at, field) => `${t(`schedule.${field}`)} ${at + 1}`;
    const teamName = (name) => t(`schedule.teams.${name}`, name);
    return { t, NUMBERS, change, number, remove, label, teamName };
  },
  template: /* html */ `
    <div class="scroll" tabindex="0" role="region" :aria-label="t('schedule.step')">
      <table class="data steps">
        <thead><tr>
          <th>{{ t("schedule.step") }}</th><th :title="t('schedule.order_hint')">{{ t("schedule.order") }}</th><th>{{ t("schedule.team") }}</th>
          <th>{{ t("schedule.duration") }}</th><th>{{ t("schedule.min_crew") }}</th><th>{{ t("schedule.max_crew") }}</th><th>{{ t("schedule.parallel") }}</th><th><span class="unseen">{{ t("schedule.remove") }}</span></th>
        </tr></thead>
        <tbody>
          <tr v-for="(step, n) in steps" :key="n">
            <td><input class="input name" :value="step.name" maxlength="200" :aria-label="label(n, 'step')" v-bind="fault.attrs([...at, n, 'name'])" @input="change(n, { name: $event.target.value })"><field-mistake :at="[...at, n, 'name']" :text="fault.text([...at, n, 'name'])" /></td>
            <td><input class="input tiny" type="number" step="1" :value="step.order" :aria-label="label(n, 'order')" v-bind="fault.attrs([...at, n, 'order'])" @input="change(n, { order: number($event.target.value) })"><field-mistake :at="[...at, n, 'order']" :text="fault.text([...at, n, 'order'])" /></td>
            <td><select class="input team" :value="step.team" :aria-label="label(n, 'team')" v-bind="fault.attrs([...at, n, 'team'])" @change="change(n, { team: $event.target.value })">
              <option v-for="team in teams" :key="team" :value="team">{{ teamName(team) }}</option></select><field-mistake :at="[...at, n, 'team']" :text="fault.text([...at, n, 'team'])" /></td>
            <td v-for="(limits, field) in NUMBERS" :key="field"><input class="input tiny" type="number" v-bind="{ ...limits, ...fault.attrs([...at, n, field]) }" :value="step[field]" :aria-label="label(n, field)" @input="change(n, { [field]: number($event.target.value) })"><field-mistake :at="[...at, n, field]" :text="fault.text([...at, n, field])" /></td>
            <td><input type="checkbox" :checked="step.parallel === false" :aria-label="label(n, 'parallel')" @change="change(n, { parallel: $event.target.checked ? false : null })"></td>
            <td><button type="button" class="btn quiet small" :aria-label="t('schedule.remove') + ' ' + step.name" @click="remove(n)">×</button></td>
          </tr>
        </tbody>
      </table>
    </div>
  `,
};
