// What most people leave as it is: error, margin, samples, coverage, guardrails, shadow runs.
import FormField from "./form_field.js";
import { definitions } from "../../core/words.js";
import { useWording } from "./wording.js";

export const PLACES = ["alpha", "margin", "min_samples", "coverage", "guardrails", "shadow"];

export default {
  name: "LimitsFields",
  components: { FormField },
  props: { form: { type: Object, required: true }, fault: { type: Function, required: true } },
  setup: () => ({ ...useWording(), definitions }),
  template: /* html */ `
    <div class="fields">
      <form-field v-model="form.alpha" type="number" :label="of('form.alpha')" :error="fault('alpha')" />
      <form-field v-model="form.margin" type="number" :label="of('form.margin')" :error="fault('margin')" />
      <form-field v-model="form.min_samples" type="number" :label="of('form.min_samples')" :error="fault('min_samples')" />
      <form-field v-if="form.mode === 'split'" v-model="form.coverage" type="number" :label="of('form.coverage')" :error="fault('coverage')" />
    </div>
    <fieldset>
      <legend>{{ of("form.guardrails") }}</legend>
      <div class="fields">
        <form-field v-for="each in definitions.guardrails" :key="each.name" v-model="form.guardrails[each.name]" type="number" :label="capital(say(each.form_label))" :error="fault('guardrails.' + each.name)" />
      </div>
    </fieldset>
    <form-field v-model="form.shadow" type="number" :label="of('form.shadow')" :hint="of('form.shadow_hint')" :error="fault('shadow')" />
  `,
};
