// The reports that are there, and a form to make another one.
import { computed, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { bytes, time } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import ReportLinks from "../../parts/report_links.js";
import ReportForm from "./report_form.js";

export default {
  name: "ReportsTab",
  components: { ReportForm, ReportLinks },
  setup() {
    const { t } = useI18n();
    const load = useLoad((signal) => api.get("/reports", { limit: 100 }, { signal }), { everyMs: 60_000 });
    const reports = computed(() => load.data.value?.reports ?? []);
    const total = computed(() => load.data.value?.total ?? 0);
    const newest = ref("");
    const add = (name) => {
      newest.value = name;
      load.reload();
    };
    return { t, bytes, time, load, reports, total, newest, add };
  },
  template: /* html */ `
    <report-form class="admin-only" @made="add" />
    <section class="card" aria-labelledby="reports-title">
      <h2 id="reports-title">{{ t("monitoring.reports.title") }}</h2>
      <load-state :load="load" :empty="!reports.length">
        <div class="scroll" tabindex="0" role="region" :aria-label="t('monitoring.reports.title')">
          <table class="data reports cards">
            <thead><tr><th scope="col">{{ t("monitoring.reports.kind") }}</th><th scope="col">{{ t("monitoring.reports.of") }}</th><th scope="col">{{ t("monitoring.reports.lang") }}</th>
              <th scope="col">{{ t("monitoring.reports.format") }}</th><th scope="col">{{ t("monitoring.reports.made_at") }}</th><th scope="col" class="num">{{ t("monitoring.reports.size") }}</th>
              <th scope="col"><span class="unseen">{{ t("report.open") }}</span></th></tr></thead>
            <tbody>
              <tr v-for="each in reports" :key="each.name" :class="{ newest: each.name === newest }">
                <td class="what">{{ t("monitoring.reports.kinds." + each.kind) }}</td>
                <td>{{ each.experiment ?? t("monitoring.reports.all_runs") }}</td>
                <td>{{ each.lang ? t("monitoring.reports.langs." + each.lang) : "–" }}</td>
                <td><span class="badge" :class="{ info: each.format === 'pdf' }">{{ each.format.toUpperCase() }}</span></td>
                <td class="nowrap">{{ time(each.created_at) }}</td>
                <td class="num">{{ bytes(each.size_bytes) }}</td>
                <td class="num"><report-links :report="each" /></td>
              </tr>
            </tbody>
          </table>
        </div>
        <p v-if="total > reports.length" class="hint">{{ t("monitoring.reports.total", { n: total, shown: reports.length }) }}</p>
        <template #empty>{{ t("monitoring.reports.none") }}</template>
      </load-state>
    </section>
  `,
};
