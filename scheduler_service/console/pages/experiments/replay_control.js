// A replay of past requests: begun here, worked off in the background.
import { computed, inject, reactive, ref, watch } from "vue";
import { api } from "../../core/api.js";
import { duration_s, number } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import FormField from "./form_field.js";
import { problemText } from "./problem.js";
import { letter, TONES, useWording } from "./wording.js";

const POLL_MS = 1_000;

export default {
  name: "ReplayControl",
  components: { FormField },
  props: { hasPairs: { type: Boolean, required: true }, candidates: { type: Array, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const path = inject("experiment-path");
    const refresh = inject("experiment-refresh");
    const wish = reactive({ days: 7, limit: 1000, own_requests: false, candidate: props.candidates[0] });
    const isStarting = ref(false);
    const failure = ref(null);
    // Asked for only where there is one: a 404 would be an error in the browser's console.
    const isRunning = () => load.data.value?.state === "running";
    const load = useLoad(async (signal) => (await api.get(`${path}/replay`, {}, { signal })).replay, { everyMs: POLL_MS, isImmediate: false, isWanted: isRunning });
    const replay = load.data;
    watch(() => props.hasPairs, (has) => has && !replay.value && load.reload(), { immediate: true });
    watch(replay, (now, before) => before?.state === "running" && now.state !== "running" && refresh());

    const arms = computed(() => ({ a: "A", b: letter(wish.candidate) }));
    // The pairs above are those of model_b.
    const other = computed(() => (replay.value && replay.value.candidate !== "model_b" ? replay.value.verdict : null));
    const said = computed(() => {
      const { state, done, total, error } = replay.value ?? {};
      if (!state) return "";
      return of(`replay.${state}`, { done: number(done), total: number(total), error });
    });
    async function start() {
      const named = { days: number(wish.days), limit: number(wish.limit) };
      const agreed = await confirm({ title: of("replay.heading"), happens: [1, 2, 3].map((at) => of(`replay.confirm_${at}`, named)), action: of("replay.start"), reason: "none" });
      if (!agreed) return;
      isStarting.value = true;
      failure.value = null;
      try {
        await api.post(`${path}/replay`, { ...wish });
        toast(of("replay.started"), "good");
        await load.reload();
      } catch (err) {
        failure.value = err;
        toast(of("act.refused", { why: problemText(err) }), "bad");
      } finally {
        isStarting.value = false;
      }
    }
    const fault = (place) => failure.value?.of?.(place) ?? "";
    return { ...words, letter, TONES, other, arms, wish, replay, said, start, isStarting, failure, fault, duration_s };
  },
  template: /* html */ `
    <div class="replay" data-replay :data-state="replay?.state">
      <h3>{{ of("replay.heading") }}</h3><p class="hint">{{ of("replay.about", arms) }}</p>
      <form class="row end admin-only" novalidate @submit.prevent="start">
        <form-field v-if="candidates.length > 1" v-model="wish.candidate" class="narrow-field" :label="of('candidate')" :options="candidates.map((value) => ({ value, label: letter(value) }))" />
        <form-field v-model="wish.limit" type="number" class="narrow-field" :label="of('replay.limit')" :error="fault('limit')" />
        <form-field v-model="wish.days" type="number" class="narrow-field" :label="of('replay.days')" :error="fault('days')" />
        <label class="check"><input v-model="wish.own_requests" type="checkbox">{{ of("replay.own") }}</label>
        <button class="btn" :disabled="isStarting || replay?.state === 'running' || replay?.state === 'identical'">{{ of(replay ? "replay.again" : "replay.start") }}</button>
      </form>
      <p v-if="said" role="status"><progress v-if="replay.state === 'running'" :value="replay.done" :max="replay.total" :aria-label="of('replay.heading')"></progress>
        <span :class="replay.state === 'failed' ? 'error' : 'hint'">{{ said }} <template v-if="replay.remaining_s">{{ of("replay.remaining", { time: duration_s(replay.remaining_s) }) }}</template></span></p>
      <p v-if="other" class="hint">{{ letter(replay.candidate) }}: <span class="badge" :class="TONES[other.verdict]">{{ word(other.verdict) }}</span> {{ of("pairs.bar", { won: other.wins, tied: other.ties, lost: other.losses }) }} · {{ of("pairs.of", { pairs: other.pairs, users: other.users }) }}</p>
    </div>
  `,
};
