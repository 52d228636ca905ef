// A rollout: its stages, the present one, and what the next one waits for.
import { computed } from "vue";
import { level, useWording } from "./wording.js";

export default {
  name: "StagesCard",
  props: { told: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const arms = { a: "A", b: "B" };
    const rollout = computed(() => props.told.experiment.rollout);
    const isPromoted = computed(() => props.told.experiment.promotion && !props.told.experiment.promotion.is_reverted);
    const isLast = computed(() => rollout.value.stage >= rollout.value.stages.length - 2);
    const steps = computed(() =>
      rollout.value.stages.map((share, at) => {
        const state = isPromoted.value || at < rollout.value.stage ? "done" : at === rollout.value.stage ? "present" : "to_come";
        return { share, state, isPromotion: at === rollout.value.stages.length - 1 };
      }),
    );
    const needs = computed(() => props.told.results.rollout_decision?.conditions ?? []);
    const next = computed(() => rollout.value.stages[rollout.value.stage + 1]);
    return { ...words, arms, rollout, steps, needs, isLast, next, level };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="stages-title">
      <h2 id="stages-title">{{ of("stages.heading") }}</h2>
      <ol class="stages">
        <li v-for="(each, at) in steps" :key="at" :class="each.state" :aria-current="each.state === 'present' ? 'step' : undefined">
          <span class="bar" aria-hidden="true"><i :style="{ width: 100 * each.share + '%' }"></i></span>
          <b>{{ level(each.share) }}</b> <small>{{ each.isPromotion ? of("stages.promotion") : of("stages." + each.state) }}</small>
        </li>
      </ol>
      <p v-if="told.experiment.status === 'active'" class="hint">{{ of("stages.of_users", { share: level(rollout.stages[rollout.stage]), b: arms.b }) }}{{ t("shell.language") === "English" ? "；" : "; " }}{{ of("stages.also", arms) }}</p>
      <template v-if="told.experiment.status === 'active'">
        <h3>{{ isLast ? of("stages.needs_promotion") : of("stages.needs", { next: level(next) }) }}</h3>
        <ul class="needs"><li v-for="(each, at) in needs" :key="each.text.code + at" :class="each.isMet ? 'met' : 'unmet'"><span aria-hidden="true">{{ each.isMet ? "✓" : "○" }}</span><span class="unseen">{{ of(each.isMet ? "stages.met" : "stages.unmet") }}</span> {{ say(each.text) }}</li></ul>
        <p v-if="told.results.cannot_tell" class="note warn" data-cannot-tell>{{ say(told.results.cannot_tell.text) }}</p>
      </template>
      <p v-else class="hint">{{ of("stages.not_active") }}</p>
    </section>
  `,
};
