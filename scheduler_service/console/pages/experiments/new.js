// A new experiment: the form, beside it what it could find, and before it begins what will happen.
import { computed, onMounted, reactive, ref, shallowRef } from "vue";
import { useRouter } from "vue-router";
import { api } from "../../core/api.js";
import { now } from "../../core/clock.js";
import { number, time } from "../../core/format.js";
import { useLoad } from "../../core/load.js";
import { session } from "../../core/session.js";
import { confirm } from "../../parts/confirm.js";
import { leadToFirst } from "../../parts/mistakes.js";
import { toast } from "../../parts/toast.js";
import AboutFields from "./about_fields.js";
import ArmsFields from "./arms_fields.js";
import { bodyOf, emptyForm, emptyPlaces, LETTERS, repeatedModels } from "./form.js";
import FormField from "./form_field.js";
import LimitsFields, { PLACES } from "./limits_fields.js";
import { addressOf } from "./list.js";
import PlanPanel from "./plan_panel.js";
import { mistakeAt, problemText } from "./problem.js";
import { definitions } from "../../core/words.js";
import { letter, level, shortModel, useWording } from "./wording.js";

/** Members of the body that the form has a field for. */
const FIELDS = /^(experiment_name|title|hypothesis|owner|model_[a-h]|traffic_split|success_metric|duration_days|alpha|margin|min_samples|coverage|guardrails|shadow|rollout|minimum_effect)$/;

