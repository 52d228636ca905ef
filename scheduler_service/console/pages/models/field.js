// A labelled control of the form, with a hint and what is wrong with it; the control is the slot.
import { computed } from "vue";

export default {
  name: "FormField",
  props: { name: { type: String, required: true }, label: { type: String, required: true }, hint: { type: String, default: "" }, problem: { type: String, default: "" } },
  setup(props) {
    const given = computed(() => ({
      ...{ id: `field-${props.name}`, name: props.name, "data-field": props.name, "aria-invalid": !!props.problem },
      "aria-describedby": [props.hint && `${props.name}-hint`, props.problem && `${props.name}-problem`].filter(Boolean).join(" ") || undefined,
    }));
    return { given };
  },
  template: /* html */ `
    <div class="field">
      <label :for="given.id">{{ label }}</label>
      <slot :given="given" />
      <small v-if="hint" :id="name + '-hint'" class="hint">{{ hint }}</small>
      <span v-if="problem" :id="name + '-problem'" class="error">{{ problem }}</span>
    </div>
  `,
};
