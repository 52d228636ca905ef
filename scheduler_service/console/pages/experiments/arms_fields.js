// Which models, and who gets which: fixed shares, or step by step.
import { computed } from "vue";
import { evenShares, LETTERS } from "./form.js";
import FormField from "./form_field.js";
import { useWording } from "./wording.js";

export default {
  name: "ArmsFields",
  components: { FormField },
  props: { form: { type: Object, required: true }, models: { type: Array, required: true }, fault: { type: Function, required: true } },
  setup(props) {
    const words = useWording();
    const form = props.form;
    const { t } = words;
    const options = computed(() => [
      { value: "", label: words.of("form.choose") },
      ...props.models.map((each) => ({
        value: each.model_key,
        label: [`${each.algorithm} v${each.version}`, t(`status.model.${each.status}`), each.tags.join(", ")].filter(Boolean).join(" · "),
      })),
    ]);
    const sum = computed(() => Math.round(form.shares.reduce((all, each) => all + (each ?? 0), 0) * 1e6) / 1e6);
    const wrongShares = computed(() => (sum.value === 100 ? props.fault("traffic_split") : words.of("form.sum", { sum: sum.value })));
    const shareAttrs = computed(() => ({ min: 0, max: 100, ...(wrongShares.value ? { "aria-invalid": "true", "aria-describedby": "shares-error" } : {}) }));
    const shareOfB = computed({
      get: () => form.shares[1],
      set: (value) => {
        form.shares = [value === null ? null : Math.round((100 - value) * 1e6) / 1e6, value];
      },
    });
    const add = () => {
      form.models.push("");
      form.shares = evenShares(form.models.length);
    };
    const remove = (at) => {
      form.models.splice(at, 1);
      form.shares = evenShares(form.models.length);
    };
    const even = () => {
      form.shares = evenShares(form.models.length);
    };
    return { ...words, letters: LETTERS, options, wrongShares, shareAttrs, shareOfB, add, remove, even };
  },
  template: /* html */ `
    <fieldset>
      <legend>{{ of("list.arms") }}</legend>
      <div v-for="(_, at) in form.models" :key="at" class="row end arm-choice">
        <b class="arm-letter" :class="'model_' + letters[at]" aria-hidden="true">{{ letters[at].toUpperCase() }}</b>
        <form-field v-model="form.models[at]" class="grow" :options="options" :error="fault('model_' + letters[at])"
          :label="at ? of('form.candidate', { letter: letters[at].toUpperCase() }) : of('form.baseline')" />
        <button v-if="at > 1" type="button" class="btn quiet" :aria-label="of('form.remove', { letter: letters[at].toUpperCase() })" @click="remove(at)">×</button>
      </div>
      <button v-if="form.mode === 'split' && form.models.length < letters.length" type="button" class="btn quiet small" @click="add">＋ {{ of("form.add") }}</button>
    </fieldset>
    <fieldset>
      <legend>{{ of("form.how") }}</legend>
      <label class="check"><input v-model="form.mode" type="radio" name="mode" value="split">{{ of("form.split") }}</label>
      <label class="check"><input v-model="form.mode" type="radio" name="mode" value="rollout" :disabled="form.models.length > 2">{{ of("form.rollout") }}</label>
      <template v-if="form.mode === 'split'">
        <div v-if="form.models.length === 2" class="row end split">
          <input type="range" min="1" max="99" step="1" class="grow" :value="shareOfB" :aria-label="of('form.share_slider')" @input="shareOfB = Number($event.target.value)">
          <form-field v-model="shareOfB" type="number" class="narrow-field" :label="of('form.share', { letter: 'B' })" :error="fault('traffic_split')" :input-attrs="{ min: 0, max: 100 }" />
        </div>
        <p v-if="form.models.length === 2 && form.shares[0] !== null" class="hint">{{ of("form.rest", { share: form.shares[0] + '%' }) }}</p>
        <div v-if="form.models.length > 2" class="row end">
          <form-field v-for="(_, at) in form.shares" :key="at" v-model="form.shares[at]" type="number" class="narrow-field" :label="of('form.share', { letter: letters[at].toUpperCase() })" :input-attrs="shareAttrs" />
          <button type="button" class="btn quiet" @click="even">{{ of("form.equal") }}</button>
          <p v-if="wrongShares" id="shares-error" class="error">{{ wrongShares }}</p>
        </div>
      </template>
      <template v-else>
        <form-field v-model="form.rollout.stages" :label="of('form.stages')" :hint="of('form.stages_hint')" :error="fault('rollout.stages') || fault('rollout')" />
        <div class="row end">
          <form-field v-model="form.rollout.min_hours" type="number" class="narrow-field" :label="of('form.stage_hours')" :error="fault('rollout.min_hours')" />
          <form-field v-model="form.rollout.min_samples" type="number" class="narrow-field" :label="of('form.stage_samples')" :error="fault('rollout.min_samples')" />
          <form-field v-model="form.rollout.promote_on" class="narrow-field" :label="of('form.promote_on')" :options="[{ value: 'better', label: of('form.on_better') }, { value: 'non_inferior', label: of('form.on_non_inferior') }]" />
          <label class="check"><input v-model="form.rollout.auto" type="checkbox">{{ of("form.auto") }}</label>
        </div>
      </template>
    </fieldset>
  `,
};
