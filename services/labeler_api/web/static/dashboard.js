// The dashboard: one document, which the server sends whenever it changes, and the parts that show it.

import * as api from "./api.js";
import { mountBalanceTable } from "./balance_table.js";
import { mountCampaignControls } from "./campaign_controls.js";
import { mountCampaignPanel } from "./campaign_panel.js";
import { find } from "./dom.js";
import { follow } from "./events.js";
import { mountModelsPanel } from "./models_panel.js";
import { mountNotices } from "./notices.js";
import { mountPlanDialog } from "./plan_dialog.js";
import { mountTrainingChart } from "./training_chart.js";

function start() {
  const notices = mountNotices();
  const controls = mountCampaignControls({ attempt: (work) => work().catch(complain), say: notices.say });
  const parts = [controls, mountCampaignPanel(), mountBalanceTable(), mountTrainingChart(), mountModelsPanel()];
  let hurry = () => {}; // ends the wait before the next connection

  function update(dashboard) {
    for (const part of parts) part.update(dashboard);
    const letters = dashboard.dead_letters;
    find("letters").textContent = letters === null ? "not known: the broker is away" : letters === 0 ? "None" : String(letters);
    find("letters").classList.toggle("some", letters > 0);
  }

  function complain(error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.code === "unauthorized") {
      if (find("key-form").hidden) {
        find("key-form").hidden = false;
        find("key").focus();
      }
      if (!api.hasKey()) return;
      error = new api.ApiError(error.code, "This is not the server's key.", "Ask whoever runs it for EVENSKIN_API_KEY.");
    }
    notices.complain(error);
  }

  const tell = (text, away) => {
    if (find("live").textContent !== text) find("live").textContent = text;
    find("live").classList.toggle("away", away);
  };

  mountPlanDialog({ started: () => notices.say("The rebalance is under way.") });

  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.useKey(find("key").value);
    find("key").value = "";
    notices.clear();
    hurry();
  });

  follow({
    open: (lastId, signal) => api.stream("/v1/dashboard/stream", lastId, signal),
    heard: ({ data }) => update(JSON.parse(data)),
    connected: () => {
      find("key-form").hidden = true;
      notices.clearIf(["unreachable", "unauthorized", "starting", "overloaded", "unknown"]);
      tell("Live", false);
    },
    lost: (error) => {
      tell("Connecting again …", true);
      if (error instanceof api.ApiError) complain(error);
    },
    wait: (ms) => new Promise((done) => {
      const timer = setTimeout(done, ms);
      hurry = () => {
        clearTimeout(timer);
        done();
      };
    }),
  });
}

start();
