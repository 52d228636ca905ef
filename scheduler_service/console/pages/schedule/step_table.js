// The steps of one work point: a row for each, a cell for each field.
import { useI18n } from "vue-i18n";
import { MAX_HOURS } from "./standard.js";

export default {
  name: "StepTable",
  props: { steps: { type: Array, required: true }, teams: { type: Array, required: true }, invalid: { type: Function, required: true } },
  emits: ["update"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const change = (at, changes) => emit("update", props.steps.with(at, { ...props.steps[at], ...changes }));
    const number = (text) => (text === "" ? null : Number(text));
    const remove = (at) => emit("update", props.steps.toSpliced(at, 1));
    const label = (at, field) => `${t(`schedule.${field}`)} ${at + 1}`;
    const teamName = (name) => t(`schedule.teams.${name}`, name);
    return { t, max: MAX_HOURS, change, number, remove, label, teamName };
  },
  template: /* html */ `
    <div class="scroll" tabindex="0" role="region" :aria-label="t('schedule.step')">
      <table class="data steps">
        <thead><tr>
          <th>{{ t("schedule.step") }}</th><th :title="t('schedule.order_hint')">{{ t("schedule.order") }}</th><th>{{ t("schedule.team") }}</th>
          <th>{{ t("schedule.duration") }}</th><th>{{ t("schedule.min_crew") }}</th><th>{{ t("schedule.max_crew") }}</th><th>{{ t("schedule.parallel") }}</th><th><span class="unseen">{{ t("schedule.remove") }}</span></th>
        </tr></thead>
        <tbody>
          <tr v-for="(step, at) in steps" :key="at">
            <td><input class="input name" :value="step.name" maxlength="200" :aria-label="label(at, 'step')" :aria-invalid="Boolean(invalid(at, 'name'))" @input="change(at, { name: $event.target.value })"></td>
            <td><input class="input tiny" type="number" step="1" :value="step.order" :aria-label="label(at, 'order')" :aria-invalid="Boolean(invalid(at, 'order'))" @input="change(at, { order: number($event.target.value) })"></td>
            <td><select class="input team" :value="step.team" :aria-label="label(at, 'team')" :aria-invalid="Boolean(invalid(at, 'team'))" @change="change(at, { team: $event.target.value })">
              <option v-for="team in teams" :key="team" :value="team">{{ teamName(team) }}</option></select></td>
            <td><input class="input tiny" type="number" min="0" :max="max" step="any" :value="step.duration" :aria-label="label(at, 'duration')" :aria-invalid="Boolean(invalid(at, 'duration'))" @input="change(at, { duration: number($event.target.value) })"></td>
            <td><input class="input tiny" type="number" min="1" step="1" :value="step.min_crew" :aria-label="label(at, 'min_crew')" :aria-invalid="Boolean(invalid(at, 'min_crew'))" @input="change(at, { min_crew: number($event.target.value) })"></td>
            <td><input class="input tiny" type="number" min="1" step="1" :value="step.max_crew" :aria-label="label(at, 'max_crew')" :aria-invalid="Boolean(invalid(at, 'max_crew'))" @input="change(at, { max_crew: number($event.target.value) })"></td>
            <td><input type="checkbox" :checked="step.parallel === false" :aria-label="label(at, 'parallel')" @change="change(at, { parallel: $event.target.checked ? false : null })"></td>
            <td><button type="button" class="btn quiet small" :aria-label="t('schedule.remove') + ' ' + step.name" @click="remove(at)">×</button></td>
          </tr>
        </tbody>
      </table>
    </div>
  `,
};
