// An interval on a line: the estimate, its bounds, zero and the margin; drawn by the page itself, readable at any size.
import { computed } from "vue";
import { signed, useWording } from "./wording.js";

const PAD = 0.12;

export default {
  name: "IntervalPlot",
  props: {
    low: { type: Number, default: null },
    high: { type: Number, default: null },
    estimate: { type: Number, default: null },
    margin: { type: Number, default: null }, // where the line of what is put up with stands
    tone: { type: String, default: "plain" },
    label: { type: String, default: "" },
    isSmall: { type: Boolean, default: false },
    range: { type: Array, default: null }, // of the axis, where several are to be compared
    isHarm: { type: Boolean, default: false }, // more is worse
  },
  setup(props) {
    const { of } = useWording();
    const span = computed(() => {
      if (props.range) return props.range;
      const seen = [0, props.low, props.high, props.margin].filter((each) => each !== null);
      const [from, to] = [Math.min(...seen), Math.max(...seen)];
      const pad = (to - from || 1) * PAD;
      return [from - pad, to + pad];
    });
    const at = (value) => `${Math.min(100, Math.max(0, (100 * (value - span.value[0])) / (span.value[1] - span.value[0])))}%`;
    const width = computed(() => `calc(${at(props.high)} - ${at(props.low)})`);
    const said = computed(
      () => props.label || of("plot.label", { estimate: signed(props.estimate), low: signed(props.low), high: signed(props.high), margin: signed(props.margin) }),
    );
    return { of, at, width, said, signed };
  },
  template: /* html */ `
    <div v-if="low === null" class="interval-none hint">{{ of("plot.none") }}</div>
    <div v-else class="interval" :class="[tone, { small: isSmall }]" role="img" :aria-label="said">
      <div class="track">
        <i class="zero" :style="{ left: at(0) }"></i>
        <i v-if="margin !== null" class="margin" :style="{ left: at(margin) }"></i>
        <i class="band" :style="{ left: at(low), width }"></i>
        <i class="dot" :style="{ left: at(estimate) }"></i>
      </div>
      <div v-if="!isSmall" class="marks" aria-hidden="true">
        <span :style="{ left: at(0) }">0</span>
        <span v-if="margin !== null" :style="{ left: at(margin) }">{{ signed(margin, 0) }}</span>
      </div>
      <div v-if="!isSmall" class="ends" aria-hidden="true"><span>{{ of(isHarm ? "plot.better" : "plot.worse") }}</span><span>{{ of(isHarm ? "plot.worse" : "plot.better") }}</span></div>
    </div>
  `,
};
