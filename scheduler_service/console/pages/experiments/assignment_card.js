// Where a user falls, and why.
import { computed, inject, ref, shallowRef } from "vue";
import { api } from "../../core/api.js";
import FormField from "./form_field.js";
import { letter, shortModel, useWording } from "./wording.js";

export default {
  name: "AssignmentCard",
  components: { FormField },
  props: { experiment: { type: Object, required: true } },
  setup(props) {
    const words = useWording();
    const { of } = words;
    const path = inject("experiment-path");
    const user = ref("");
    const found = shallowRef(null);
    const failure = shallowRef(null);
    async function ask() {
      failure.value = null;
      try {
        found.value = (await api.get(`${path}/assignment`, { user_id: user.value.trim() })).assignment;
      } catch (err) {
        [found.value, failure.value] = [null, err];
      }
    }
    const said = computed(() => `${words.sentences(found.value.why_text)}${of("assign.model", { model: shortModel(found.value.model) })}`);
    return { ...words, user, found, failure, ask, said, letter };
  },
  template: /* html */ `
    <section class="card" aria-labelledby="assign-title">
      <h2 id="assign-title">{{ of("assign.heading") }}</h2>
      <form class="row end" @submit.prevent="ask">
        <form-field v-model="user" class="grow" :label="of('assign.user')" :error="failure ? failure.message : ''" :input-attrs="{ required: true, maxlength: 200, autocomplete: 'off' }" />
        <button class="btn">{{ of("assign.ask") }}</button>
      </form>
      <div role="status" data-assignment>
        <template v-if="found">
          <p><b v-if="found.variant_while_active" class="arm-letter" :class="found.variant_while_active">{{ letter(found.variant_while_active) }}</b> {{ said }}</p>
          <div class="buckets" aria-hidden="true"><i v-for="([from, to], arm) in found.ranges" :key="arm" :class="arm" :style="{ left: 100 * from + '%', width: 100 * (to - from) + '%' }"></i>
            <i v-if="found.bucket !== null" class="bucket" :style="{ left: 100 * found.bucket + '%' }"></i></div>
        </template>
      </div>
    </section>
  `,
};
