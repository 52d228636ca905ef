// What can be done with the experiment now; each move says first what will happen.
import { computed, inject, nextTick, ref } from "vue";
import { api } from "../../core/api.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { happensOf, inOrder, MOVES, possibleMoves, promotedBy } from "./moves.js";
import { problemText } from "./problem.js";
import { NOTHING_TOLD, prospectTexts } from "./prospect.js";
import { figuresOf, isArmStopped, letter, level, useWording } from "./wording.js";

export default {
  name: "MovesBar",
  props: { told: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const path = inject("experiment-path");
    const refresh = inject("experiment-refresh");
    const busy = ref("");
    const bar = ref(null);
    const arm = ref("model_b");
    const advised = computed(() => figuresOf(props.told.results, arm.value).advised_move);
    const possible = computed(() => inOrder(possibleMoves(props.told.experiment, props.told.defaultModel), advised.value));
    const candidates = computed(() => Object.keys(props.told.results.models).slice(1));
    const isArmStoppable = computed(() => !isArmStopped(props.told.experiment, arm.value));

    /** Where the experiment was moved on since it was looked at `before`, that is the reason. */
    function whyRefused(err, name, before) {
      const { status, rollout } = props.told.experiment;
      if (err.status !== 409) return problemText(err);
      if (!possible.value.includes(name)) return of("act.overtaken", { status: words.t(`status.experiment.${status}`), action: of(`act.${name}`) });
      if (name === "advance" && rollout.stage !== before.rollout.stage) return of("act.overtaken_stage", { share: level(rollout.stages[rollout.stage]) });
      return problemText(err);
    }

    /** What speaks against a promotion, and on what it rests, as it is now. */
    async function prospect(name) {
      const promoted = promotedBy(name, props.told.experiment, arm.value);
      if (!promoted) return NOTHING_TOLD;
      const { outlook } = await api.get(`${path}/outlook`, { arm: promoted });
      return prospectTexts(outlook, words);
    }

    async function ask(name, action) {
      const known = await prospect(name);
      const agreed = await confirm({
        ...known,
        title: of("act.title", { action, name: props.told.experiment.name }),
        happens: happensOf(name, props.told, words, arm.value),
        action,
        danger: MOVES[name].isGrave || Boolean(known.consent),
      });
      return agreed && { ...agreed, ...(known.consent ? { although_worse: true } : {}) };
    }

    async function move(name) {
      const { experiment } = props.told;
      const action = name === "stop_arm" ? of("act.stop_this_arm", { arm: letter(arm.value) }) : of(`act.${name}`);
      // What was agreed to is what was shown: not one stage more, should somebody else have advanced it meanwhile.
      const particular = { promote: { arm: arm.value }, stop_arm: { arm: arm.value }, advance: { from_stage: experiment.rollout?.stage } }[name];
      try {
        const agreed = await ask(name, action);
        if (!agreed) return;
        busy.value = name;
        await api.post(`${path}/${name}`, { ...particular, ...agreed });
        toast(of("act.done", { action }), "good");
        await refresh();
      } catch (err) {
        await refresh();
        toast(of("act.refused", { why: whyRefused(err, name, experiment) }), "bad");
      } finally {
        const wasMoved = busy.value !== "";
        busy.value = "";
        await nextTick();
        // The button that was pressed may be gone: on with what can be done next.
        if (wasMoved && !bar.value?.contains(document.activeElement)) (bar.value?.querySelector("button") ?? bar.value)?.focus();
      }
    }
    return { ...words, bar, busy, arm, possible, advised, candidates, isArmStoppable, letter, move };
  },
  template: /* html */ `
    <div ref="bar" class="row moves admin-only" role="group" tabindex="-1" :aria-label="of('act.more')">
      <label v-if="possible.includes('promote') && candidates.length > 1" class="row">{{ of("act.promote_arm") }}
        <select v-model="arm" class="input narrow"><option v-for="each in candidates" :key="each" :value="each">{{ of("arm", { letter: each.slice(-1).toUpperCase() }) }}</option></select></label>
      <button v-for="name in possible" :key="name" type="button" class="btn" :class="{ primary: name === advised }" :disabled="busy !== '' || (name === 'stop_arm' && !isArmStoppable)" :data-move="name" @click="move(name)">{{ name === "stop_arm" ? of("act.stop_this_arm", { arm: letter(arm) }) : of("act." + name) }}</button>
    </div>
  `,
};
