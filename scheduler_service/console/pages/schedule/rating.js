// A planner's verdict on a schedule, tied to its run.
import { ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { refusalText } from "../../core/refusals.js";
import { toast } from "../../parts/toast.js";

export default {
  name: "Rating",
  props: { requestId: { type: String, required: true } },
  emits: ["rated"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const stars = ref(0);
    const comment = ref("");
    const isSending = ref(false);
    const isSent = ref(false);
    async function send() {
      isSending.value = true;
      try {
        const said = comment.value.trim();
        await api.post("/feedback", { request_id: props.requestId, user_satisfaction: stars.value, ...(said ? { comment: said } : {}) });
        isSent.value = true;
        toast(t("schedule.rated"));
        emit("rated");
      } catch (err) {
        if (err.name !== "AbortError") toast(refusalText(err), "bad");
      } finally {
        isSending.value = false;
      }
    }
    return { t, stars, comment, isSending, isSent, send };
  },
  template: /* html */ `
    <form class="rating" @submit.prevent="send">
      <fieldset>
        <legend>{{ t("schedule.rate") }}</legend>
        <div class="row">
          <span class="stars">
            <label v-for="n in 5" :key="n" :class="{ on: n <= stars }" :title="t('schedule.stars.' + n)"><input v-model.number="stars" type="radio" :name="'stars-' + requestId" :value="n" class="unseen" @change="isSent = false"><span aria-hidden="true">★</span><span class="unseen">{{ t("schedule.stars." + n) }}</span></label>
          </span>
          <template v-if="stars">
            <small class="hint">{{ t("schedule.stars." + stars) }}</small>
            <label class="field grow"><span class="unseen">{{ t("schedule.comment") }}</span><input v-model="comment" maxlength="2000" name="comment" :placeholder="t('schedule.comment')"></label>
            <button class="btn small primary" :disabled="isSending || isSent">{{ t("schedule.send") }}</button>
          </template>
        </div>
      </fieldset>
    </form>
  `,
};
