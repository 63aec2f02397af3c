// Pause, resume and cancel, which is asked about first.

import * as api from "./api.js";
import { find } from "./dom.js";
import { changesOf } from "./figures.js";

const DONE = { pause: "Paused: what is asked for already still comes.", resume: "It goes on.", cancel: "Cancelled." };

/** Mount the buttons. `attempt(work)` runs what asks the server, `say(text)` tells of it. */
export function mountCampaignControls({ attempt, say }) {
  let campaign = null;
  const change = (name) => attempt(async () => {
    await api.changeRebalance(campaign.id, name);
    say(DONE[name]);
  });
  find("campaign-pause").addEventListener("click", () => change("pause"));
  find("campaign-resume").addEventListener("click", () => change("resume"));
  find("campaign-cancel").addEventListener("click", () => find("cancel").showModal());
  find("cancel-no").addEventListener("click", () => find("cancel").close());
  find("cancel-yes").addEventListener("click", () => {
    find("cancel").close();
    change("cancel");
  });
  return {
    update: (dashboard) => {
      campaign = dashboard.campaign;
      const possible = changesOf(campaign);
      for (const name of Object.keys(DONE)) {
        const button = find(`campaign-${name}`);
        const hadFocus = document.activeElement === button;
        button.hidden = !possible.includes(name);
        if (hadFocus && button.hidden) (possible.length > 0 ? find(`campaign-${possible[0]}`) : find("plan-open")).focus();
      }
    },
  };
}
