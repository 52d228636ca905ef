// The confidence sequence over time, with zero and the margin.
import { computed, ref, watch } from "vue";
import { number, time } from "../../core/format.js";
import { signed, useWording } from "./wording.js";

const BAND = "#2b8fd6"; // seen on light and on dark
const ROOM = 1.6; // how much of the early, wide bounds is shown, as a multiple of what the second half spans

/** 1, 2 or 5 times a power of ten, at least `least`. */
const niceStep = (least) => {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((each) => each * power >= least);
};

export default {
  name: "CourseCard",
  props: { course: { type: Object, required: true }, figures: { type: Object, required: true }, candidate: { type: String, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const sources = computed(() => {
      const told = props.course.data.value;
      if (!told) return {};
      const pairs = props.candidate === "model_b" ? told.pairs : {};
      const all = { users: told.users[props.candidate] ?? [], ...pairs };
      return Object.fromEntries(Object.entries(all).filter(([, points]) => points.some((each) => each.confidence_sequence)));
    });
    const chosen = ref("users");
    watch(
      () => [Object.keys(sources.value).join(), props.figures.verdict_basis].join(),
      () => {
        const usual = props.figures.verdict_basis === "pairs" && "shadow" in sources.value ? "shadow" : "users";
        chosen.value = usual in sources.value ? usual : (Object.keys(sources.value)[0] ?? "users");
      },
      { immediate: true },
    );
    const points = computed(() => (sources.value[chosen.value] ?? []).filter((each) => each.confidence_sequence));
    const last = computed(() => {
      const point = points.value.at(-1);
      return point ? `${signed(point.improvement_percentage)}, ${signed(point.confidence_sequence[0])} … ${signed(point.confidence_sequence[1])}` : "";
    });
    const limits = computed(() => {
      const margin = -props.figures.margin_percentage;
      const late = points.value.slice(Math.floor(points.value.length / 2));
      const low = Math.min(margin, 0, ...late.map((each) => each.confidence_sequence[0]));
      const high = Math.max(0, ...late.map((each) => each.confidence_sequence[1]));
      const room = ((high - low) * (ROOM - 1)) / 2 || 1;
      const step = niceStep((high - low + 2 * room) / 5);
      return { min: Math.floor((low - room) / step) * step, max: Math.ceil((high + room) / step) * step, interval: step };
    });
    const option = computed(() => {
      const within = (value) => Math.min(limits.value.max, Math.max(limits.value.min, value));
      const of_ = (pick) => points.value.map((each) => [each.time, pick(each)]);
      const low = (each) => within(each.confidence_sequence[0]);
      const line = (yAxis, type, text) => ({ yAxis, lineStyle: { type, color: "#8a8f98", width: 1 }, label: { formatter: text, color: "inherit", position: "insideEndTop" } });
      const edge = { type: "line", stack: "band", stackStrategy: "all", symbol: "none", lineStyle: { opacity: 0 }, silent: true, tooltip: { show: false } };
      return {
        animation: false,
        grid: { left: 52, right: 18, top: 16, bottom: 30 },
        tooltip: {
          trigger: "axis",
          formatter: ([{ dataIndex }]) => {
            const each = points.value[dataIndex];
            return `${time(each.time)}<br>${of("plot.estimate")} <b>${signed(each.improvement_percentage)}</b><br>${signed(each.confidence_sequence[0])} … ${signed(each.confidence_sequence[1])}`;
          },
        },
        xAxis: { type: "time", splitLine: { show: false }, axisLabel: { hideOverlap: true } },
        yAxis: { type: "value", ...limits.value, axisLabel: { formatter: (value) => `${number(value)}%` } },
        series: [
          { ...edge, data: of_(low) },
          { ...edge, data: of_((each) => within(each.confidence_sequence[1]) - low(each)), areaStyle: { color: BAND, opacity: 0.18 } },
          {
            type: "line", data: of_((each) => within(each.improvement_percentage)), symbol: "none", lineStyle: { color: BAND, width: 2.5 }, itemStyle: { color: BAND },
            markLine: { silent: true, symbol: "none", data: [line(0, "solid", of("plot.zero")), line(-props.figures.margin_percentage, "dashed", of("plot.margin"))] },
          },
        ],
      };
    });
    return { ...words, sources, chosen, points, last, option };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="course-title">
      <div class="row card-head"><h2 id="course-title">{{ of("plot.course") }}</h2>
        <div v-if="Object.keys(sources).length > 1" class="tabs right" role="group" :aria-label="of('plot.course')">
          <button v-for="(_, source) in sources" :key="source" type="button" :aria-pressed="chosen === source" @click="chosen = source">{{ of("plot." + source) }}</button>
        </div></div>
      <load-state :load="course" :empty="!points.length">
        <template #empty>{{ of("plot.course_none") }}</template>
        <e-chart :option="option" height="17rem" :label="of('plot.course_label', { last })" />
        <p class="hint">{{ of("plot.course_note") }} {{ of("plot.clipped") }}</p>
      </load-state>
    </section>
  `,
};
