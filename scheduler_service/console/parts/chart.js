// An ECharts picture that follows its box and the theme; `label` says to screen readers what there is to see.
import { onBeforeUnmount, onMounted, ref, watch } from "vue";
import * as echarts from "echarts";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What every chart has in common, from the variables of style.css. */
export function theme() {
  const ink = colour("--ink");
  const soft = colour("--ink-soft");
  const line = colour("--line");
  const axis = {
    axisLine: { lineStyle: { color: line } },
    axisLabel: { color: soft },
    splitLine: { lineStyle: { color: line } },
    nameTextStyle: { color: soft },
  };
  return {
    color: ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A500", "#888888"],
    textStyle: { color: ink, fontFamily: "system-ui, sans-serif" },
    title: { textStyle: { color: ink } },
    legend: { textStyle: { color: ink } },
    tooltip: { backgroundColor: colour("--card"), borderColor: line, textStyle: { color: ink }, confine: true },
    valueAxis: axis, categoryAxis: axis, timeAxis: axis, logAxis: axis,
  };
}

export default {
  name: "EChart",
  props: {
    option: { type: Object, required: true },
    label: { type: String, required: true },
    height: { type: String, default: "18rem" },
    group: { type: String, default: "" }, // charts of a group share their cursor
  },
  emits: ["ready", "pick"],
  setup(props, { emit }) {
    const box = ref(null);
    let chart = null;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(() => chart?.resize());

    function draw() {
      chart?.dispose();
      chart = echarts.init(box.value, theme());
      if (props.group) {
        chart.group = props.group;
        echarts.connect(props.group);
      }
      chart.on("click", (event) => emit("pick", event));
      chart.setOption(props.option);
      emit("ready", chart);
    }

    onMounted(() => {
      draw();
      resized.observe(box.value);
      dark.addEventListener("change", draw);
    });
    onBeforeUnmount(() => {
      resized.disconnect();
      dark.removeEventListener("change", draw);
      chart?.dispose();
      chart = null;
    });
    // ECharts draws a new option with the shapes of the former one, which keep what the new one does not say of them.
    watch(() => props.option, (option) => {
      chart?.clear();
      chart?.setOption(option);
    });
    return { box };
  },
  template: `<div class="chart" role="img" :aria-label="label"><div ref="box" :style="{ height }"></div></div>`,
};
