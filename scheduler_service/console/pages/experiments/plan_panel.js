// How long it would take: asked of the service a moment after the form was last changed.
import { computed, onScopeDispose, ref, shallowRef, watch } from "vue";
import { api } from "../../core/api.js";
import { number } from "../../core/format.js";
import FormField from "./form_field.js";
import { bodyOf, repeatedModels } from "./form.js";
import { problemText } from "./problem.js";
import { shortModel, useWording } from "./wording.js";

const QUIET_MS = 400;

export default {
  name: "PlanPanel",
  components: { FormField },
  props: { form: { type: Object, required: true }, fault: { type: Function, required: true } },
  emits: ["refused"], // an ApiError whose places are fields of the form; null: none
  setup(props, { emit }) {
    const words = useWording();
    const { of } = words;
    const plan = shallowRef(null);
    const failure = ref("");
    const isAsking = ref(false);
    let timer = null;
    let abort = null;

    async function ask(body) {
      abort?.abort();
      abort = new AbortController();
      const mine = abort;
      isAsking.value = true;
      try {
        plan.value = (await api.post("/experiments/plan", body, { signal: mine.signal })).plan;
        failure.value = "";
        emit("refused", null);
      } catch (err) {
        if (err.name === "AbortError") return;
        failure.value = err.errors?.length ? "" : problemText(err);
        if (err.errors?.length) plan.value = null;
        emit("refused", err.errors?.length ? err : null);
      } finally {
        if (abort === mine) isAsking.value = false;
      }
    }
    watch(
      () => {
        if (repeatedModels(props.form).length || props.form.models.includes("")) return ""; // told beside its field
        return JSON.stringify({ ...bodyOf(props.form), minimum_effect: props.form.minimum === null ? undefined : props.form.minimum / 100 });
      },
      (body) => {
        clearTimeout(timer);
        if (!body) {
          abort?.abort();
          emit("refused", null);
          return;
        }
        timer = setTimeout(() => ask(JSON.parse(body)), plan.value ? QUIET_MS : 0);
      },
      { immediate: true },
    );
    onScopeDispose(() => {
      clearTimeout(timer);
      abort?.abort();
    });

    const show = (percentage) => `${number(percentage, 2)} %`;
    const days = (value) => (value === null ? of("plan.never") : value < 1 ? of("plan.less_than_a_day") : of("plan.days", { days: number(Math.ceil(value), 0) }));
    const why = computed(() => words.capital(words.say(plan.value.reason.text)));
    const users = computed(() => {
      const needed = Object.entries(plan.value.users_needed ?? {});
      if (!needed.length) return "";
      const [[a, n_a], [b, n_b]] = needed;
      return n_a === n_b ? of("plan.users", { users: number(n_a) }) : of("plan.users_split", { a: words.arm(a), b: words.arm(b), n_a: number(n_a), n_b: number(n_b) });
    });
    const ramp = computed(() => {
      const found = plan.value.ramp;
      if (!found?.notes.length) return null;
      return { isWeak: found.notes_text.some(({ code }) => code === "ramp.weak"), text: words.sentences(found.notes_text) };
    });
    const curve = computed(() => {
      const points = plan.value.curve.filter((each) => each.minimum_detectable_effect_percentage !== null);
      const wanted = plan.value.minimum_effect_percentage;
      const inDuration = plan.value.minimum_detectable_effect_percentage;
      const least = Math.max(2.2 * wanted, 1.6 * (inDuration ?? 0));
      const power = 10 ** Math.floor(Math.log10(least));
      const top = power * [1, 2, 4, 6, 8, 10].find((each) => each * power >= least);
      const line = (at, text, position) => ({ ...at, lineStyle: { type: "dashed", color: "#8a8f98", width: 1 }, label: { formatter: text, color: "inherit", position } });
      return {
        animation: false,
        grid: { left: 48, right: 24, top: 28, bottom: 44 },
        tooltip: { trigger: "axis", valueFormatter: (value) => `${number(value, 2)} %`, axisPointer: { label: { formatter: ({ value }) => number(value, 1) } } },
        xAxis: { type: "value", name: of("plan.axis_days"), nameLocation: "middle", nameGap: 26, min: 0, max: plan.value.curve.at(-1)?.days },
        yAxis: { type: "value", min: 0, max: top, splitNumber: 4, axisLabel: { formatter: (value) => `${number(value, 2)}%` } },
        series: [
          {
            type: "line", name: of("plan.axis_effect"), showSymbol: false, smooth: true, clip: true, lineStyle: { width: 2.5 }, areaStyle: { opacity: 0.08 },
            data: points.map((each) => [each.days, each.minimum_detectable_effect_percentage]),
            markLine: { silent: true, symbol: "none", data: [
              line({ yAxis: wanted }, of("plan.wanted", { effect: show(wanted) }), "insideEndTop"),
              ...(plan.value.is_open_ended ? [] : [line({ xAxis: plan.value.duration_days }, of("plan.planned", { days: plan.value.duration_days }), "end")]),
            ] },
          },
        ],
      };
    });
    return { ...words, plan, failure, isAsking, days, show, why, users, ramp, curve, number, shortModel };
  },
  template: /* html */ `
    <section class="card plan" :aria-busy="isAsking">
      <h2>{{ of("plan.heading") }}</h2>
      <form-field v-model="form.minimum" type="number" :label="of('form.minimum')" :error="fault('minimum_effect')" :input-attrs="{ min: 0.1 }" />
      <p v-if="failure" class="error">{{ of("plan.failed", { why: failure }) }}</p>
      <p v-if="!plan" class="hint">{{ of("plan.waiting") }}</p>
      <p v-else-if="plan.reason" class="note warn" data-plan="none">{{ why }}</p>
      <div v-else :class="{ stale: isAsking }" data-plan="known">
        <dl class="kpis">
          <div class="kpi"><dt>{{ of("plan.needed", { effect: show(plan.minimum_effect_percentage) }) }}</dt><dd :class="plan.is_long_enough ? 'good' : 'warn'">{{ days(plan.days_needed) }}<small>{{ users }}</small></dd></div>
          <div class="kpi"><dt>{{ of("plan.in_duration", { days: plan.duration_days }) }}</dt>
            <dd>{{ plan.minimum_detectable_effect_percentage === null ? of("plan.nothing_yet") : show(plan.minimum_detectable_effect_percentage) }}
            <small v-if="plan.minimum_detectable_effect_percentage !== null">{{ of("plan.no_less", { effect: show(plan.minimum_detectable_effect_percentage) }) }}</small></dd></div>
          <div class="kpi"><dt>{{ of("plan.non_inferior", { margin: show(form.margin) }) }}</dt><dd>{{ days(plan.days_to_non_inferior) }}</dd></div>
        </dl>
        <p class="note" role="status" :class="plan.is_long_enough ? 'good' : 'warn'">{{ say(plan.conclusion_text) }}</p>
        <p v-if="ramp" class="note" data-ramp :class="ramp.isWeak ? 'warn' : 'good'">{{ ramp.text }}</p>
        <h3>{{ of("plan.curve") }}</h3>
        <e-chart :option="curve" height="13rem" :label="of('plan.curve_label', { days: plan.duration_days, effect: show(plan.minimum_detectable_effect_percentage) })" />
        <p class="hint">{{ of("plan.basis", { days: number(plan.basis.days, 1), model: plan.basis.model ? of("plan.basis_model", { model: shortModel(plan.basis.model) }) : of("plan.basis_all"), runs: number(plan.basis.runs), users: number(plan.basis.users) }) }}
          {{ of("plan.rate", { requests: number(plan.basis.requests_per_day, 0), users: number(plan.basis.new_users_per_day, 1) }) }}
          <template v-if="form.mode === 'rollout'">{{ of("plan.rollout") }}</template> <template v-if="form.shadow">{{ of("plan.shadow") }}</template></p>
      </div>
    </section>
  `,
};
