// To open a report, and to keep it.
import { ref } from "vue";
import { useI18n } from "vue-i18n";
import { refusalText } from "../core/refusals.js";
import { session } from "../core/session.js";
import { downloadReport, openReport } from "./open_report.js";
import { toast } from "./toast.js";

export default {
  name: "ReportLinks",
  props: { report: { type: Object, required: true } },
  setup(props) {
    const { t } = useI18n();
    const isBusy = ref(false);

    async function told(work) {
      isBusy.value = true;
      try {
        if ((await work(props.report)) === false) toast(t("report.blocked"), "info");
      } catch (err) {
        toast(refusalText(err), "bad");
      } finally {
        isBusy.value = false;
      }
    }

    /** A plain link does where nobody needs a key. */
    function open(event) {
      if (!session.key) return;
      event.preventDefault();
      if (!isBusy.value) told(openReport);
    }

    const keep = () => told(downloadReport);
    return { t, isBusy, open, keep };
  },
  template: /* html */ `
    <span class="links">
      <a class="btn small" :href="report.url.slice(1)" target="_blank" rel="noopener" :aria-label="t('report.open_new', { name: report.name })" @click="open">{{ t("report.open") }} ↗</a>
      <button type="button" class="btn small quiet" :disabled="isBusy" :aria-label="t('report.download_name', { name: report.name })" @click="keep">{{ t("report.download") }}</button>
    </span>
  `,
};
