// The planner's page: what is to be done, by whom it is scheduled, and the schedule.
import { computed, nextTick, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { useRoute, useRouter } from "vue-router";
import { fixed, hours, percent } from "../../core/format.js";
import { addMessages } from "../../core/i18n.js";
import { useStyle } from "../../core/style.js";
import { toast } from "../../parts/toast.js";
import { useDraft } from "./draft.js";
import Durations from "./durations.js";
import Files from "./files.js";
import { VIEWS } from "./gantt.js";
import { mistakesIn } from "./checks.js";
import History from "./history.js";
import Options from "./options.js";
import Plant from "./plant.js";
import { explain, explained } from "./problems.js";
import Result from "./result.js";
import { addressOf, answerOf, idsIn, recorded } from "./recorded.js";
import { cancel, keep, run, state } from "./run.js";
import { STEPS, TEAMS, stepName } from "./standard.js";
import { texts } from "./texts.js";
import Workpoints from "./workpoints.js";

addMessages(texts);
await useStyle(new URL("style.css", import.meta.url));

/** What a field of the body is called on the page, where it is not by its own name. */
const FIELDS = { id: "workpoint_id", name: "workpoint_name", teams: "plant", time_budget_ms: "budget", user_id: "user" };

// How a schedule is looked at stays as it is while other pages are.
const view = ref("process");
const showCritical = ref(true);

export default {
  name: "Schedule",
  components: { Durations, Files, History, Options, Plant, Result, Workpoints },
  setup() {
    const { t, locale } = useI18n();
    const { draft, take, request, body } = useDraft();
    const results = ref(null);
    const history = ref(null);

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
        else keep((state.answers = found));
      } catch (err) {
        unopened.value = err.status === 404 ? t("schedule.no_such_run") : explain(err);
      }
    }
    watch(() => route.params.runs, open, { immediate: true });

    async function start() {
      const mistakes = mistakesIn(draft, t);
      if (mistakes.length) return refuse(mistakes);
      const { model, compare, budgetMs } = draft.options;
      const bodies = compare ? [body(model), body(compare)] : [body(model)];
      const isDone = await run(bodies, budgetMs);
      if (isDone && route.path.startsWith("/schedule")) showAddress();
      if (state.isCancelled) toast(t("schedule.cancelled"), "info");
      await nextTick();
      if (!results.value) return tellElsewhere(isDone);
      if (isDone) showResults();
      else document.querySelector("[aria-invalid=true]")?.focus();
    }

    /** Somebody went to another page meanwhile. */
    function tellElsewhere(isDone) {
      if (isDone) toast(t("schedule.done_elsewhere", { hours: state.answers.map(({ result }) => hours(result.makespan)).join(" / ") }));
      else if (state.error) toast(`${t("schedule.failed")} ${explain(state.error)}`, "bad");
    }

    /** What the service would refuse anyway is said here, in the page's words, and nothing is sent. */
    async function refuse(errors) {
      state.error = { errors };
      await nextTick();
      document.querySelector("[aria-invalid=true]")?.focus();
    }

    /** The schedule comes into sight where it is not: below the form, or above the button in a long one. */
    function showResults() {
      const { top } = results.value.getBoundingClientRect();
      if (top < 0 || top > innerHeight / 2) results.value.scrollIntoView({ block: "start" });
    }

    /** Whether the service found a mistake at this place of the body, or below it. */
    const invalid = (...path) => {
      const where = path.map(String);
      return (state.error?.errors ?? []).find(({ loc }) => where.every((part, at) => String(loc[at]) === part))?.msg ?? "";
    };

    const field = (name) => (Number.isInteger(name) ? String(name + 1) : t(`schedule.${FIELDS[name] ?? name}`, name));

    /** Where a mistake is, in the words of the page. */
    function place(loc) {
      if (loc[0] === "params" && loc.length > 1) return t("schedule.at_params", { n: loc[1] + 1, name: stepName(STEPS[loc[1]]?.zh, locale.value) });
      if (loc[0] === "workpoints" && loc.length < 2) return t("schedule.mode_workpoints");
      if (loc[0] === "teams" && loc[2] === "headcount") return t("schedule.headcount", { team: t(`schedule.teams.${loc[1]}`, loc[1]) });
      if (loc[0] !== "workpoints") return loc.map(field).join(" ");
      const workpoint = draft.workpoints[loc[1]];
      if (loc[2] === "steps" && loc.length > 3) return `${t("schedule.at_step", { id: workpoint?.id, name: workpoint?.steps[loc[3]]?.name })} ${loc.slice(4).map(field).join(" ")}`;
      return `${t("schedule.at_workpoint", { id: workpoint?.id })} ${loc.slice(2).map(field).join(" ")}`;
    }

    const progress = computed(() => {
      const { elapsedMs, budgetMs } = state;
      const elapsed = fixed(elapsedMs / 1_000, 1);
      if (!budgetMs) return { text: t("schedule.waiting", { elapsed }), share: null };
      return { text: t("schedule.improving", { elapsed, left: fixed(Math.max(0, budgetMs - elapsedMs) / 1_000, 1) }), share: Math.min(1, elapsedMs / budgetMs) };
    });
    const spanH = computed(() => Math.max(...state.answers.map((answer) => answer.result.makespan)));
    const difference = computed(() => {
      if (state.answers.length < 2) return "";
      const [a, b] = state.answers.map((answer) => answer.result);
      const change = b.makespan - a.makespan;
      if (Math.abs(change) < 1e-6) return t("schedule.same");
      const names = { a: a.model_info.model_key, b: b.model_info.model_key };
      return t("schedule.difference", { ...names, word: t(change < 0 ? "schedule.shorter" : "schedule.longer"), hours: hours(Math.abs(change)), percent: percent(Math.abs(change) / a.makespan) });
    });

    function named(answer, said) {
      answer.recorded = { ...answer.recorded, ...said };
      keep(state.answers);
      history.value?.reload();
    }

    function imported(read) {
      take(read);
      state.error = null;
      const hasOwnPlant = draft.teams || Object.keys(draft.headcounts).length > 0;
      if (hasOwnPlant && !read.teams) toast(t("schedule.plant_stays"), "info");
    }

    function again(read) {
      take(read, { isWhole: true });
      state.error = null;
      toast(t("schedule.loaded"), "info");
      window.scrollTo({ top: 0 });
    }
    return { t, explain, explained, draft, request, imported, state, cancel, start, view, views: VIEWS, showCritical, results, history, unopened, teams, invalid, place, progress, spanH, difference, named, again };
  },
  template: /* html */ `
    <div class="page schedule">
      <div class="page-head"><h1>{{ t("schedule.title") }}</h1><p class="hint">{{ t("schedule.about") }}</p></div>
      <div class="desk">
        <form class="card asked" :class="{ wide: draft.mode === 'workpoints' }" novalidate @submit.prevent="start">
          <div class="tabs" role="group" :aria-label="t('schedule.mode')">
            <button type="button" :aria-pressed="draft.mode === 'params'" @click="draft.mode = 'params'">{{ t("schedule.mode_params") }}</button>
            <button type="button" :aria-pressed="draft.mode === 'workpoints'" @click="draft.mode = 'workpoints'">{{ t("schedule.mode_workpoints") }}</button>
          </div>
          <files :request="request" :workpoints="draft.mode === 'workpoints' ? draft.workpoints : null" @imported="imported" />
          <durations v-if="draft.mode === 'params'" v-model="draft.params" :invalid="invalid" />
          <workpoints v-else v-model="draft.workpoints" :invalid="invalid" :teams="teams" />
          <plant v-model="draft.headcounts" :others="draft.teams" :is-linear="draft.isLinear" :invalid="(...path) => invalid('teams', ...path)" @forget="Object.assign(draft, { teams: null, isLinear: false })" />
          <options v-model="draft.options" :more="draft.more" :invalid="invalid" @forget="draft.more = {}" />
          <div v-if="state.error" class="card error" role="alert">
            <strong>{{ t("schedule.failed") }}</strong>
            <template v-if="state.error.errors?.length > 0 && state.error.errors[0].loc.length">
              {{ t("schedule.fix") }}
              <ul><li v-for="each in state.error.errors.slice(0, 8)" :key="each.loc.join()">{{ place(each.loc) }}: {{ explained(each.msg) }}</li></ul>
            </template>
            <template v-else> {{ explain(state.error) }}</template>
          </div>
          <div class="go">
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
              <strong v-if="difference" role="status">{{ difference }}</strong>
            </div>
            <div class="pair" :class="{ two: state.answers.length > 1 }">
              <result v-for="answer in state.answers" :key="answer.request_id" @named="named(answer, $event)" :answer="answer" :view="view" :show-critical="showCritical" :span-h="spanH" :is-narrow="state.answers.length > 1" />
            </div>
          </template>
        </section>
      </div>
      <history ref="history" @again="again" />
    </div>
  `,
};
