// A labelled control with its hint and its mistake; a select where there are options.
import { computed, useId } from "vue";

export default {
  name: "FormField",
  props: {
    label: { type: String, required: true },
    modelValue: { type: [String, Number], default: null },
    hint: { type: String, default: "" },
    error: { type: String, default: "" },
    type: { type: String, default: "text" },
    options: { type: Array, default: null }, // [{value, label}]
    inputAttrs: { type: Object, default: () => ({}) },
  },
  emits: ["update:modelValue"],
  setup(props, { emit }) {
    const id = useId();
    const described = computed(() => [props.hint && `${id}-hint`, props.error && `${id}-error`].filter(Boolean).join(" ") || undefined);
    const say = (event) => {
      const text = event.target.value;
      emit("update:modelValue", props.type !== "number" ? text : text === "" ? null : Number(text));
    };
    return { id, described, say };
  },
  template: /* html */ `
    <div class="field">
      <label :for="id">{{ label }}</label>
      <select v-if="options" :id="id" :value="modelValue" :aria-invalid="error ? 'true' : undefined" :aria-describedby="described" v-bind="inputAttrs" @change="say">
        <option v-for="each in options" :key="each.value" :value="each.value">{{ each.label }}</option>
      </select>
      <input v-else :id="id" :type="type" step="any" :value="modelValue" :aria-invalid="error ? 'true' : undefined" :aria-describedby="described" v-bind="inputAttrs" @input="say">
      <small v-if="hint" :id="id + '-hint'" class="hint">{{ hint }}</small>
      <small v-if="error" :id="id + '-error'" class="error">{{ error }}</small>
    </div>
  `,
};
