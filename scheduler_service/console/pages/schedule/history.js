// What was run lately, to be found, opened, and loaded to run it again.
import { computed, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { hours, percent, time } from "../../core/format.js";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import { addressOf } from "./recorded.js";

const AT_ONCE = 10;
const TYPING_MS = 300;

export default {
  name: "History",
  emits: ["again"],
  setup(_, { expose }) {
    const { t } = useI18n();
    const shown = ref(AT_ONCE);
    const search = ref("");
    const withExperiments = ref(false);
    const load = useLoad((signal) => {
      const query = { limit: shown.value, search: search.value.trim(), without_experiments: withExperiments.value ? "" : "true" };
      return api.get("/runs", query, { signal });
    });
    const runs = computed(() => load.data.value?.runs ?? []);
    const hasMore = computed(() => Boolean(load.data.value?.next) && shown.value < 1_000);
    const more = () => {
      shown.value = Math.min(1_000, shown.value * 3);
      load.reload();
    };
    let timer = null;
    watch([search, withExperiments], () => {
      clearTimeout(timer);
      shown.value = AT_ONCE;
      timer = setTimeout(load.reload, TYPING_MS);
    });
    expose({ reload: load.reload });
    return { t, load, runs, hasMore, more, search, withExperiments, addressOf, hours, percent, time };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="history-title">
      <div class="row">
        <h2 id="history-title">{{ t("schedule.history") }}</h2>
        <label class="field grow"><span class="unseen">{{ t("schedule.search") }}</span><input v-model="search" type="search" name="search" maxlength="200" :placeholder="t('schedule.search')"></label>
        <label class="check"><input v-model="withExperiments" type="checkbox" name="with-experiments">{{ t("schedule.with_experiments") }}</label>
      </div>
      <load-state :load="load" :empty="!runs.length">
        <div class="scroll" tabindex="0" role="region" :aria-label="t('schedule.history')"><table class="data history">
          <thead><tr><th>{{ t("schedule.time") }}</th><th>{{ t("schedule.run_name") }}</th><th>{{ t("schedule.size") }}</th><th>{{ t("schedule.model") }}</th><th class="num">{{ t("schedule.makespan") }}</th><th class="num">{{ t("schedule.gap") }}</th><th>{{ t("schedule.rating") }}</th><th><span class="unseen">{{ t("schedule.again") }}</span></th></tr></thead>
          <tbody><tr v-for="run in runs" :key="run.id">
            <td>{{ time(run.timestamp) }}</td>
            <td class="called"><router-link v-if="run.success" :to="addressOf([run.request_id])" :aria-label="t('schedule.open_label', { name: run.name || time(run.timestamp) })">{{ run.name || run.request_id.slice(0, 8) }}</router-link><template v-else>{{ run.name || run.request_id.slice(0, 8) }}</template> <small v-if="run.owner" class="hint">{{ run.owner }}</small></td>
            <td>{{ t("schedule.size_text", { n: run.n_workpoints, steps: run.n_steps }) }}</td>
            <td><router-link v-if="run.model_key" :to="'/models/' + run.model_key">{{ run.model_key }}</router-link> <small v-if="run.experiment" class="hint">{{ run.experiment }} · {{ run.variant }}</small></td>
            <td class="num"><template v-if="run.success">{{ hours(run.makespan) }}</template><span v-else class="badge bad" :title="run.error_message">{{ t("schedule.failed_run") }}</span></td>
            <td class="num">{{ percent(run.gap) }}</td>
            <td><span v-if="run.user_satisfaction" :title="run.comment ?? ''"><span aria-hidden="true">{{ "★".repeat(run.user_satisfaction) }}</span><span class="unseen">{{ run.user_satisfaction }}</span></span></td>
            <td class="num"><button type="button" class="btn small" :aria-label="t('schedule.again_label', { time: time(run.timestamp) })" @click="$emit('again', run.request_id)">{{ t("schedule.again") }}</button></td>
          </tr></tbody>
        </table></div>
        <p v-if="hasMore" class="row"><button type="button" class="btn small quiet" @click="more">{{ t("schedule.more") }}</button></p>
        <template #empty>{{ t(search.trim() ? "schedule.nothing_found" : withExperiments ? "schedule.history_empty" : "schedule.history_without") }}</template>
      </load-state>
    </section>
  `,
};
