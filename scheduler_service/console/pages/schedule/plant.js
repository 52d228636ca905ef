// How many people each team has this time; only what differs from the default plant is sent.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { TEAMS } from "./standard.js";

export default {
  name: "Plant",
  props: { modelValue: { type: Object, required: true }, others: { type: Object, default: null }, isLinear: { type: Boolean, default: false }, fault: { type: Object, required: true } },
  emits: ["update:modelValue", "forget"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const usual = (name) => props.others?.[name]?.headcount ?? TEAMS.find((team) => team.name === name).headcount;
    const set = (name, text) => {
      const { [name]: _, ...rest } = props.modelValue;
      const people = Number(text);
      emit("update:modelValue", text === "" || people === usual(name) ? rest : { ...rest, [name]: people });
    };
    const changes = computed(() => Object.keys(props.modelValue).length + (props.others ? 1 : 0) + (props.isLinear ? 1 : 0));
    const names = computed(() => Object.keys(props.others ?? {}).map((name) => t(`schedule.teams.${name}`, name)).join(t("schedule.list_mark")));
    return { t, teams: TEAMS, usual, set, changes, names, reset: () => { emit("update:modelValue", {}); emit("forget"); } };
  },
  template: /* html */ `
    <details class="plant" :open="fault.isIn(['teams']) || undefined">
      <summary>{{ t("schedule.plant") }} <span v-if="changes" class="badge warn">{{ changes }}</span></summary>
      <p class="hint">{{ t("schedule.plant_hint") }}</p>
      <div class="team-grid">
        <div v-for="team in teams" :key="team.name">
          <label class="field"><span>{{ t("schedule.teams." + team.name) }}</span>
            <input type="number" min="1" max="1000" step="1" :name="team.name" :value="modelValue[team.name] ?? usual(team.name)" v-bind="fault.attrs(['teams', team.name])" @input="set(team.name, $event.target.value)"></label>
          <field-mistake :at="['teams', team.name]" :text="fault.text(['teams', team.name])" />
        </div>
      </div>
      <p v-if="others" class="hint">{{ t("schedule.other_teams", { names }) }}</p>
      <p v-if="isLinear" class="hint">{{ t("schedule.curve_linear") }}</p>
      <button v-if="changes" type="button" class="btn small quiet" @click="reset">{{ t("schedule.reset") }}</button>
    </details>
  `,
};
