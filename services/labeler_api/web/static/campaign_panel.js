// The rebalance under way: its state and why it stands, the steps of its pictures, pace, time left and money.

import { element, find } from "./dom.js";
import { costShares, moneyFacts, paceFacts, steps, usdText } from "./figures.js";
import { progress as told } from "./review.js";

const STANDS = ["paused", "exhausted", "rejected", "cancelled"];

const facts = (rows) => rows.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)));

/** Mount the panel. */
export function mountCampaignPanel() {
  return {
    update: ({ campaign, progress }) => {
      find("campaign-body").hidden = campaign === null || campaign.slots.total === 0;
      if (campaign === null) {
        find("campaign-title").textContent = "No rebalance yet";
        find("campaign-wanted").textContent = "A rebalance brings every condition to its target.";
        return;
      }
      const { state, wanted, share } = told(campaign);
      find("campaign-title").textContent = state;
      find("campaign-wanted").textContent = wanted === "" ? "" : `Targets: ${wanted}.`;
      const reason = STANDS.includes(campaign.state) || campaign.model === null ? campaign.reason : null;
      find("campaign-why").hidden = !reason;
      find("campaign-why").textContent = reason ?? "";
      find("campaign-done").value = share;
      find("campaign-steps").replaceChildren(...steps(progress).map(([name, count]) =>
        element("li", {}, element("b", {}, count.toLocaleString("en")), element("span", {}, name))));
      find("campaign-pace").replaceChildren(...facts(paceFacts(campaign, progress)));
      find("campaign-money").replaceChildren(...facts(moneyFacts(campaign, progress).map(([name, usd]) => [name, usdText(usd)])));
      const shares = costShares(campaign, progress);
      for (const part of find("campaign-cost").children) {
        const at = `${100 * shares[part.className]}%`;
        if (part.className === "projected") part.style.left = at;
        else part.style.width = at;
      }
    },
  };
}
