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
    function take(files) {
      isOver.value = false;
      if (files.length > 1) emit("several");
      else if (files.length === 1) emit("choose", files[0]);
    }
    function choose({ target }) {
      take(target.files);
      target.value = ""; // or the same file, mended meanwhile, could not be chosen again
    }
    return { t, bytes, isOver, take, choose };
  },
  template: /* html */ `
    <div class="drop" :class="{ over: isOver, filled: file }" data-field="file" @dragover.prevent="isOver = true" @dragleave="isOver = false" @drop.prevent="take($event.dataTransfer.files)">
      <p><template v-if="file"><b>{{ file.name }}</b> <span class="hint">{{ bytes(file.size) }}</span></template><template v-else>{{ t("models.register.drop") }}</template>
        <label class="btn small">{{ t(file ? "models.register.another" : "models.register.choose") }}<input class="unseen" type="file" name="file" accept=".pth,.pt,.json" :aria-invalid="!!problem" aria-describedby="file-hint file-problem" :data-place="t('models.register.file')" @change="choose"></label></p>
      <p id="file-hint" class="hint">{{ t("models.register.file_hint") }}</p>
      <p v-if="problem" id="file-problem" class="error">{{ problem }}</p>
    </div>
  `,
};
