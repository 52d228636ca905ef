// All experiments, with how far each is and what it says so far.
import { computed, onScopeDispose, reactive, ref, watch } from "vue";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { useLoad } from "../../core/load.js";
import IntervalPlot from "./interval.js";
import { isAborted, isOpenEnded, isOver, letter, level, runningCandidates, shortModel, TONES, useWording } from "./wording.js";

const SUMMARISED = 30; // experiments whose results are asked for, the newest ones
const EVERY_MS = 10_000;
export const REST = 9; // times as long as the answers took

export const addressOf = (name) => ({ path: `/experiments/${encodeURIComponent(name)}`, query: name === "new" ? { experiment: "" } : {} });

/** Share of all users whom some candidates have while the experiment runs. */
export const shareOfCandidates = (experiment, arms) => (experiment.coverage ?? 1) * arms.reduce((sum, arm) => sum + experiment.traffic_split[arm], 0);

/** Share of all users who get a candidate now. */
export function candidateShare(experiment) {
  if (experiment.promotion && !experiment.promotion.is_reverted) return 1;
  if (experiment.status !== "active") return 0;
  if (experiment.rollout) return experiment.rollout.stages[experiment.rollout.stage];
  return shareOfCandidates(experiment, runningCandidates(experiment));
}

export function progressOf(experiment) {
  const elapsed = (now() - new Date(experiment.start_time)) / 86_400_000;
  const days = experiment.duration_days;
  return { day: Math.min(Math.max(1, Math.ceil(elapsed)), Math.ceil(days)), days, isOpenEnded: isOpenEnded(experiment), share: Math.min(1, Math.max(0, elapsed / days)) };
}

