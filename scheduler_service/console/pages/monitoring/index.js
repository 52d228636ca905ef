// Monitoring: is the service well, how does it go, what is wrong and who sees to it, and reports of all that.
import { computed, nextTick } from "vue";
import { useI18n } from "vue-i18n";
import { useRoute, useRouter } from "vue-router";
import { api } from "../../core/api.js";
import { addMessages } from "../../core/i18n.js";
import { useLoad } from "../../core/load.js";
import { useStyle } from "../../core/style.js";
import AlertLines from "./alert_lines.js";
import AlertsTab from "./alerts_tab.js";
import HealthStrip from "./health.js";
import LiveFigures from "./live.js";
import ReportsTab from "./reports_tab.js";
import { texts } from "./texts.js";
import TrendsTab from "./trends_tab.js";

addMessages(texts);

const TABS = ["trends", "alerts", "reports"];

export default {
  name: "Monitoring",
  components: { AlertLines, AlertsTab, HealthStrip, LiveFigures, ReportsTab, TrendsTab },
  async setup() {
    const { t } = useI18n();
    const [route, router] = [useRoute(), useRouter()];
    const alerts = useLoad((signal) => api.get("/alerts", null, { signal }), { everyMs: 20_000 });
    const thresholds = computed(() => alerts.data.value?.thresholds ?? {});
    const firing = computed(() => alerts.data.value?.alerts.length ?? 0);
    const tab = computed(() => (TABS.includes(route.query.tab) ? route.query.tab : "trends"));
    const open = (name) => router.replace({ query: { ...route.query, tab: name } });

    /** Arrow keys move between tabs, as everywhere. */
    async function move(event) {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = TABS[(TABS.indexOf(tab.value) + step + TABS.length) % TABS.length];
      await open(next);
      await nextTick();
      document.getElementById(`tab-${next}`)?.focus();
    }

    async function see() {
      await open("alerts");
      await nextTick();
      document.getElementById("alerts-title")?.focus();
    }

    await useStyle(new URL("style.css", import.meta.url));
    return { t, alerts, thresholds, firing, tabs: TABS, tab, open, move, see };
  },
  template: /* html */ `
    <section class="page monitoring">
      <h1 class="unseen">{{ t("monitoring.title") }}</h1>
      <health-strip />
      <live-figures :thresholds="thresholds" :rules="alerts.data.value?.rules ?? []" />
      <alert-lines v-if="tab !== 'alerts'" :load="alerts" @open="see" />
      <div class="tabs" role="tablist" :aria-label="t('monitoring.tabs.label')" @keydown="move">
        <button v-for="name in tabs" :id="'tab-' + name" :key="name" type="button" role="tab" :aria-selected="tab === name"
          :aria-controls="'panel-' + name" :tabindex="tab === name ? 0 : -1" @click="open(name)">{{ t("monitoring.tabs." + name) }}<span v-if="name === 'alerts' && firing" class="count">{{ firing }}</span></button>
      </div>
      <div :id="'panel-' + tab" role="tabpanel" :aria-labelledby="'tab-' + tab" class="stack">
        <trends-tab v-if="tab === 'trends'" :thresholds="thresholds" :rules="alerts.data.value?.rules ?? []" />
        <alerts-tab v-else-if="tab === 'alerts'" :load="alerts" />
        <reports-tab v-else />
      </div>
    </section>
  `,
};
