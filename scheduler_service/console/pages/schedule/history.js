// What was run lately, to be loaded and run again.
import { computed, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { hours, percent, time } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { toast } from "../../parts/toast.js";
import { explain } from "./problems.js";

const AT_ONCE = 10;

export default {
  name: "History",
  emits: ["again"],
  setup(_, { emit, expose }) {
    const { t } = useI18n();
    const shown = ref(AT_ONCE);
    const load = useLoad((signal) => api.get("/runs", { limit: shown.value }, { signal }));
    const runs = computed(() => load.data.value?.runs ?? []);
    const hasMore = computed(() => Boolean(load.data.value?.next) && shown.value < 1_000);
    const more = () => {
      shown.value = Math.min(1_000, shown.value * 3);
      load.reload();
    };
    async function again(run) {
      try {
        const { input } = await api.get(`/runs/${encodeURIComponent(run.request_id)}`);
        emit("again", (await api.post("/requests/read", input)).request);
      } catch (err) {
        toast(explain(err), "bad");
      }
    }
    expose({ reload: load.reload });
    return { t, load, runs, hasMore, more, again, hours, percent, time };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="history-title">
      <h2 id="history-title">{{ t("schedule.history") }}</h2>
      <load-state :load="load" :empty="!runs.length">
        <div class="scroll" tabindex="0" role="region" :aria-label="t('schedule.history')"><table class="data history">
          <thead><tr><th>{{ t("schedule.time") }}</th><th>{{ t("schedule.size") }}</th><th>{{ t("schedule.model") }}</th><th class="num">{{ t("schedule.makespan") }}</th><th class="num">{{ t("schedule.gap") }}</th><th>{{ t("schedule.rating") }}</th><th><span class="unseen">{{ t("schedule.again") }}</span></th></tr></thead>
          <tbody><tr v-for="run in runs" :key="run.id">
            <td>{{ time(run.timestamp) }}</td><td>{{ t("schedule.size_text", { n: run.n_workpoints, steps: run.n_steps }) }}</td>
            <td><router-link v-if="run.model_key" :to="'/models/' + run.model_key">{{ run.model_key }}</router-link> <small v-if="run.experiment" class="hint">{{ run.experiment }} · {{ run.variant }}</small></td>
            <td class="num"><template v-if="run.success">{{ hours(run.makespan) }}</template><span v-else class="badge bad" :title="run.error_message">{{ t("schedule.failed_run") }}</span></td>
            <td class="num">{{ percent(run.gap) }}</td>
            <td><span v-if="run.user_satisfaction" :title="run.comment ?? ''"><span aria-hidden="true">{{ "★".repeat(run.user_satisfaction) }}</span><span class="unseen">{{ run.user_satisfaction }}</span></span></td>
            <td class="num"><button type="button" class="btn small" :aria-label="t('schedule.again_label', { time: time(run.timestamp) })" @click="again(run)">{{ t("schedule.again") }}</button></td>
          </tr></tbody>
        </table></div>
        <p v-if="hasMore" class="row"><button type="button" class="btn small quiet" @click="more">{{ t("schedule.more") }}</button></p>
        <template #empty>{{ t("schedule.history_empty") }}</template>
      </load-state>
    </section>
  `,
};