export default {
  name: "ExperimentList",
  components: { IntervalPlot },
  setup() {
    const words = useWording();
    const shown = ref("all");
    const isArchive = computed(() => shown.value === "archived");
    const load = useLoad((signal) => api.get("/experiments", { archived: isArchive.value }, { signal }), { everyMs: EVERY_MS });
    watch(isArchive, load.reload);
    const results = reactive({});
    const abort = new AbortController();
    onScopeDispose(() => abort.abort());

    let restUntil = 0; // as on an experiment's own page: whoever looks must not keep the service busy
    async function summarise(experiments) {
      if (Date.now() < restUntil) return;
      restUntil = Infinity;
      const began = Date.now();
      // One after another: each reads its runs, and the service has others to serve.
      for (const { name, status } of experiments.slice(0, SUMMARISED)) {
        if (isOver(status) && results[name]?.status === status) continue;
        try {
          results[name] = (await api.get(`/experiments/${encodeURIComponent(name)}/results`, {}, { signal: abort.signal })).results;
        } catch (err) {
          if (err.name === "AbortError") return;
          results[name] ??= null; // its own page says what is wrong
        }
      }
      restUntil = Date.now() + REST * (Date.now() - began);
    }
    watch(load.data, (told) => told && summarise(told.experiments));

    const rows = computed(() =>
      (load.data.value?.experiments ?? []).filter(
        (each) => isArchive.value === Boolean(each.archived_at) && (["all", "archived"].includes(shown.value) || isOver(each.status) === (shown.value === "ended")),
      ),
    );
    const isAwaited = (name) => results[name] === undefined && load.data.value.experiments.slice(0, SUMMARISED).some((each) => each.name === name);
    const users = (name) => (results[name] ? Object.values(results[name].users).reduce((sum, each) => sum + each, 0) : null);
    const verdicts = (told) => [["model_b", told.verdict], ...Object.entries(told.comparisons).map(([arm, { verdict }]) => [arm, verdict])];
    const models = (each) => Object.entries(each).filter(([key]) => /^model_[a-h]$/.test(key));
    return { ...words, load, rows, shown, isArchive, results, isAwaited, users, verdicts, wordOf: words.word, models, addressOf, candidateShare, progressOf, isAborted, isOver, letter, shortModel, TONES, level };
  },
  template: /* html */ `
    <section class="page">
      <header class="page-head">
        <h1>{{ of("title") }}</h1><p class="hint">{{ of("about") }}</p>
        <router-link class="btn primary right admin-only" to="/experiments/new">{{ of("new") }}</router-link>
      </header>
      <load-state :load="load" :empty="!isArchive && load.data.value?.total === 0">
        <template #empty><p>{{ of("none_yet") }}</p><router-link class="btn primary admin-only" to="/experiments/new">{{ of("new") }}</router-link> <button type="button" class="btn" @click="shown = 'archived'">{{ of("list.archived") }}</button></template>
        <div class="card">
          <div class="row list-tools">
            <div class="tabs" role="group" :aria-label="of('list.filter')">
              <button v-for="each in ['all', 'running', 'ended', 'archived']" :key="each" type="button" :aria-pressed="shown === each" @click="shown = each">{{ of("list." + each) }}</button>
            </div>
            <span class="hint right">{{ of("default_model") }} <strong :title="load.data.value.default_model">{{ shortModel(load.data.value.default_model) }}</strong></span>
          </div>
          <p v-if="!rows.length" class="empty">{{ of("list.nothing") }}</p>
          <table v-else class="data experiments-table">
            <thead><tr><th scope="col">{{ of("list.name") }}</th><th scope="col">{{ of("list.arms") }}</th><th scope="col">{{ of("list.status") }}</th>
              <th scope="col">{{ of("list.share") }}</th><th scope="col">{{ of("list.progress") }}</th><th scope="col">{{ of("list.verdict") }}</th></tr></thead>
            <tbody>
              <tr v-for="each in rows" :key="each.name">
                <td><router-link class="name" :to="addressOf(each.name)">{{ each.name }}</router-link><span v-if="each.title" class="about-title">{{ each.title }}</span><small class="hint">{{ metric(each.success_metric) }}<template v-if="each.owner"> · {{ each.owner }}</template></small></td>
                <td><span v-for="[arm, model] in models(each)" :key="arm" class="arm-line" :title="model"><b class="arm-letter" :class="arm">{{ arm.slice(-1).toUpperCase() }}</b>{{ shortModel(model) }}</span></td>
                <td><status-badge kind="experiment" :value="each.status" /> <span v-if="isAborted(each)" class="badge bad">{{ of("history.aborted") }}</span></td>
                <td class="share"><span>{{ level(candidateShare(each)) }}</span>
                  <small v-if="each.rollout" class="hint">{{ of("list.stage", { stage: each.rollout.stage + 1, stages: each.rollout.stages.length }) }}</small></td>
                <td class="progress-cell"><template v-if="!isOver(each.status)"><progress v-if="!progressOf(each).isOpenEnded" :value="progressOf(each).share" max="1" :aria-label="of('list.progress')"></progress>
                  <small class="hint">{{ of(progressOf(each).isOpenEnded ? "list.day_open" : "list.day_of", progressOf(each)) }}<template v-if="users(each.name) !== null"> · {{ of("list.users", { users: users(each.name) }) }}</template></small></template>
                  <small v-else class="hint">{{ progressOf(each).isOpenEnded ? of("list.open_ended") : of("list.over", { days: each.duration_days }) }}<template v-if="users(each.name) !== null"> · {{ of("list.users", { users: users(each.name) }) }}</template></small></td>
                <td class="verdict-cell"><template v-if="results[each.name]"><span class="badges"><span v-for="[arm, word] in verdicts(results[each.name])" :key="arm" class="badge" :class="TONES[word]">{{ each.model_c ? letter(arm) + " " : "" }}{{ wordOf(word) }}</span></span>
                  <interval-plot v-if="results[each.name].anytime_effect" is-small :tone="TONES[results[each.name].verdict]" :margin="-results[each.name].margin_percentage"
                    :estimate="results[each.name].anytime_effect.improvement_percentage" :low="results[each.name].anytime_effect.confidence_sequence[0]" :high="results[each.name].anytime_effect.confidence_sequence[1]" /></template>
                  <span v-else class="hint">{{ isAwaited(each.name) ? "…" : "–" }}</span></td>
              </tr>
            </tbody>
          </table>
        </div>
      </load-state>
    </section>
  `,
};
