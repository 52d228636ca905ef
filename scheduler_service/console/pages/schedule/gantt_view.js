// The Gantt chart on the page: as high as the window allows. Its rows are scrolled, its hours stay in sight and are zoomed.
import { computed, onBeforeUnmount, ref, watch } from "vue";
import { useI18n } from "vue-i18n";
import { gantt } from "./gantt.js";
import { STEPS, panned, rowsSeen, wheelFactor, zoomed } from "./gantt_sight.js";

const BESIDES_PX = 190; // the page's head, the views and the buttons above the chart
const HOURS = 0; // places in the option's dataZoom
const ROWS = 1;

export default {
  name: "GanttView",
  props: {
    result: { type: Object, required: true },
    view: { type: String, required: true },
    context: { type: Object, required: true }, // what `gantt` takes, but for `seen`
    label: { type: String, required: true },
  },
  setup(props) {
    const { t } = useI18n();
    const scroller = ref(null);
    const windowPx = ref(innerHeight);
    const seen = { first: 0, last: 0 }; // read by the chart when it draws
    const firstRow = ref(0);
    const span = ref(null); // {from, to} hours; null: all of them
    let chart = null;

    const plan = computed(() => gantt(props.result, props.view, { ...props.context, seen }));
    const count = computed(() => rowsSeen(plan.value.rows, plan.value.rowPx, windowPx.value - BESIDES_PX - plan.value.framePx));
    const heightPx = computed(() => count.value * plan.value.rowPx + plan.value.framePx);
    const wholePx = computed(() => plan.value.rows * plan.value.rowPx + plan.value.framePx);
    const all = computed(() => ({ from: 0, to: plan.value.endH }));
    const shown = computed(() => span.value ?? all.value);

    function show() {
      firstRow.value = Math.min(firstRow.value, plan.value.rows - count.value);
      Object.assign(seen, { first: firstRow.value, last: firstRow.value + count.value - 1 });
      chart?.dispatchAction({
        type: "dataZoom",
        batch: [
          { dataZoomIndex: HOURS, startValue: shown.value.from, endValue: shown.value.to },
          { dataZoomIndex: ROWS, startValue: seen.first, endValue: seen.last },
        ],
      });
    }
    function look({ from, to }) {
      const isAll = from <= 0 && to >= plan.value.endH;
      span.value = isAll ? null : { from, to };
      show();
    }
    const zoom = (way, around) => look(zoomed(shown.value, STEPS[way], plan.value.endH, around));
    const pan = (direction) => look(panned(shown.value, direction, plan.value.endH));
    const whole = () => look(all.value);

    function ready(drawn) {
      chart = drawn;
      // The slider below the hours was moved.
      chart.on("datazoom", () => {
        const [{ startValue: from, endValue: to }] = chart.getOption().dataZoom;
        const isMoved = Math.abs(from - shown.value.from) > 1e-6 || Math.abs(to - shown.value.to) > 1e-6;
        if (isMoved) span.value = { from, to };
      });
      show();
    }
    function scroll() {
      const first = Math.round(scroller.value.scrollTop / plan.value.rowPx);
      if (first === firstRow.value) return;
      firstRow.value = first;
      show();
    }
    /** Without Ctrl or ⌘ the wheel is the browser's: it scrolls the rows and, at their end, the page. */
    function wheel(event) {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const x = event.clientX - chart.getDom().getBoundingClientRect().left;
      const { from, to } = shown.value;
      const around = Math.min(Math.max(from, chart.convertFromPixel({ xAxisIndex: 0 }, x)), to);
      look(zoomed(shown.value, wheelFactor(event), plan.value.endH, around));
    }
    const KEYS = { "+": () => zoom("in"), "=": () => zoom("in"), "-": () => zoom("out"), 0: whole, ArrowLeft: () => pan(-1), ArrowRight: () => pan(1) };
    function press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
      event.preventDefault();
      KEYS[event.key]();
    }

    const resize = () => (windowPx.value = innerHeight);
    addEventListener("resize", resize);
    onBeforeUnmount(() => removeEventListener("resize", resize));
    watch(() => props.result, () => (span.value = null));
    watch(() => [props.result, props.view], () => {
      firstRow.value = 0;
      scroller.value.scrollTop = 0;
    });
    watch([plan, count], show, { flush: "post" });
    const lastRow = computed(() => firstRow.value + count.value);
    return { t, scroller, plan, count, heightPx, wholePx, span, firstRow, lastRow, zoom, whole, ready, scroll, wheel, press };
  },
  template: /* html */ `
    <div class="row tight gantt-tools">
      <span class="row tight" role="group" :aria-label="t('schedule.zoom')">
        <button type="button" class="btn small" :aria-label="t('schedule.zoom_in')" :title="t('schedule.zoom_in')" @click="zoom('in')">+</button>
        <button type="button" class="btn small" :aria-label="t('schedule.zoom_out')" :title="t('schedule.zoom_out')" :disabled="!span" @click="zoom('out')">−</button>
        <button type="button" class="btn small" :disabled="!span" @click="whole">{{ t("schedule.zoom_all") }}</button>
      </span>
      <small class="hint wheel">{{ t("schedule.zoom_hint") }}</small>
      <small v-if="count < plan.rows" class="hint right" data-test="rows">{{ t("schedule.rows_seen", { first: firstRow + 1, last: lastRow, all: plan.rows }) }}</small>
    </div>
    <div ref="scroller" class="gantt-scroll" :style="{ height: heightPx + 'px' }" tabindex="0" role="region" :aria-label="t('schedule.rows')" @scroll="scroll" @wheel="wheel" @keydown="press">
      <div :style="{ height: wholePx + 'px' }"><e-chart class="gantt" :option="plan.option" :height="heightPx + 'px'" :label="label" @ready="ready" /></div>
    </div>
  `,
};