export default {
  name: "NewExperiment",
  components: { AboutFields, ArmsFields, FormField, LimitsFields, PlanPanel },
  setup() {
    const words = useWording();
    const { of } = words;
    const router = useRouter();
    const form = reactive(emptyForm());
    const planned = shallowRef(null); // what the plan refused
    const refused = shallowRef(null); // what creating refused
    const isTried = ref(false);
    const isSending = ref(false);
    const isAdvancedOpen = ref(false);
    const heading = ref(null);
    const page = ref(null);

    const load = useLoad(async (signal) => {
      const [{ models }, { default_model }] = await Promise.all([api.get("/models", {}, { signal }), api.get("/experiments", {}, { signal })]);
      const usable = models.filter((each) => each.status !== "retired");
      const present = await api.get(`/models/${encodeURIComponent(default_model)}`, {}, { signal }).catch(() => null);
      const baseline = present?.model.model_key ?? "";
      if (!form.models[0]) {
        form.models[0] = baseline;
        const others = usable.filter((each) => each.model_key !== baseline);
        form.models[1] = (others.find((each) => each.status !== "registered") ?? others[0])?.model_key ?? "";
      }
      return { models: usable, default_model };
    });
    onMounted(() => heading.value?.focus({ preventScroll: true }));

    const empties = computed(() => emptyPlaces(form));
    const repeated = computed(() => repeatedModels(form).map((at) => `model_${LETTERS[at]}`));
    const fault = (path) => (isTried.value && empties.value.includes(path) && of("form.needed")) || (repeated.value.includes(path) && of("form.repeated")) || mistakeAt(refused.value, path) || mistakeAt(planned.value, path);

    /** What has no field of its own. */
    const others = computed(() => (refused.value?.errors ?? []).filter(({ loc }) => !FIELDS.test(loc[0])).map(({ loc, msg }) => ({ place: loc.join("."), text: msg })));

    const said = (err) => (err.kind === "experiment-conflict" ? of("form.taken", { name: form.name.trim() }) : problemText(err));

    function happens(body) {
      const candidate = shortModel(body.model_b);
      const model = shortModel(load.data.value.default_model);
      const days = body.duration_days;
      const end = days && new Date(now() + days * 86_400_000).toISOString();
      const arms = Object.entries(body.traffic_split ?? {}).map(([arm, share]) => `${letter(arm)} ${level(share)}`).join(" · ");
      const stages = (body.rollout?.stages ?? []).map((each) => level(each)).join(" → ");
      return [
        body.rollout ? of("form.confirm_rollout", { share: level(body.rollout.stages[0]), candidate }) : of("form.confirm_split", { name: body.experiment_name, arms }),
        body.rollout && of(body.rollout.auto ? "form.confirm_auto" : "form.confirm_manual", { stages, candidate }),
        body.coverage < 1 && of("form.confirm_coverage", { share: level(body.coverage), model }),
        body.shadow && of("form.confirm_shadow", { share: level(body.shadow) }),
        of("form.confirm_default", { model }),
        of(Object.values(body.guardrails).some((each) => each !== null) ? "form.confirm_guard" : "form.confirm_no_guard"),
        days ? of("form.confirm_ends", { days: number(days), time: time(end) }) : of("form.confirm_open_ended"),
      ].filter(Boolean);
    }

    async function showMistakes() {
      isAdvancedOpen.value ||= PLACES.some((place) => fault(place));
      return leadToFirst(page.value);
    }

    async function create() {
      isTried.value = true;
      refused.value = null;
      const body = bodyOf(form);
      if (empties.value.length || repeated.value.length) {
        refused.value = await api.post("/experiments/plan", body).then(() => null, (err) => err); // what else is wrong
        return showMistakes();
      }
      try {
        // What was entered last may not have been planned yet, and nobody agrees to what would be refused.
        await api.post("/experiments/plan", body);
        const agreed = await confirm({ title: of("form.confirm", { name: body.experiment_name }), happens: happens(body), action: of("form.create"), reason: "none" });
        if (!agreed) return null;
        isSending.value = true;
        await api.post("/experiments", { ...body, actor: session.actor });
        toast(of("form.created", { name: body.experiment_name }), "good");
        await router.push(addressOf(body.experiment_name));
      } catch (err) {
        refused.value = err;
        toast(of("form.not_created", { why: said(err) }), "bad");
        await showMistakes();
      } finally {
        isSending.value = false;
      }
      return null;
    }
    const metrics = computed(() => definitions.metrics.map(({ name }) => ({ value: name, label: words.capital(words.metric(name)) })));
    return { ...words, form, load, planned, refused, isSending, isAdvancedOpen, heading, page, fault, create, metrics, said, others };
  },
  template: /* html */ `
    <section ref="page" class="page">
      <header class="page-head">
        <h1 ref="heading" tabindex="-1">{{ of("new") }}</h1><p class="hint">{{ of("form.intro") }}</p>
        <router-link class="right" to="/experiments">{{ of("back") }}</router-link>
      </header>
      <load-state :load="load" :empty="load.data.value?.models.length < 2">
        <template #empty><p>{{ of("form.no_models") }}</p><router-link class="btn" to="/models">{{ t("shell.models") }}</router-link></template>
        <div class="beside">
          <form class="card" novalidate @submit.prevent="create">
            <form-field v-model="form.name" :label="of('form.name')" :hint="of('form.name_hint')" :error="fault('experiment_name')" :input-attrs="{ autocomplete: 'off', spellcheck: 'false', maxlength: 64 }" />
            <about-fields :texts="form.about" :fault="fault" />
            <arms-fields :form="form" :models="load.data.value.models" :fault="fault" />
            <div class="fields">
              <form-field v-model="form.metric" :label="of('form.metric')" :options="metrics" :error="fault('success_metric')" />
              <form-field v-if="form.mode === 'rollout'" v-model="form.rollout_days" type="number" :label="of('form.days')" :hint="of('form.rollout_days_hint')" :error="fault('duration_days')" :input-attrs="{ min: 0.1 }" />
              <form-field v-else v-model="form.days" type="number" :label="of('form.days')" :error="fault('duration_days')" :input-attrs="{ min: 0.1 }" />
            </div>
            <details :open="isAdvancedOpen" @toggle="isAdvancedOpen = $event.target.open"><summary>{{ of("form.advanced") }}</summary><limits-fields :form="form" :fault="fault" /></details>
            <p v-if="refused && !refused.errors.length" class="error" role="alert">{{ of("form.not_created", { why: said(refused) }) }}</p>
            <mistake-list :is-on="isTried" :others="others" />
            <div class="row form-end"><button class="btn primary" :disabled="isSending">{{ of("form.create") }}</button><router-link class="btn quiet" to="/experiments">{{ of("form.cancel") }}</router-link></div>
          </form>
          <plan-panel :form="form" :fault="fault" @refused="planned = $event" />
        </div>
      </load-state>
    </section>
  `,
};
