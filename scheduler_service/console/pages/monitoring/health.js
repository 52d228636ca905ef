// Whether every part of the service works; where one does not, what to do.
import { computed } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { duration_s } from "../../core/format.js";
import { useLoad } from "../../core/load.js";

/** GET /health, also when it is bad news. */
async function ask(signal) {
  try {
    return await api.get("/health", null, { signal });
  } catch (err) {
    if (err.status === 503 && err.body?.parts) return err.body;
    throw err;
  }
}

export default {
  name: "HealthStrip",
  setup() {
    const { t, te } = useI18n();
    const health = useLoad(ask, { everyMs: 10_000 });
    const parts = computed(() => Object.entries(health.data.value?.parts ?? {}).map(([name, part]) => ({ name, ...part })));
    const failing = computed(() => parts.value.filter((part) => part.status !== "ok"));
    const name = (part) => (te(`monitoring.health.parts.${part.name}`) ? t(`monitoring.health.parts.${part.name}`) : part.name);
    const advice = (part) => t(`monitoring.health.advice.${te(`monitoring.health.advice.${part.name}`) ? part.name : "other"}`);

    /** The English of the service, said in the page's language where it is one of the usual sentences. */
    function detail({ name: part, detail: told }) {
      const [first, note] = told.split("; ");
      const mib = /^(\d+) MiB are free$/.exec(told)?.[1];
      const key = /^the default model is (\S+)$/.exec(told)?.[1];
      const ok = (more) => t(`monitoring.health.ok.${part}`, more);
      const n = /^(\d+) thresholds of alerts are set$/.exec(told)?.[1];
      if (part === "thresholds" && n) return ok({ n });
      if (part === "disk" && mib) return ok({ free: `${(mib / 1_024).toFixed(1)} GiB` });
      if (part === "models" && key) return ok({ key });
      const usual = {
        database: "runs can be recorded",
        experiments: "the configuration is valid",
        folders: "models, logs and reports can be written",
        clock: "the clock has run evenly",
      };
      return usual[part] === first ? [ok(), note].filter(Boolean).join("; ") : told;
    }

    return { t, health, parts, failing, name, advice, detail, duration_s };
  },
  template: /* html */ `
    <section class="card health" aria-labelledby="health-title">
      <load-state :load="health">
        <div class="row">
          <h2 id="health-title">{{ t("monitoring.health.title") }}</h2>
          <span v-if="!health.error.value" class="badge" :class="failing.length ? 'bad' : 'good'" role="status">{{ failing.length
            ? t("monitoring.health.unwell", { n: failing.length }, failing.length) : t("monitoring.health.well") }}</span>
          <span v-if="health.data.value.uptime_s" class="hint right">{{ t("monitoring.health.uptime", { time: duration_s(health.data.value.uptime_s) }) }}</span>
        </div>
        <div v-for="part in failing" :key="'failing-' + part.name" class="trouble" role="alert">
          <strong>{{ name(part) }}</strong>
          <p>{{ advice(part) }}</p>
          <p class="hint">{{ t("monitoring.health.told") }} <code>{{ part.detail }}</code></p>
        </div>
        <ul class="parts">
          <li v-for="part in parts" :key="part.name" :class="part.status === 'ok' ? 'fine' : 'broken'">
            <span class="mark" aria-hidden="true">{{ part.status === "ok" ? "✓" : "✕" }}</span>
            <span><strong>{{ name(part) }}</strong> <small>{{ part.status === "ok" ? detail(part) : t("monitoring.health.broken") }}</small></span>
          </li>
        </ul>
      </load-state>
    </section>
  `,
};
