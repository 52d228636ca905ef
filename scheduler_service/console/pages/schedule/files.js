// Requests as files: read by the service, which says what it found and where; written here.
import { computed, nextTick, ref, shallowRef } from "vue";
import { useI18n } from "vue-i18n";
import { download } from "../../core/download.js";
import { toast } from "../../parts/toast.js";
import { readFile, workpointsToCsv } from "./exchange.js";
import { refusalText } from "../../core/refusals.js";
import { said } from "../../core/words.js";
import { placeInFile } from "./findings.js";

export default {
  name: "Files",
  props: { request: { type: Function, required: true }, workpoints: { type: Array, default: null } }, // null: there are none to export
  emits: ["imported"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const dialog = ref(null);
    const file = shallowRef(null);
    const isFilledDown = ref(false);
    const told = shallowRef(null); // {isRefused, findings, reason}: what the service said of the file
    const canFillDown = computed(() => isFilledDown.value || told.value.findings.some((each) => each.code === "blank_workpoint"));

    function choose(event) {
      [file.value] = event.target.files;
      event.target.value = ""; // the same file can be chosen again
      isFilledDown.value = false;
      if (file.value) read();
    }

    async function read() {
      try {
        const { request, findings, n_workpoints: n, n_steps: steps } = await readFile(file.value, { isFilledDown: isFilledDown.value, teams: props.request().teams });
        emit("imported", request);
        toast(request.workpoints ? t("schedule.imported", { n, steps }) : t("schedule.imported_params"));
        tell({ isRefused: false, findings, reason: "" });
      } catch (err) {
        const findings = err.errors ?? [];
        tell({ isRefused: true, findings, reason: findings.length ? "" : refusalText(err) });
      }
    }

    async function tell(outcome) {
      told.value = outcome;
      await nextTick();
      const isWorthIt = outcome.isRefused || outcome.findings.length > 0;
      if (isWorthIt && !dialog.value.open) dialog.value.showModal();
      if (!isWorthIt && dialog.value.open) dialog.value.close();
    }

    const title = computed(() => {
      const { isRefused, findings } = told.value;
      const key = !isRefused ? "noted" : findings.length ? "refused" : "failed";
      return t(`schedule.reading.${key}`, { name: file.value.name, n: findings.length });
    });
    const exportJson = () => download("request.json", JSON.stringify(props.request(), null, 2), "application/json");
    const exportCsv = () => download("workpoints.csv", workpointsToCsv(props.workpoints), "text/csv;charset=utf-8");
    return { t, dialog, isFilledDown, told, canFillDown, choose, read, title, placeInFile, said, exportJson, exportCsv };
  },
  template: /* html */ `
    <div class="row tight">
      <label class="btn small file">{{ t("schedule.import") }}<input type="file" accept=".json,.csv,application/json,text/csv" class="unseen" @change="choose"></label>
      <button type="button" class="btn small quiet" @click="exportJson">{{ t("schedule.export_json") }}</button>
      <button v-if="workpoints?.length" type="button" class="btn small quiet" @click="exportCsv">{{ t("schedule.export_csv") }}</button>
      <teleport to="body">
        <dialog ref="dialog" class="dialog import" aria-labelledby="import-title">
          <template v-if="told">
            <h2 id="import-title">{{ title }}</h2>
            <p v-if="told.reason">{{ told.reason }}</p>
            <div v-if="told.findings.length" class="scroll" tabindex="0" role="region" aria-labelledby="import-title"><table class="data findings"><tbody>
              <tr v-for="(each, at) in told.findings" :key="at"><th scope="row">{{ placeInFile(each.loc) }}</th><td>{{ said(each) }}<code v-if="each.source">{{ each.source }}</code></td></tr>
            </tbody></table></div>
            <label v-if="canFillDown" class="check"><input v-model="isFilledDown" type="checkbox" name="fill_down" @change="read">{{ t("schedule.reading.fill_down") }}</label>
            <div class="actions"><button type="button" class="btn primary" @click="dialog.close()">{{ t("schedule.reading.close") }}</button></div>
          </template>
        </dialog>
      </teleport>
    </div>
  `,
};
