// The 15 nominal durations of the standard cycle, as named fields that take a pasted list.
import { ref } from "vue";
import { useI18n } from "vue-i18n";
import { numbersOf } from "./exchange.js";
import { MAX_HOURS, SAMPLE, STEPS, stepName } from "./standard.js";

export default {
  name: "Durations",
  props: { modelValue: { type: Array, required: true }, fault: { type: Object, required: true } },
  emits: ["update:modelValue"],
  setup(props, { emit }) {
    const { t, locale } = useI18n();
    const pasted = ref("");
    const complaint = ref("");
    const put = (values) => emit("update:modelValue", values);
    const set = (at, text) => put(props.modelValue.with(at, text === "" ? null : Number(text)));

    function fill(text, from = 0) {
      let numbers;
      try {
        numbers = numbersOf(text);
      } catch (err) {
        complaint.value = err.message ? t("schedule.paste_no_number", { text: err.message }) : t("schedule.paste_gap");
        return false;
      }
      if (from + numbers.length > STEPS.length || (from === 0 && numbers.length !== STEPS.length)) {
        complaint.value = t("schedule.paste_wrong_count", { n: numbers.length });
        return false;
      }
      complaint.value = "";
      put(props.modelValue.toSpliced(from, numbers.length, ...numbers));
      return true;
    }

    /** A list that is pasted into a field fills it and those after it; a single number is left to the browser. */
    function paste(event, at) {
      const text = event.clipboardData.getData("text").trim();
      if (!/[\s,，;；、|]/.test(text)) return;
      event.preventDefault();
      fill(text, at);
    }

    const apply = () => fill(pasted.value) && (pasted.value = "");
    const name = (step) => stepName(step.zh, locale.value);
    return { t, steps: STEPS, max: MAX_HOURS, pasted, complaint, set, paste, apply, name, sample: () => put([...SAMPLE]), clear: () => put(Array(15).fill(null)) };
  },
  template: /* html */ `
    <fieldset class="durations">
      <legend>{{ t("schedule.durations") }}</legend>
      <p class="hint">{{ t("schedule.durations_hint") }}</p>
      <div class="row tight">
        <button type="button" class="btn small" @click="sample">{{ t("schedule.sample") }}</button>
        <button type="button" class="btn small quiet" @click="clear">{{ t("schedule.clear") }}</button>
      </div>
      <p v-if="complaint" class="error" role="alert">{{ complaint }}</p>
      <div class="duration-grid">
        <div v-for="(step, at) in steps" :key="step.zh">
          <label class="field">
            <span class="step-name"><b>{{ at + 1 }}</b> {{ name(step) }} <small class="hint">{{ t("schedule.teams." + step.team) }}</small></span>
            <input type="number" inputmode="decimal" min="0" :max="max" step="any" :value="modelValue[at]" :name="'duration-' + (at + 1)"
              v-bind="fault.attrs(['params', at])" @input="set(at, $event.target.value)" @paste="paste($event, at)">
          </label>
          <field-mistake :at="['params', at]" :text="fault.text(['params', at])" />
        </div>
      </div>
      <details>
        <summary>{{ t("schedule.paste") }}</summary>
        <label class="field">{{ t("schedule.paste_label") }}<textarea v-model="pasted" rows="2" name="paste" spellcheck="false" placeholder="10,5,8,6,7,9,6,7,6,7,7,7,4,7,5"></textarea></label>
        <button type="button" class="btn small" @click="apply">{{ t("schedule.paste_apply") }}</button>
      </details>
    </fieldset>
  `,
};
