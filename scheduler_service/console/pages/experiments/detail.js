// One experiment: what it says, how far it is, what can be done with it. Refreshes by itself.
import { computed, onMounted, provide, ref, watch } from "vue";
import { api } from "../../core/api.js";
import { useLoad } from "../../core/load.js";
import AboutCard from "./about_card.js";
import ArmsCard from "./arms_card.js";
import AssignmentCard from "./assignment_card.js";
import CourseCard from "./course_card.js";
import GuardrailsCard from "./guardrails_card.js";
import HistoryCard from "./history_card.js";
import { REST } from "./list.js";
import MovesBar from "./moves_bar.js";
import PairsCard from "./pairs_card.js";
import { problemText } from "./problem.js";
import SecondaryCard from "./secondary_card.js";
import SettingsCard from "./settings_card.js";
import SizesCard from "./sizes_card.js";
import StagesCard from "./stages_card.js";
import VerdictCard from "./verdict_card.js";
import { figuresOf, isAborted, isArmStopped, letter, shortModel, useWording } from "./wording.js";

const EVERY_MS = 5_000;
const COURSE_EVERY_MS = 20_000;

export default {
  name: "ExperimentDetail",
  components: { AboutCard, ArmsCard, AssignmentCard, CourseCard, GuardrailsCard, HistoryCard, MovesBar, PairsCard, SecondaryCard, SettingsCard, SizesCard, StagesCard, VerdictCard },
  props: { name: { type: String, required: true } },
  setup(props) {
    const words = useWording();
    const path = `/experiments/${encodeURIComponent(props.name)}`;
    const heading = ref(null);
    const candidate = ref("model_b");
    let last = null;
    let restUntil = 0;

    const load = useLoad(
      async (signal) => {
        if (last && Date.now() < restUntil) return last;
        const began = Date.now();
        const asked = Promise.all(["", "/results", "/history"].map((each) => api.get(path + each, {}, { signal })));
        const [told, { results }, { history }] = await asked;
        restUntil = Date.now() + REST * (Date.now() - began);
        last = { experiment: told.experiment, defaultModel: told.default_model, results, history };
        return last;
      },
      { everyMs: EVERY_MS },
    );
    const refresh = () => {
      restUntil = 0;
      return load.reload();
    };

    // The course is computed from all runs: asked for again only when there are new ones, and not too often.
    let courseAt = 0;
    let courseOf = "";
    const course = useLoad(async (signal) => (await api.get(`${path}/course`, {}, { signal })).course, { isImmediate: false });
    watch(load.data, async (told) => {
      const seen = JSON.stringify([told?.results.total_requests, Object.values(told?.results.paired ?? {}).map((each) => each.pairs)]);
      if (!told || seen === courseOf || Date.now() - courseAt < COURSE_EVERY_MS) return;
      [courseOf, courseAt] = [seen, Date.now()];
      await course.reload();
      if (course.error.value) courseOf = ""; // once more, then
    });

    provide("experiment-path", path);
    provide("experiment-refresh", refresh);
    onMounted(() => heading.value?.focus({ preventScroll: true }));
    const figures = computed(() => figuresOf(load.data.value.results, candidate.value));
    return { ...words, problemText, load, course, heading, candidate, figures, isAborted, isArmStopped, letter, shortModel };
  },
  template: /* html */ `
    <section class="page experiment-page">
      <header class="page-head">
        <router-link class="crumb" to="/experiments">{{ of("all") }}</router-link>
        <h1 ref="heading" tabindex="-1">{{ name }}</h1>
        <status-badge v-if="load.data.value" kind="experiment" :value="load.data.value.experiment.status" />
        <span v-if="load.data.value && isAborted(load.data.value.experiment)" class="badge bad">{{ of("history.aborted") }}</span>
        <span v-if="load.data.value?.experiment.archived_at" class="badge mute" data-archived>{{ of("list.archived") }}</span>
        <span class="hint right">{{ of("refreshed") }}</span>
      </header>
      <load-state :load="load" :explain="problemText">
        <about-card :experiment="load.data.value.experiment" />
        <div class="row arms-line">
          <span v-for="(model, arm) in load.data.value.results.models" :key="arm" class="arm-line" :title="model"><b class="arm-letter" :class="arm">{{ letter(arm) }}</b>{{ shortModel(model) }} <span v-if="isArmStopped(load.data.value.experiment, arm)" class="badge bad" :data-stopped="arm">{{ of("arms.stopped") }}</span></span>
          <moves-bar class="right" :told="load.data.value" />
        </div>
        <div v-if="load.data.value.experiment.model_c" class="tabs" role="group" :aria-label="of('candidate')">
          <button v-for="arm in Object.keys(load.data.value.results.models).slice(1)" :key="arm" type="button" :aria-pressed="candidate === arm" @click="candidate = arm">{{ of("arm", { letter: letter(arm) }) }}</button>
        </div>
        <verdict-card :experiment="load.data.value.experiment" :figures="figures" :candidate="candidate" />
        <stages-card v-if="load.data.value.experiment.rollout" :told="load.data.value" />
        <div class="two-one">
          <course-card :course="course" :figures="figures" :candidate="candidate" />
          <arms-card :experiment="load.data.value.experiment" :results="load.data.value.results" />
        </div>
        <div class="halves">
          <guardrails-card :figures="figures" />
          <secondary-card :figures="figures" />
        </div>
        <sizes-card :figures="figures" :candidate="candidate" />
        <pairs-card :results="load.data.value.results" />
        <div class="halves">
          <history-card :told="load.data.value" />
          <div class="stack"><settings-card :told="load.data.value" /><assignment-card :experiment="load.data.value.experiment" /></div>
        </div>
      </load-state>
    </section>
  `,
};
