// The planner's page: what is to be done, by whom it is scheduled, and the schedule.
import { computed, nextTick, onBeforeUnmount, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { useRoute, useRouter } from "vue-router";
import { api } from "../../core/api.js";
import { fixed, hours } from "../../core/format.js";
import { addMessages } from "../../core/i18n.js";
import { useStyle } from "../../core/style.js";
import { leadToFirst } from "../../parts/mistakes.js";
import { toast } from "../../parts/toast.js";
import Comparison from "./comparison.js";
import { useDraft } from "./draft.js";
import Durations from "./durations.js";
import Files from "./files.js";
import { VIEWS } from "./gantt.js";
import History from "./history.js";
import { joined, mistakesHere, noted, useMistakes } from "./mistakes.js";
import { opponents } from "./opponents.js";
import Options from "./options.js";
import Plant from "./plant.js";
import { refusalText } from "../../core/refusals.js";
import Result from "./result.js";
import { addressOf, answerOf, idsIn, recorded } from "./recorded.js";
import { cancel, compare, keep, run, show, state } from "./run.js";
import { TEAMS } from "./standard.js";
import { texts } from "./texts.js";
import Workpoints from "./workpoints.js";

addMessages(texts);
await useStyle(new URL("style.css", import.meta.url));

// How a schedule is looked at stays as it is while other pages are.
const view = ref("process");
const showCritical = ref(true);

export default {
  name: "Schedule",
  components: { Comparison, Durations, Files, History, Options, Plant, Result, Workpoints },
  setup() {
    const { t } = useI18n();
    const { draft, take, request, body } = useDraft();
    const results = ref(null);
    let isHere = true; // the reference does not tell: drawn again while the next page loads, it is set after this one has gone
    onBeforeUnmount(() => (isHere = false));
    const history = ref(null);
    const form = ref(null);
    const { fault, others } = useMistakes(draft, () => state.error?.errors ?? []);

    const teams = computed(() => [
      ...new Set([
        ...TEAMS.map((team) => team.name),
        ...Object.keys(draft.teams ?? {}),
        ...draft.workpoints.flatMap((workpoint) => workpoint.steps.map((step) => step.team)),
      ]),
    ]);

    // Also of a run that was begun before another page was looked at.
    watch(() => state.isRunning, (isRunning) => isRunning || history.value?.reload());

    const route = useRoute();
    const router = useRouter();
    const unopened = ref(""); // why what the address names is not shown
    const shownIds = () => state.answers.map((answer) => answer.request_id);
    const showAddress = () => state.answers.length && router.replace(addressOf(shownIds()));

    /** What the address names is shown, and what is shown is what the address names. */
    async function open(given) {
      if (!route.path.startsWith("/schedule")) return;
      const ids = idsIn(given);
      unopened.value = "";
      if (!ids.length) return showAddress();
      if (state.isRunning || ids.join() === shownIds().join()) return;
      try {
        const found = (await Promise.all(ids.map(recorded))).map(answerOf);
        if (found.includes(null)) unopened.value = t("schedule.not_kept");
        else show(found);
      } catch (err) {
        unopened.value = err.status === 404 ? t("schedule.no_such_run") : refusalText(err);
      }
    }
    watch(() => route.params.runs, open, { immediate: true });

    async function start() {
      const { model, compare: other, budgetMs } = draft.options;
      const chosen = other ? await opponents(draft.options, draft.more).catch((err) => ({ err, mistakes: [] })) : { mistakes: [] };
      if (chosen.err) return refuse(chosen.err);
      const here = [...mistakesHere(form.value, draft), ...chosen.mistakes];
      if (here.length) return refuse({ errors: joined(here, await toldOf(request())) });
      const isDone = other ? await compare(body(other), chosen.keys, budgetMs) : await run(body(model), budgetMs);
      if (isDone && route.path.startsWith("/schedule")) showAddress();
      if (state.isCancelled) toast(t("schedule.cancelled"), "info");
      if (state.error) refuse(state.error);
      await nextTick();
      if (!isHere) return tellElsewhere(isDone);
      return isDone && showResults();
    }

    /** What the service finds wrong with a request that is not sent to be run. */
    const toldOf = (asked) => api.post("/requests/read", asked).then(() => [], (err) => err.errors ?? []);

    /** Somebody went to another page meanwhile. */
    function tellElsewhere(isDone) {
      if (isDone) toast(t("schedule.done_elsewhere", { hours: state.answers.map(({ result }) => hours(result.makespan)).join(" / ") }));
      else if (state.error) toast(`${t("schedule.failed")} ${refusalText(state.error)}`, "bad");
    }

    /** All that is wrong, beside its fields and at the button. */
    function refuse({ kind, status, detail, code, params, retryAfterS, errors = [] }) {
      const found = status === 404 && draft.options.model ? [{ loc: ["model"], msg: detail, code, params }] : errors;
      state.error = { kind, status, detail, code, params, retryAfterS, errors: noted(found, draft) };
      return leadToFirst(form.value);
    }

    /** The schedule comes into sight where it is not: below the form, or above the button in a long one. */
    function showResults() {
      const { top } = results.value.getBoundingClientRect();
      if (top < 0 || top > innerHeight / 2) results.value.scrollIntoView({ block: "start" });
    }

    const progress = computed(() => {
      const { elapsedMs, budgetMs, done, of } = state;
      const elapsed = fixed(elapsedMs / 1_000, 1);
      if (!budgetMs) return { text: t("schedule.waiting", { elapsed }), share: null };
      const left = fixed(Math.max(0, of * budgetMs - elapsedMs) / 1_000, 1);
      const text = of > 1 ? t("schedule.comparing.turn", { n: Math.min(done + 1, of), all: of, left }) : t("schedule.improving", { elapsed, left });
      return { text, share: Math.min(1, elapsedMs / (of * budgetMs)) };
    });
    const spanH = computed(() => Math.max(...state.answers.map((answer) => answer.result.makespan)));

    function named(answer, said) {
      answer.recorded = { ...answer.recorded, ...said };
      keep();
      history.value?.reload();
    }

    function imported(read) {
      take(read);
      state.error = null;
      const hasOwnPlant = draft.teams || Object.keys(draft.headcounts).length > 0;
      if (hasOwnPlant && !read.teams) toast(t("schedule.plant_stays"), "info");
    }

    /** What a recorded run was asked for, in the form. */
    async function again(requestId) {
      try {
        const { input } = await recorded(requestId);
        take((await api.post("/requests/read", input)).request, { isWhole: true });
        state.error = null;
        toast(t("schedule.loaded"), "info");
        window.scrollTo({ top: 0 });
      } catch (err) {
        if (err.name !== "AbortError") toast(refusalText(err), "bad");
      }
    }
    return { t, refusalText, draft, request, imported, state, cancel, start, view, views: VIEWS, showCritical, results, history, unopened, form, teams, fault, others, progress, spanH, named, again };
  },
  template: /* html */ `
    <div class="page schedule">
      <div class="page-head"><h1>{{ t("schedule.title") }}</h1><p class="hint">{{ t("schedule.about") }}</p></div>
      <div class="desk">
        <form ref="form" class="card asked" :class="{ wide: draft.mode === 'workpoints' }" novalidate @submit.prevent="start">
          <div class="tabs" role="group" :aria-label="t('schedule.mode')">
            <button type="button" :aria-pressed="draft.mode === 'params'" @click="draft.mode = 'params'">{{ t("schedule.mode_params") }}</button>
            <button type="button" :aria-pressed="draft.mode === 'workpoints'" @click="draft.mode = 'workpoints'">{{ t("schedule.mode_workpoints") }}</button>
          </div>
          <files :request="request" :workpoints="draft.mode === 'workpoints' ? draft.workpoints : null" @imported="imported" />
          <durations v-if="draft.mode === 'params'" v-model="draft.params" :fault="fault" />
          <workpoints v-else v-model="draft.workpoints" :fault="fault" :teams="teams" />
          <plant v-model="draft.headcounts" :others="draft.teams" :is-linear="draft.isLinear" :fault="fault" @forget="Object.assign(draft, { teams: null, isLinear: false })" />
          <options v-model="draft.options" :more="draft.more" :fault="fault" @forget="draft.more = {}" />
          <div class="go">
            <mistake-list :others="others" />
            <p v-if="state.error && !state.error.errors?.length" class="error" role="alert"><strong>{{ t("schedule.failed") }}</strong> {{ refusalText(state.error) }}</p>
            <div class="row">
              <button class="btn primary big" :disabled="state.isRunning">{{ t(state.isRunning ? "schedule.running" : "schedule.run") }}</button>
              <button v-if="state.isRunning" type="button" class="btn" @click="cancel">{{ t("schedule.cancel") }}</button>
            </div>
            <div v-if="state.isRunning && (state.budgetMs || state.elapsedMs > 400)" class="progress">
              <progress :value="progress.share ?? undefined" max="1" :aria-label="t('schedule.running')"></progress><small class="hint">{{ progress.text }}</small>
            </div>
          </div>
        </form>
        <section ref="results" class="stack answers" :aria-label="t('schedule.result')" :aria-busy="state.isRunning">
          <p v-if="unopened" class="card error" role="alert"><strong>{{ t("schedule.not_opened") }}</strong> {{ unopened }}</p>
          <p v-else-if="!state.answers.length" class="empty">{{ t("schedule.nothing_yet") }}</p>
          <template v-else>
            <div class="row card bar">
              <div class="tabs" role="group" :aria-label="t('schedule.view')"><button v-for="each in views" :key="each" type="button" :aria-pressed="view === each" @click="view = each">{{ t("schedule.views." + each) }}</button></div>
              <label class="check"><input v-model="showCritical" type="checkbox">{{ t("schedule.critical_path") }}</label>
            </div>
            <comparison v-if="state.comparison" :comparison="state.comparison" />
            <div class="pair" :class="{ two: state.answers.length > 1 }">
              <result v-for="answer in state.answers" :key="answer.request_id" @named="named(answer, $event)" @again="again(answer.request_id)" :answer="answer" :view="view" :show-critical="showCritical" :span-h="spanH" :is-narrow="state.answers.length > 1" />
            </div>
          </template>
        </section>
      </div>
      <history ref="history" @again="again" />
    </div>
  `,
};
