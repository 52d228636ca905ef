// Names and values: rows, or a pasted JSON object; the one turns into the other.
import { computed, nextTick, ref } from "vue";
import { useI18n } from "vue-i18n";
import { readPairs, rowsOf } from "./pairs.js";

export default {
  name: "PairsEditor",
  props: { pairs: { type: Object, required: true }, name: { type: String, required: true }, legend: { type: String, required: true }, problem: { type: String, default: "" } },
  setup(props) {
    const { t } = useI18n();
    const box = ref(null);
    const mistake = computed(() => {
      if (props.problem) return props.problem;
      try {
        readPairs(props.pairs);
        return "";
      } catch (err) {
        return props.pairs.mode === "json" ? t(`models.register.${err.key}`, err.figures) : "";
      }
    });

    function turn(mode) {
      if (mode === props.pairs.mode) return;
      let value = null;
      try {
        value = readPairs(props.pairs);
      } catch {
        // It cannot be read: the other side begins as it was.
      }
      if (value && Object.keys(value).length) {
        if (mode === "json") props.pairs.text = JSON.stringify(value, null, 2);
        else props.pairs.rows = rowsOf(value);
      }
      props.pairs.mode = mode;
    }

    async function add() {
      props.pairs.rows.push({ name: "", value: "" });
      await nextTick();
      box.value.querySelector("tr:last-child input").focus();
    }

    async function remove(place) {
      props.pairs.rows.splice(place, 1);
      if (!props.pairs.rows.length) props.pairs.rows.push({ name: "", value: "" });
      await nextTick();
      box.value.querySelectorAll("tr input")[Math.max(0, 2 * place - 2)]?.focus();
    }

    /** A whole object pasted into a row becomes rows. */
    function paste(event) {
      const text = event.clipboardData.getData("text").trim();
      if (!text.startsWith("{")) return;
      try {
        props.pairs.rows = rowsOf(readPairs({ mode: "json", text }));
        event.preventDefault();
      } catch {
        // Not an object after all: it is pasted as it is.
      }
    }
    return { t, box, mistake, turn, add, remove, paste };
  },
  template: /* html */ `
    <fieldset :data-field="name" :aria-describedby="mistake ? name + '-problem' : undefined">
      <legend>{{ legend }}</legend>
      <div class="tabs" role="group" :aria-label="legend">
        <button type="button" :aria-pressed="pairs.mode === 'rows'" @click="turn('rows')">{{ t("models.register.as_rows") }}</button>
        <button type="button" :aria-pressed="pairs.mode === 'json'" @click="turn('json')">{{ t("models.register.as_json") }}</button>
      </div>
      <div v-if="pairs.mode === 'rows'" ref="box" class="pair-rows">
        <table><thead><tr><th scope="col">{{ t("models.register.name") }}</th><th scope="col">{{ t("models.register.value") }}</th><th><span class="unseen">{{ t("models.actions") }}</span></th></tr></thead>
        <tbody><tr v-for="(row, place) in pairs.rows" :key="place">
          <td><input v-model="row.name" class="input mono" :name="name + '-name'" v-bind="place ? {} : { 'aria-invalid': mistake ? 'true' : undefined, 'aria-describedby': name + '-problem', 'data-place': legend }" :aria-label="t('models.register.row_name', { number: place + 1 })" spellcheck="false" @paste="paste"></td>
          <td><input v-model="row.value" class="input mono" :name="name + '-value'" :aria-label="t('models.register.row_value', { number: place + 1 })" spellcheck="false" @paste="paste"></td>
          <td><button type="button" class="btn quiet small" :aria-label="t('models.register.remove_row', { name: row.name || place + 1 })" @click="remove(place)">×</button></td>
        </tr></tbody></table>
        <button type="button" class="btn small" @click="add">+ {{ t("models.register.add") }}</button>
      </div>
      <textarea v-else v-model="pairs.text" class="input mono" :name="name" rows="7" spellcheck="false" :aria-label="legend" :aria-invalid="!!mistake" :aria-describedby="name + '-problem'" :placeholder="'{ }'"></textarea>
      <p v-if="mistake" :id="name + '-problem'" class="error">{{ mistake }}</p>
      <slot />
    </fieldset>
  `,
};
