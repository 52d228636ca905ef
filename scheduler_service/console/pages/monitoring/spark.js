// A line of one figure's last values, as small as a word; decoration: the figure beside it says the same.
import { computed } from "vue";

const WIDTH = 100;
const HEIGHT = 26;

export default {
  name: "SparkLine",
  props: { values: { type: Array, required: true }, tone: { type: String, default: "" } },
  setup(props) {
    const known = computed(() => props.values.filter((value) => value !== null));
    const span = computed(() => {
      const [least, most] = [Math.min(...known.value), Math.max(...known.value)];
      return most > least ? [least, most] : [least - 1, most + 1];
    });
    const x = (place) => (WIDTH * place) / Math.max(1, props.values.length - 1);
    const y = (value) => HEIGHT - 2 - ((HEIGHT - 4) * (value - span.value[0])) / (span.value[1] - span.value[0]);
    const path = computed(() => {
      let isOn = false;
      return props.values
        .map((value, place) => {
          if (value === null) {
            isOn = false;
            return "";
          }
          const step = `${isOn ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
          isOn = true;
          return step;
        })
        .join("");
    });
    // A value between two gaps would be no line at all.
    const lone = computed(() =>
      props.values
        .map((value, n) => ({ value, n }))
        .filter(({ value, n }) => value !== null && (props.values[n - 1] ?? null) === null && (props.values[n + 1] ?? null) === null)
        .map(({ value, n }) => `M${x(n).toFixed(1)} ${y(value).toFixed(1)}h.01`)
        .join(""),
    );
    return { path, lone, known, WIDTH, HEIGHT };
  },
  template: /* html */ `
    <svg class="spark" :class="tone" :viewBox="'0 0 ' + WIDTH + ' ' + HEIGHT" preserveAspectRatio="none" aria-hidden="true">
      <path v-if="known.length" :d="path + lone" fill="none" vector-effect="non-scaling-stroke" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  `,
};
