// The latest campaigns.

import { element, find } from "./dom.js";
import { progress } from "./review.js";

/** Mount the campaigns. */
export function mountCampaigns() {
  let drawn = "";
  return {
    update: ({ campaigns }) => {
      const state = JSON.stringify(campaigns);
      if (campaigns === null || state === drawn) return;
      drawn = state;
      const items = campaigns.map((campaign) => {
        const { state, wanted, note, share } = progress(campaign);
        const bar = element("progress", { max: 1, value: share, ariaLabel: state });
        return element("li", {}, element("div", { className: "head" }, element("span", {}, state), element("span", { className: "waiting" }, note)), bar, element("p", {}, wanted));
      });
      const none = element("li", { className: "waiting" }, "None yet.");
      find("campaigns").replaceChildren(...(items.length > 0 ? items : [none]));
    },
  };
}
