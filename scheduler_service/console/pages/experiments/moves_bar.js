// What can be done with the experiment now; each move says first what will happen.
import { computed, inject, nextTick, ref } from "vue";
import { api } from "../../core/api.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { happensOf, MOVES, possibleMoves } from "./moves.js";
import { problemText } from "./problem.js";
import { useWording } from "./wording.js";

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
    const possible = computed(() => possibleMoves(props.told.experiment));
    const candidates = computed(() => Object.keys(props.told.results.models).slice(1));

    async function move(name) {
      const { experiment } = props.told;
      const action = of(`act.${name}`);
      const agreed = await confirm({
        title: of("act.title", { action, name: experiment.name }),
        happens: happensOf(name, props.told, words, arm.value),
        action,
        danger: MOVES[name].isGrave,
      });
      if (!agreed) return;
      busy.value = name;
      try {
        await api.post(`${path}/${name}`, name === "promote" ? { arm: arm.value, ...agreed } : agreed);
        toast(of("act.done", { action }), "good");
        await refresh();
      } catch (err) {
        await refresh();
        const { status } = props.told.experiment;
        const isOvertaken = err.status === 409 && !possible.value.includes(name);
        const why = isOvertaken ? of("act.overtaken", { status: words.t(`status.experiment.${status}`), action }) : problemText(err);
        toast(of("act.refused", { why }), "bad");
      } finally {
        busy.value = "";
        await nextTick();
        // The button that was pressed may be gone: on with what can be done next.
        if (!bar.value?.contains(document.activeElement)) (bar.value?.querySelector("button") ?? bar.value)?.focus();
      }
    }
    return { ...words, bar, busy, arm, possible, candidates, move, MOVES };
  },
  template: /* html */ `
    <div ref="bar" class="row moves admin-only" role="group" tabindex="-1" :aria-label="of('act.more')">
      <label v-if="possible.includes('promote') && candidates.length > 1" class="row">{{ of("act.promote_arm") }}
        <select v-model="arm" class="input narrow"><option v-for="each in candidates" :key="each" :value="each">{{ of("arm", { letter: each.slice(-1).toUpperCase() }) }}</option></select></label>
      <button v-for="name in possible" :key="name" type="button" class="btn" :class="MOVES[name].look" :disabled="busy !== ''" :data-move="name" @click="move(name)">{{ of("act." + name) }}</button>
    </div>
  `,
};
