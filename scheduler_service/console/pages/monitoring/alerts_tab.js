// What is and was wrong, from which figure on, what nobody is told of, and where alerts go.
import AlertsNow from "./alerts_now.js";
import AlertHistory from "./history.js";
import Channels from "./channels.js";
import Silences from "./silences.js";
import Thresholds from "./thresholds.js";

export default {
  name: "AlertsTab",
  components: { AlertsNow, AlertHistory, Channels, Silences, Thresholds },
  props: { load: { type: Object, required: true } },
  template: /* html */ `
    <alerts-now :load="load" />
    <thresholds :load="load" />
    <div class="grid"><silences :load="load" /><channels :load="load" /></div>
    <alert-history :load="load" />
  `,
};
