// Experiments: the list, a new one, or one of them.
import { computed } from "vue";
import { useRoute } from "vue-router";
import { addMessages } from "../../core/i18n.js";
import { useStyle } from "../../core/style.js";
import ExperimentDetail from "./detail.js";
import ExperimentList from "./list.js";
import NewExperiment from "./new.js";
import { texts } from "./texts.js";

addMessages(texts);

export default {
  name: "Experiments",
  components: { ExperimentDetail, ExperimentList, NewExperiment },
  async setup() {
    const route = useRoute();
    // An experiment may be called "new": its address says ?experiment besides.
    const isNew = computed(() => route.params.name === "new" && !("experiment" in route.query));
    await useStyle(new URL("style.css", import.meta.url));
    return { route, isNew };
  },
  template: /* html */ `
    <new-experiment v-if="isNew" />
    <experiment-detail v-else-if="route.params.name" :key="route.params.name" :name="route.params.name" />
    <experiment-list v-else />
  `,
};
