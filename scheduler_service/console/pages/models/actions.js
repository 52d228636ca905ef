// What can be done with a model now: only what the registry would allow, each after what it does has been said.
import { computed, nextTick, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { refusalText } from "../../core/refusals.js";
import { said } from "../../core/words.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { happens } from "./happens.js";
import { STABLE, shortName } from "./records.js";

const PROMOTIONS = ["validated", "deployed", "retired"];
const REACHED = ["model_has_status", "model_is_default"];
const NEXT = { registered: "validated", validated: "deployed", retired: "validated" };

/** The request that makes a move; answers the key of the model that it is about. */
const REQUESTS = {
  ...Object.fromEntries(PROMOTIONS.map((status) => [status, (model, body) => api.post(`/models/${model.model_key}/promote`, { status, ...body })])),
  default: (model, body) => api.put("/models/default", { model_key: model.model_key, ...body }),
  rollback: (model, body) => api.post("/models/rollback", { algorithm: model.algorithm, ...body }),
  deleted: (model, body) => api.delete(`/models/${model.model_key}`, body),
};

/** Move -> why not ({code, params, msg}), or null, of those that make sense to offer. */
function refusalsOf(model, outlook, t) {
  const found = Object.fromEntries(Object.entries(outlook.refusals).map(([move, msg]) => [move, msg && { ...outlook.reasons[move], msg }]));
  if (model.tags.includes(STABLE)) {
    found.rollback = outlook.rollback_to ? null : { msg: t("models.nothing_before", { algorithm: model.algorithm }) };
  }
  return found;
}

export default {
  name: "ModelActions",
  props: { model: { type: Object, required: true }, outlook: { type: Object, required: true }, models: { type: Array, required: true } },
  emits: ["changed", "stale", "gone"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const busy = ref("");
    const failure = ref("");
    const alarm = ref(null);
    const refusals = computed(() => refusalsOf(props.model, props.outlook, t));
    const possible = computed(() => ["validated", "deployed", "default", "rollback", "retired", "deleted"].filter((move) => refusals.value[move] === null));
    const impossible = computed(() =>
      Object.entries(refusals.value)
        .filter(([, why]) => why !== null && !REACHED.includes(why.code))
        .map(([move, why]) => ({ move, why: said(why) })),
    );
    const label = (move) => t(`models.action.${move === "validated" && props.model.status === "retired" ? "revalidated" : move}`);
    const isNext = (move) => NEXT[props.model.status] === move;

    async function fail(text) {
      failure.value = text;
      await nextTick();
      alarm.value?.focus();
    }

    async function act(move) {
      failure.value = "";
      const { model } = props;
      try {
        // Told is what is true now, not what was true when the page was opened.
        const now = await api.get(`/models/${model.model_key}/outlook`);
        if (refusalsOf(model, now, t)[move] !== null) {
          emit("stale");
          return await fail(`${t("models.changed_meanwhile")} ${said(refusalsOf(model, now, t)[move])}`);
        }
        const name = shortName(model.model_key);
        const answer = await confirm({
          title: t(`models.confirm_title.${move}`, { name, algorithm: model.algorithm }),
          happens: happens(move, model, now, props.models),
          action: t(`models.confirm_action.${move}`),
          danger: move === "deleted" || move === "retired",
          reason: move === "rollback" ? "required" : "optional",
        });
        if (!answer) return undefined;
        busy.value = move;
        const done = await REQUESTS[move](model, answer);
        toast(t(`models.done.${move}`, { name: shortName(done.model_key ?? model.model_key) }), "good");
        return emit(move === "deleted" ? "gone" : "changed");
      } catch (err) {
        emit("stale"); // whatever stood in the way, what is shown may be old
        return await fail(refusalText(err));
      } finally {
        busy.value = "";
      }
    }
    return { t, busy, failure, alarm, possible, impossible, label, isNext, act };
  },
  template: /* html */ `
    <section class="actions-bar admin-only" :aria-label="t('models.actions')">
      <div class="row">
        <button v-for="move in possible" :key="move" type="button" class="btn" :class="{ primary: isNext(move), 'danger-text': move === 'deleted' }" :disabled="!!busy" @click="act(move)">{{ label(move) }}</button>
        <details v-if="impossible.length" class="impossible" :open="!possible.length"><summary>{{ t("models.impossible") }}</summary>
          <ul class="plain"><li v-for="each in impossible" :key="each.move"><b>{{ label(each.move) }}</b> {{ each.why }}</li></ul></details>
      </div>
      <p v-if="busy" class="working" role="status"><progress></progress> {{ t("models.working." + (busy === "validated" ? busy : "other")) }}</p>
      <div v-if="failure" ref="alarm" class="card error" role="alert" tabindex="-1"><strong>{{ t("models.refused") }}</strong> {{ failure }}</div>
    </section>
  `,
};
