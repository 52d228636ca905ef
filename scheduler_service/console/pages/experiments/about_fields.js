// Title, owner and hypothesis: texts of any script beside an experiment's id.
import FormField from "./form_field.js";
import { useWording } from "./wording.js";

/** As in scheduler_service/experiments/about.py. */
export const LONGEST = { title: 200, hypothesis: 2000, owner: 200 };

export default {
  name: "AboutFields",
  components: { FormField },
  props: { texts: { type: Object, required: true }, fault: { type: Function, required: true } },
  setup(props) {
    const words = useWording();
    const wrong = (name) => props.fault(name) && words.of("said.wrong", { longest: LONGEST[name] });
    return { ...words, wrong, LONGEST };
  },
  template: /* html */ `
    <div class="fields">
      <form-field v-for="name in ['title', 'owner']" :key="name" v-model="texts[name]" :label="of('said.' + name)" :hint="of('said.' + name + '_hint')" :error="wrong(name)" :input-attrs="{ maxlength: LONGEST[name], name }" />
    </div>
    <form-field v-model="texts.hypothesis" :label="of('said.hypothesis')" :hint="of('said.hypothesis_hint')" :error="wrong('hypothesis')" :input-attrs="{ maxlength: LONGEST.hypothesis, name: 'hypothesis' }" />
  `,
};
