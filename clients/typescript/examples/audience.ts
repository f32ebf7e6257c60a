// The module of audience.html: finds customers, and tells the members of a segment as they arrive, all from a browser.

import { ProfileService } from "../gen/scrm/identity/v1/profile_service_pb.js";
import { TaggingService } from "../gen/scrm/tagging/v1/tagging_service_pb.js";
import { connect, createClient, refusalOf, whole } from "../src/index.js";

function input(id: string): string {
  return (document.getElementById(id) as HTMLInputElement).value;
}

function say(id: string, text: string): void {
  const place = document.getElementById(id);
  if (place) place.textContent = text;
}

function connected() {
  return connect({ baseUrl: input("gateway"), token: input("token") }).transport;
}

async function search(): Promise<void> {
  const { hits } = await createClient(ProfileService, connected()).searchCustomers({ query: input("query") });
  say("hits", hits.map((hit) => hit.customer?.customerId).join(" ") || "nobody");
}

async function tell(): Promise<void> {
  const tagging = createClient(TaggingService, connected());
  const segmentId = input("segment");
  const customers: string[] = [];
  for await (const { members, size } of whole((pageToken) => tagging.exportSegment({ segmentId, pageToken }))) {
    customers.push(...members.map((member) => member.customerId));
    say("progress", `${customers.length} of ${size}`);
  }
  say("members", customers.join(" "));
  say("state", "complete");
}

/** Does it when the button is pressed; a refusal is said by its reason. */
function onClick(id: string, work: () => Promise<void>): void {
  document.getElementById(id)?.addEventListener("click", () => {
    say("refusal", "");
    work().catch((error: unknown) => {
      const { code, reason } = refusalOf(error);
      say("refusal", reason || `code ${code}`);
    });
  });
}

onClick("search", search);
onClick("export", tell);
say("state", "ready");
