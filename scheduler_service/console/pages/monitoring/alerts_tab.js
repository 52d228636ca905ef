// What was wrong, what nobody is told of, and where alerts go.
import AlertsNow from "./alerts_now.js";
import AlertHistory from "./history.js";
import Channels from "./channels.js";
import Silences from "./silences.js";

export default {
  name: "AlertsTab",
  components: { AlertsNow, AlertHistory, Channels, Silences },
  props: { load: { type: Object, required: true } },
  template: /* html */ `
    <alerts-now :load="load" />
    <div class="grid"><silences :load="load" /><channels :load="load" /></div>
    <alert-history :load="load" />
  `,
};
