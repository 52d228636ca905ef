// Where a model file is dropped, or chosen.
import { ref } from "vue";
import { useI18n } from "vue-i18n";
import { bytes } from "../../core/format.js";

export default {
  name: "DropZone",
  props: { file: { type: Object, default: null }, problem: { type: String, default: "" } },
  emits: ["choose", "several"],
  setup(props, { emit }) {
    const { t } = useI18n();
    const isOver = ref(false);
    const field = ref(null);
    function take(files) {
      isOver.value = false;
      if (files.length > 1) emit("several");
      else if (files.length === 1) emit("choose", files[0]);
    }
    function remove() {
      field.value.value = "";
      emit("choose", null);
      field.value.focus();
    }
    return { t, bytes, isOver, field, take, remove };
  },
  template: /* html */ `
    <div class="drop" :class="{ over: isOver, filled: file }" data-field="file" @dragover.prevent="isOver = true" @dragleave="isOver = false" @drop.prevent="take($event.dataTransfer.files)">
      <p v-if="file" class="file"><b>{{ file.name }}</b> <span class="hint">{{ bytes(file.size) }}</span>
        <button type="button" class="btn small" @click="remove">{{ t("models.register.remove") }}</button></p>
      <p v-show="!file">{{ t("models.register.drop") }}
        <label class="btn small">{{ t("models.register.choose") }}<input ref="field" class="unseen" type="file" name="file" accept=".pth,.pt,.json" :aria-invalid="!!problem" aria-describedby="file-hint file-problem" @change="take($event.target.files)"></label></p>
      <p id="file-hint" class="hint">{{ t("models.register.file_hint") }}</p>
      <p v-if="problem" id="file-problem" class="error" role="alert">{{ problem }}</p>
    </div>
  `,
};
