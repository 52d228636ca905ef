// The tags of a model: taken away, added, moved here from another version.
import { computed, nextTick, ref } from "vue";
import { useI18n } from "vue-i18n";
import { api } from "../../core/api.js";
import { refusalText } from "../../core/refusals.js";
import { confirm } from "../../parts/confirm.js";
import { toast } from "../../parts/toast.js";
import { byTag, tagHappens, untagHappens } from "./happens.js";
import { LATEST, STABLE, isTag, shortName, tagsOf } from "./records.js";

export default {
  name: "ModelTags",
  props: { model: { type: Object, required: true }, models: { type: Array, required: true } },
  emits: ["changed", "stale"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const isOpen = ref(false);
    const wanted = ref("");
    const problem = ref("");
    const field = ref(null);
    const opener = ref(null);
    const known = computed(() => tagsOf(props.models).filter((tag) => tag !== STABLE && !props.model.tags.includes(tag)));
    const isMovable = (tag) => tag !== STABLE && tag !== LATEST;
    const full = (tag) => encodeURIComponent(`${props.model.algorithm}:${tag}`);

    async function open() {
      [isOpen.value, wanted.value, problem.value] = [true, "", ""];
      await nextTick();
      field.value.focus();
    }
    async function close() {
      isOpen.value = false;
      await nextTick();
      opener.value?.focus();
    }

    async function usersBy(tag, key) {
      const { used_by: users } = await api.get(`/models/${key}/outlook`);
      return byTag(users, props.model.algorithm, tag);
    }

    async function change(tag, kind, sentences, request) {
      const name = shortName(props.model.model_key);
      const answer = await confirm({
        title: t(`models.confirm_title.${kind}`, { tag, name }),
        happens: sentences,
        action: t(`models.confirm_action.${kind}`),
        danger: kind === "untag",
      });
      if (!answer) return;
      await request(answer);
      isOpen.value = false;
      toast(t(`models.done.${kind}`, { tag, name }), "good");
      emit("changed");
    }

    async function add() {
      const tag = wanted.value.trim();
      const { model } = props;
      problem.value = "";
      if (!isTag(tag)) problem.value = t("models.tags_invalid");
      else if (model.tags.includes(tag)) problem.value = t("models.tags_has");
      else if (tag === STABLE && model.status !== "deployed") problem.value = t("models.tags_stable");
      if (problem.value) return field.value.focus();
      try {
        const { models } = await api.get("/models", { algorithm: model.algorithm, tag });
        const users = models.length ? await usersBy(tag, models[0].model_key) : [];
        const sentences = tagHappens(tag, model, models[0], users);
        await change(tag, "tag", sentences, (answer) => api.put(`/models/tags/${full(tag)}`, { model_key: model.model_key, ...answer }));
      } catch (err) {
        problem.value = refusalText(err);
      }
      return undefined;
    }

    async function remove(tag) {
      problem.value = "";
      try {
        const users = await usersBy(tag, props.model.model_key);
        await change(tag, "untag", untagHappens(tag, props.model, users), (answer) => api.delete(`/models/tags/${full(tag)}`, answer));
      } catch (err) {
        problem.value = refusalText(err);
        emit("stale");
      }
    }
    return { t, isOpen, wanted, problem, field, opener, known, isMovable, open, close, add, remove };
  },
  template: /* html */ `
    <section class="tags" :aria-label="t('models.tags')">
      <span v-for="tag in model.tags" :key="tag" class="tag fixed">{{ tag }}<button v-if="isMovable(tag)" type="button" class="admin-only" :aria-label="t('models.tags_remove', { tag })" @click="remove(tag)">×</button></span>
      <span v-if="!model.tags.length" class="hint">{{ t("models.tags_none") }}</span>
      <button v-if="!isOpen" ref="opener" type="button" class="btn small admin-only" @click="open">+ {{ t("models.tags_add") }}</button>
      <form v-else class="row tag-form" @submit.prevent="add" @keydown.esc="close">
        <input ref="field" v-model="wanted" class="input" name="tag" list="known-tags" maxlength="64" autocomplete="off" spellcheck="false"
          :aria-label="t('models.tags_name')" :placeholder="t('models.tags_hint')" :aria-invalid="!!problem" aria-describedby="tag-problem">
        <datalist id="known-tags"><option v-for="each in known" :key="each" :value="each"></option></datalist>
        <button class="btn primary small">{{ t("models.tags_submit") }}</button>
        <button type="button" class="btn quiet small" @click="close">{{ t("confirm.cancel") }}</button>
      </form>
      <p v-if="problem" id="tag-problem" class="error" role="alert">{{ problem }}</p>
    </section>
  `,
};
