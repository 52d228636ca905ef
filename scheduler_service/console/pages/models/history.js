// Every change of the registry, and what was stable at a moment of the past.
import { computed, watch } from "vue";
import { useRoute, useRouter } from "vue-router";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { time } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { said } from "../../core/words.js";
import ModelTimeline from "./timeline.js";
import { algorithmsOf, one, shortName } from "./records.js";

const SHOWN = 200;

/** An ISO time as <input type=datetime-local> wants it, in the reader's zone; and back. */
const toLocal = (iso) => {
  if (!iso) return "";
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? "" : new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};
const toIso = (local) => (local ? new Date(local).toISOString() : "");

export default {
  name: "ModelHistory",
  components: { ModelTimeline },
  setup() {
    const { t } = useI18n();
    const route = useRoute();
    const router = useRouter();
    const wanted = computed(() => Object.fromEntries(["algorithm", "model_key", "at"].map((name) => [name, one(route.query[name])])));
    function want(changes) {
      const query = Object.fromEntries(Object.entries({ ...wanted.value, ...changes }).filter(([, value]) => value));
      router.replace({ path: "/models", query: { view: "history", ...query } });
    }
    const list = useLoad((signal) => api.get("/models", {}, { signal }));
    const history = useLoad((signal) => api.get("/models/history", { ...wanted.value, limit: SHOWN }, { signal }), { everyMs: 15_000 });
    watch(wanted, (now, before) => JSON.stringify(now) !== JSON.stringify(before) && history.reload());
    const models = computed(() => list.data.value?.models ?? []);
    const algorithms = computed(() => algorithmsOf(models.value).map((each) => each.algorithm));
    const keys = computed(() => [...new Set([...models.value.map((each) => each.model_key), wanted.value.model_key].filter(Boolean))]);
    const live = computed(() => Object.values(history.data.value?.live ?? {}));
    return { t, time, wanted, want, history, algorithms, keys, live, toLocal, toIso, shortName, said };
  },
  template: /* html */ `
    <div class="card">
      <p class="hint">{{ t("models.history_about") }} {{ t("models.when_about") }}</p>
      <div class="row end filters" role="search" :aria-label="t('models.filters')">
        <label class="field">{{ t("models.when") }}
          <input type="datetime-local" name="at" :value="toLocal(wanted.at)" @change="want({ at: toIso($event.target.value) })"></label>
        <button type="button" class="btn" :disabled="!wanted.at" @click="want({ at: '' })">{{ t("models.now") }}</button>
        <label class="field">{{ t("models.algorithm") }}
          <select name="algorithm" :value="wanted.algorithm" @change="want({ algorithm: $event.target.value })">
            <option value="">{{ t("models.all") }}</option><option v-for="each in algorithms" :key="each">{{ each }}</option></select></label>
        <label class="field">{{ t("models.of_model") }}
          <select name="model_key" :value="wanted.model_key" @change="want({ model_key: $event.target.value })">
            <option value="">{{ t("models.any_model") }}</option><option v-for="each in keys" :key="each">{{ each }}</option></select></label>
      </div>
    </div>
    <load-state :load="history">
      <section class="card live" aria-live="polite">
        <h2>{{ wanted.at ? t("models.live_at", { time: time(wanted.at) }) : t("models.live_now") }}</h2>
        <p v-if="!live.length" class="hint">{{ t("models.nothing_live") }}</p>
        <ul v-else class="plain live-list">
          <li v-for="each in live" :key="each.algorithm"><span class="badge mark-stable">{{ each.algorithm }}</span> <b>{{ shortName(each.model_key) }}</b>
            <span class="hint">{{ t("models.live_since", { time: time(each.since) }) }} · {{ t("models.live_by", { actor: each.actor || t("models.nobody") }) }}<template v-if="each.reason"> · {{ said({ ...each, msg: each.reason }) }}</template></span></li>
        </ul>
      </section>
      <section class="card">
        <h2>{{ t("models.events", { count: history.data.value.total }, history.data.value.total) }}</h2>
        <p v-if="history.data.value.events.length < history.data.value.total" class="hint">{{ t("models.events_left", { shown: history.data.value.events.length, total: history.data.value.total }) }}</p>
        <model-timeline :events="history.data.value.events" linked />
      </section>
    </load-state>
  `,
};
